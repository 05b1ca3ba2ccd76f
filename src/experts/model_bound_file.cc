#include "experts/model_bound_file.h"

#include "format/printable.h"

namespace flashmoe {
namespace {

constexpr const char* kIdentityKey = "model";

Result<std::string> find_metadata(const SafetensorsFile& file, const ModelBoundFormat& format,
                                  const char* key) {
  const auto& metadata = file.header().metadata;
  const auto found = metadata.find(key);
  if (found != metadata.end()) return found->second;
  return error(StatusCode::kCorrupt, "no {}: it has no {}", format.name, key);
}

}  // namespace

Result<std::string> read_model_identity(const SafetensorsFile& file,
                                        const ModelBoundFormat& format) {
  FM_ASSIGN_OR_RETURN(const std::string version, find_metadata(file, format, format.key));
  if (version != format.version) {
    return error(StatusCode::kUnsupported, "the version of the {} is {} where {} is expected",
                 format.name, printable(version), format.version);
  }
  return find_metadata(file, format, kIdentityKey);
}

Status check_model_identity(const ModelBoundFormat& format, std::string_view found,
                            std::string_view expected) {
  if (found == expected) return Status();
  return error(StatusCode::kInvalidArgument,
               "the {} is another model's: it is {} where {} is expected", format.name,
               printable(found), expected);
}

std::map<std::string, std::string> model_bound_metadata(const ModelBoundFormat& format,
                                                        std::string_view identity) {
  return {{format.key, format.version}, {kIdentityKey, std::string(identity)}};
}

Status check_vector(const SafetensorsFile& file, const char* name, DType dtype,
                    std::uint64_t size) {
  const SafetensorsEntry* const entry = file.find(name);
  if (entry == nullptr || entry->dtype != dtype || entry->shape.size() != 1 ||
      static_cast<std::uint64_t>(entry->shape[0]) != size) {
    return error(StatusCode::kCorrupt, "no tensor {} of {} elements of {}", name, size,
                 to_string(dtype));
  }
  return Status();
}

}  // namespace flashmoe
