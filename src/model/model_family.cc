#include "model/model_family.h"

#include <algorithm>
#include <array>
#include <string>

#include "format/config_reader.h"
#include "format/printable.h"
#include "format/weight_catalog.h"

namespace flashmoe {
namespace {

constexpr std::array kFamilies = {&kQwen3Next,   &kQwen35Moe,  &kQwen3Moe,   &kQwen2Moe,  &kGlm4Moe,
                                  &kGlm4MoeLite, &kDeepseekV2, &kDeepseekV3, &kMinimaxM2, &kMixtral,
                                  &kOlmoe,       &kQwen3,      &kLlama};

// How the text part's tensors are called where there are others.
constexpr TensorPrefixes kHfMultimodal = {"model.language_model.", ""};
constexpr TensorPrefixes kMlxMultimodal = {"language_model.model.", "language_model."};

/// The fields of the text model: config.json itself, or the object inside it.
Result<ConfigReader> text_reader(const Checkpoint& checkpoint) {
  const ConfigReader reader = checkpoint.config_reader();
  return reader.has("text_config.hidden_size") ? reader.object("text_config")
                                               : Result<ConfigReader>(reader);
}

}  // namespace

Result<const ModelFamily*> find_model_family(const Checkpoint& checkpoint) {
  const ConfigReader reader = checkpoint.config_reader();
  FM_ASSIGN_OR_RETURN(const std::string model_type, reader.string("model_type"));
  std::string supported;
  for (const ModelFamily* family : kFamilies) {
    if (family->model_type == model_type) return family;
    if (!model_type.empty() && family->also_called == model_type) return family;
    supported += fmt::format("{}{}", supported.empty() ? "" : ", ", family->model_type);
  }
  return error(StatusCode::kUnsupported,
               "{}: model_type '{}' is not supported; this build runs: {}",
               (checkpoint.folder() / "config.json").string(), printable(model_type), supported);
}

Result<ModelSpec> read_model_spec(const ModelFamily& family, const Checkpoint& checkpoint) {
  const ConfigReader whole = checkpoint.config_reader();
  FM_ASSIGN_OR_RETURN(const ConfigReader text, text_reader(checkpoint));
  FM_ASSIGN_OR_RETURN(ModelSpec spec, family.read_config(text));
  spec.model_type = family.model_type;
  // Of a multimodal model, the outer object decides where both say something.
  FM_ASSIGN_OR_RETURN(spec.tie_word_embeddings,
                      whole.boolean_or("tie_word_embeddings", spec.tie_word_embeddings));
  return spec;
}

TensorTable find_tensor_names(const ModelFamily& family, const Checkpoint& checkpoint) {
  for (const TensorPrefixes& prefixes : {kHfMultimodal, kMlxMultimodal}) {
    const TensorTable names = family.tensors.with_prefixes(prefixes);
    // Of a download that is not whole, one of them may be missing.
    if (has_weight(checkpoint, names.name(TensorId::kEmbedTokens)) ||
        checkpoint.find(names.name(TensorId::kInputNorm, 0)) != nullptr) {
      return names;
    }
  }
  return family.tensors;
}

TensorTable mlx_tensor_names(const ModelFamily& family, const Checkpoint& checkpoint) {
  const bool is_multimodal = checkpoint.config_reader().has("text_config.hidden_size");
  return is_multimodal ? family.tensors.with_prefixes(kMlxMultimodal) : family.tensors;
}

Result<std::vector<std::int32_t>> read_eos_token_ids(const Checkpoint& checkpoint,
                                                     std::size_t vocab_size) {
  std::vector<std::int32_t> all;
  FM_ASSIGN_OR_RETURN(const ConfigReader text, text_reader(checkpoint));
  for (const ConfigReader& reader :
       {checkpoint.generation_config_reader(), checkpoint.config_reader(), text}) {
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
