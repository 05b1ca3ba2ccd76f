#include "model/model_family.h"

#include <array>

#include "format/config_reader.h"
#include "format/printable.h"

namespace flashmoe {
namespace {

constexpr std::array<const ModelFamily*, 1> kFamilies = {&kQwen3Next};

std::string replace_placeholder(std::string text, std::string_view placeholder, std::size_t index) {
  const std::size_t at = text.find(placeholder);
  if (at != std::string::npos) text.replace(at, placeholder.size(), std::to_string(index));
  return text;
}

}  // namespace

std::size_t ModelConfig::count(MixerKind kind) const {
  std::size_t count = 0;
  for (const LayerConfig& layer : layers) count += layer.mixer == kind ? 1 : 0;
  return count;
}

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

std::string tensor_name(std::string_view pattern, std::size_t layer) {
  return replace_placeholder(std::string(pattern), "{layer}", layer);
}

std::string tensor_name(std::string_view pattern, std::size_t layer, std::size_t expert) {
  return replace_placeholder(tensor_name(pattern, layer), "{expert}", expert);
}

}  // namespace flashmoe
