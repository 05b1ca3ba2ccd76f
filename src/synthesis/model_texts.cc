#include "synthesis/model_texts.h"

#include <algorithm>

#include "base/utf8.h"
#include "tokenizer/byte_level.h"

namespace flashmoe {
namespace {

using nlohmann::json;

constexpr std::size_t kByteCount = 256;

/// What MLX writes: the global settings, and the modules that differ from them.
json quantization(std::span<const SyntheticModule> modules) {
  json object = {{"group_size", kGroupSize}, {"bits", kBits}, {"mode", "affine"}};
  for (const SyntheticModule& module : modules) {
    if (module.bits == 0 || module.bits == kBits) continue;
    object[module.path] = {{"group_size", kGroupSize}, {"bits", module.bits}};
  }
  return object;
}

json index(std::span<const SyntheticModule> modules, std::span<const Shard> shards) {
  json weight_map = json::object();
  std::uint64_t total_size = 0;
  std::uint64_t total_parameters = 0;
  for (const Shard& shard : shards) {
    for (const SyntheticModule& module : modules.subspan(shard.begin, shard.end - shard.begin)) {
      total_size += module.size();
      total_parameters += module.weight_count;
      for (const SyntheticTensor& tensor : module.tensors) {
        weight_map[tensor.tensor.name] = shard.file_name;
      }
    }
  }
  return {{"metadata", {{"total_size", total_size}, {"total_parameters", total_parameters}}},
          {"weight_map", std::move(weight_map)}};
}

/// A byte-level vocabulary without merges: each byte is a token. Pairs of an id and a spelling.
struct ByteVocabulary {
  std::vector<std::pair<std::int32_t, std::string>> ends;  // of texts
  std::vector<std::pair<std::int32_t, std::string>> bytes;
};

Result<ByteVocabulary> byte_vocabulary(std::size_t vocab_size,
                                       std::span<const std::int32_t> eos_token_ids) {
  ByteVocabulary vocabulary;
  for (const std::int32_t id : eos_token_ids) {
    vocabulary.ends.emplace_back(
        id, vocabulary.ends.empty() ? "<|endoftext|>" : fmt::format("<|end{}|>", id));
  }
  if (vocab_size < kByteCount + vocabulary.ends.size()) {
    return error(StatusCode::kInvalidArgument,
                 "vocab_size: {} is too small for a tokenizer of single bytes; it takes {}",
                 vocab_size, kByteCount + vocabulary.ends.size());
  }
  std::int32_t id = 0;
  for (char32_t code_point = 0; vocabulary.bytes.size() < kByteCount; ++code_point) {
    std::string spelling;
    append_utf8(code_point, spelling);
    std::string byte;
    if (!append_byte_level(spelling, byte)) continue;
    while (std::ranges::find(eos_token_ids, id) != eos_token_ids.end()) ++id;
    vocabulary.bytes.emplace_back(id++, spelling);
  }
  return vocabulary;
}

Result<json> tokenizer(std::size_t vocab_size, std::span<const std::int32_t> eos_token_ids) {
  FM_ASSIGN_OR_RETURN(const ByteVocabulary vocabulary, byte_vocabulary(vocab_size, eos_token_ids));
  json added = json::array();
  for (const auto& [id, content] : vocabulary.ends) {
    added.push_back({{"id", id},
                     {"content", content},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  json vocab = json::object();
  for (const auto& [id, spelling] : vocabulary.bytes) vocab[spelling] = id;
  return json{
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", std::move(added)},
      {"normalizer", nullptr},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
      {"post_processor", nullptr},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"vocab", std::move(vocab)}, {"merges", json::array()}}}};
}

json tokenizer_config(std::span<const std::int32_t> eos_token_ids) {
  json config = {{"tokenizer_class", "PreTrainedTokenizerFast"}, {"add_bos_token", false}};
  if (!eos_token_ids.empty()) config["eos_token"] = "<|endoftext|>";
  return config;
}

}  // namespace

json generation_config(const json& config) {
  json generation = {{"do_sample", false}};
  if (config.contains("eos_token_id")) generation["eos_token_id"] = config["eos_token_id"];
  return generation;
}

Status add_gguf_tokenizer(std::size_t vocab_size, std::span<const std::int32_t> eos_token_ids,
                          GgufValues& values) {
  // Ids without a token are unused ones: llama.cpp wants one for each row of the embedding.
  constexpr std::int32_t kNormal = 1;
  constexpr std::int32_t kControl = 3;
  constexpr std::int32_t kUnused = 5;
  FM_ASSIGN_OR_RETURN(const ByteVocabulary vocabulary, byte_vocabulary(vocab_size, eos_token_ids));
  std::vector<std::string> tokens(vocab_size);
  std::vector<std::int32_t> types(vocab_size, kUnused);
  const auto put = [&](std::int32_t id, const std::string& spelling, std::int32_t type) {
    tokens[static_cast<std::size_t>(id)] = spelling;
    types[static_cast<std::size_t>(id)] = type;
  };
  for (const auto& [id, spelling] : vocabulary.bytes) put(id, spelling, kNormal);
  for (const auto& [id, content] : vocabulary.ends) put(id, content, kControl);
  for (std::size_t id = 0; id < vocab_size; ++id) {
    if (types[id] == kUnused) tokens[id] = fmt::format("<|unused{}|>", id);
  }
  values.text("tokenizer.ggml.model", "gpt2");
  values.text("tokenizer.ggml.pre", "gpt-2");
  values.texts("tokenizer.ggml.tokens", tokens);
  values.i32s("tokenizer.ggml.token_type", types);
  values.texts("tokenizer.ggml.merges", {});
  // There is room for three.
  const char* const names[] = {"eos", "eot", "eom"};
  for (std::size_t i = 0; i < std::min(std::size(names), vocabulary.ends.size()); ++i) {
    values.u32(fmt::format("tokenizer.ggml.{}_token_id", names[i]),
               static_cast<std::uint32_t>(vocabulary.ends[i].first));
  }
  values.boolean("tokenizer.ggml.add_bos_token", false);
  return Status();
}

Result<std::vector<TextFile>> model_texts(const json& config,
                                          std::span<const SyntheticModule> modules,
                                          std::span<const Shard> shards, std::size_t vocab_size,
                                          std::span<const std::int32_t> eos_token_ids) {
  json mlx_config = config;
  mlx_config["quantization"] = quantization(modules);
  mlx_config["quantization_config"] = mlx_config["quantization"];
  FM_ASSIGN_OR_RETURN(const json vocabulary, tokenizer(vocab_size, eos_token_ids));
  std::vector<TextFile> files;
  const auto add = [&files](const char* name, const json& value) {
    files.emplace_back(name, value.dump(1) + "\n");
  };
  add("config.json", mlx_config);
  add("generation_config.json", generation_config(config));
  add("model.safetensors.index.json", index(modules, shards));
  add("tokenizer.json", vocabulary);
  add("tokenizer_config.json", tokenizer_config(eos_token_ids));
  return files;
}

}  // namespace flashmoe
