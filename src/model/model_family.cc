#include "model/model_family.h"

#include <algorithm>
#include <array>
#include <string>

#include "format/config_reader.h"
#include "format/printable.h"

namespace flashmoe {
namespace {

constexpr std::array<const ModelFamily*, 1> kFamilies = {&kQwen3Next};

}  // namespace

Result<const ModelFamily*> find_model_family(const Checkpoint& checkpoint) {
  const ConfigReader reader = checkpoint.config_reader();
  FM_ASSIGN_OR_RETURN(const std::string model_type, reader.string("model_type"));
  std::string supported;
  for (const ModelFamily* family : kFamilies) {
    if (family->model_type == model_type) return family;
    supported += fmt::format("{}{}", supported.empty() ? "" : ", ", family->model_type);
  }
  return error(StatusCode::kUnsupported,
               "{}: model_type '{}' is not supported; this build runs: {}",
               (checkpoint.folder() / "config.json").string(), printable(model_type), supported);
}

Result<std::vector<std::int32_t>> read_eos_token_ids(const Checkpoint& checkpoint,
                                                     std::size_t vocab_size) {
  std::vector<std::int32_t> all;
  for (const ConfigReader& reader :
       {checkpoint.generation_config_reader(), checkpoint.config_reader()}) {
    if (!reader.has("eos_token_id")) continue;
    FM_ASSIGN_OR_RETURN(const std::vector<std::uint64_t> ids,
                        reader.uint_list("eos_token_id", 0, vocab_size - 1));
    for (const std::uint64_t id : ids) {
      const auto token = static_cast<std::int32_t>(id);
      if (std::find(all.begin(), all.end(), token) == all.end()) all.push_back(token);
    }
  }
  return all;
}

}  // namespace flashmoe
