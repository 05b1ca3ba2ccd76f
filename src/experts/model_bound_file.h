#ifndef FLASHMOE_EXPERTS_MODEL_BOUND_FILE_H_
#define FLASHMOE_EXPERTS_MODEL_BOUND_FILE_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "format/safetensors_file.h"
#include "tensor/dtype.h"

namespace flashmoe {

/// A kind of safetensors file that says something of one model's experts.
struct ModelBoundFormat {
  const char* key;      // of the metadata entry that names the kind and holds its version
  const char* version;  // the one that is read and written
  const char* name;     // in messages: "resident set"
};

/// The identity of the model that `file` is about. Errors: kCorrupt for another kind of file;
/// kUnsupported for another version.
Result<std::string> read_model_identity(const SafetensorsFile& file,
                                        const ModelBoundFormat& format);

/// Errors: kInvalidArgument where a file's model, `found`, is not `expected`.
Status check_model_identity(const ModelBoundFormat& format, std::string_view found,
                            std::string_view expected);

/// The metadata that read_model_identity() wants.
std::map<std::string, std::string> model_bound_metadata(const ModelBoundFormat& format,
                                                        std::string_view identity);

/// Whether there is a tensor `name` of one dimension, of `size` elements of `dtype`; nothing is
/// read before that. Errors: kCorrupt.
Status check_vector(const SafetensorsFile& file, const char* name, DType dtype, std::uint64_t size);

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_MODEL_BOUND_FILE_H_
