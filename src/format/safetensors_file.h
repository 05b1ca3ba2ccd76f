#ifndef FLASHMOE_FORMAT_SAFETENSORS_FILE_H_
#define FLASHMOE_FORMAT_SAFETENSORS_FILE_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "format/safetensors.h"
#include "io/file.h"

namespace flashmoe {

/// One safetensors file and whole tensors read from it: references, traces, fixtures. (A model's
/// weights go through ModelPackage instead.) Safe to share between threads.
class SafetensorsFile {
 public:
  /// Reads the header. Errors: those of File::open and read_safetensors_header.
  static Result<SafetensorsFile> open(const std::filesystem::path& path);

  const SafetensorsHeader& header() const { return header_; }

  /// The tensor called `name`, or null.
  const SafetensorsEntry* find(std::string_view name) const;

  /// The bytes of a tensor. Errors: kNotFound, kIo.
  Result<std::vector<std::byte>> read(std::string_view name) const;

  /// A tensor of F32, BF16 or F16, widened. Errors: also kInvalidArgument for another dtype.
  Result<std::vector<float>> read_floats(std::string_view name) const;

  /// A tensor of whole numbers of any width but U64. Errors: also kInvalidArgument for another
  /// dtype.
  Result<std::vector<std::int64_t>> read_integers(std::string_view name) const;

 private:
  SafetensorsFile(File file, SafetensorsHeader header);

  File file_;
  SafetensorsHeader header_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_SAFETENSORS_FILE_H_
