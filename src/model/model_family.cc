#include "model/model_family.h"

#include <algorithm>
#include <array>
#include <string>

#include "format/config_reader.h"
#include "format/printable.h"
#include "format/weight_catalog.h"

namespace flashmoe {
namespace {

constexpr std::array kFamilies = {&kQwen3Next, &kQwen35Moe,   &kQwen3Moe,   &kQwen2Moe,
                                  &kGlm4Moe,   &kGlm4MoeLite, &kDeepseekV2, &kDeepseekV3,
                                  &kMinimaxM2, &kGemma4,      &kGptOss,     &kMixtral,
                                  &kOlmoe,     &kQwen4Exp,    &kQwen3,      &kLlama};

// How the text part's tensors are called where there are others.
constexpr TensorPrefixes kHfMultimodal = {"model.language_model.", ""};
constexpr TensorPrefixes kMlxMultimodal = {"language_model.model.", "language_model."};

/// The fields of the text model: config.json itself, or the object inside it.
Result<ConfigReader> text_reader(const ModelPackage& package) {
  const ConfigReader reader = package.config_reader();
  return reader.has("text_config.hidden_size") ? reader.object("text_config")
                                               : Result<ConfigReader>(reader);
}

/// The positions that the layer's rotary embedding holds for; 0: any.
std::size_t position_count(const LayerSpec& layer) {
  return std::visit(
      [](const auto& mixer) -> std::size_t {
        if constexpr (requires { mixer.rope; }) return mixer.rope.position_count;
        return 0;
      },
      layer.mixer);
}

}  // namespace

Result<const ModelFamily*> find_model_family(const ModelPackage& package) {
  const ConfigReader reader = package.config_reader();
  FM_ASSIGN_OR_RETURN(const std::string model_type, reader.string("model_type"));
  std::string supported;
  for (const ModelFamily* family : kFamilies) {
    if (family->model_type == model_type) return family;
    if (!model_type.empty() && family->also_called == model_type) return family;
    supported += fmt::format("{}{}", supported.empty() ? "" : ", ", family->model_type);
  }
  return error(StatusCode::kUnsupported,
               "{}: model_type '{}' is not supported; this build runs: {}", package.config_file(),
               printable(model_type), supported);
}

Result<ModelSpec> read_model_spec(const ModelFamily& family, const ModelPackage& package) {
  const ConfigReader whole = package.config_reader();
  FM_ASSIGN_OR_RETURN(const ConfigReader text, text_reader(package));
  FM_ASSIGN_OR_RETURN(ModelSpec spec, family.read_config(text));
  spec.model_type = family.model_type;
  // Of a multimodal model, the outer object decides where both say something.
  FM_ASSIGN_OR_RETURN(spec.tie_word_embeddings,
                      whole.boolean_or("tie_word_embeddings", spec.tie_word_embeddings));
  for (const LayerSpec& layer : spec.layers) {
    if (const std::size_t positions = position_count(layer); positions != 0) {
      spec.max_position_embeddings = std::min(spec.max_position_embeddings, positions);
    }
  }
  return spec;
}

TensorTable find_tensor_names(const ModelFamily& family, const ModelPackage& package) {
  const TensorTable plain = family.tensors.spelled(package.spelling());
  if (package.spelling() == TensorSpelling::kGguf) return plain;
  for (const TensorPrefixes& prefixes : {kHfMultimodal, kMlxMultimodal}) {
    const TensorTable names = plain.with_prefixes(prefixes);
    // Of a download that is not whole, one of them may be missing.
    if (has_weight(package, names.name(TensorId::kEmbedTokens)) ||
        package.find(names.name(TensorId::kInputNorm, 0)) != nullptr) {
      return names;
    }
  }
  return plain;
}

TensorTable mlx_tensor_names(const ModelFamily& family, const ModelPackage& package) {
  const bool is_multimodal = package.config_reader().has("text_config.hidden_size");
  const TensorTable plain = family.tensors.spelled(TensorSpelling::kMlx);
  return is_multimodal ? plain.with_prefixes(kMlxMultimodal) : plain;
}

TensorTable gguf_tensor_names(const ModelFamily& family) {
  return family.tensors.spelled(TensorSpelling::kGguf);
}

Result<std::vector<std::int32_t>> read_eos_token_ids(const ModelPackage& package,
                                                     std::size_t vocab_size) {
  std::vector<std::int32_t> all;
  FM_ASSIGN_OR_RETURN(const ConfigReader text, text_reader(package));
  for (const ConfigReader& reader :
       {package.generation_config_reader(), package.config_reader(), text}) {
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
