// Any bytes as a config.json and as a shard index: every way of reading a field gives a value in
// its range or an error.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "format/config_reader.h"
#include "format/json_file.h"
#include "format/quantization_config.h"
#include "format/shard_list.h"

namespace {

using flashmoe::ConfigReader;

void read_fields(const ConfigReader& reader) {
  const auto count = reader.uint("num_experts", 1, 4096);
  if (count.ok()) FM_CHECK(*count >= 1 && *count <= 4096);
  const auto theta = reader.number({"rope_theta", "rope_parameters.rope_theta"}, 1, 1e12);
  if (theta.ok()) FM_CHECK(*theta >= 1 && *theta <= 1e12);
  const auto tied = reader.boolean_or("tie_word_embeddings", true);
  FM_CHECK(tied.ok() || reader.has("tie_word_embeddings"));
  const auto ids = reader.uint_list("eos_token_id", 0, 100);
  if (ids.ok()) {
    for (const std::uint64_t id : *ids) FM_CHECK(id <= 100);
  }
  static_cast<void>(reader.string("model_type"));
  static_cast<void>(reader.string_list("layer_types"));
  static_cast<void>(reader.object("rope_parameters"));
}

void read_quantization(const nlohmann::json& config, std::string_view path) {
  const auto module = flashmoe::read_module_quantization(config, "config.json", path);
  if (!module.ok()) return;
  if (module->kind != flashmoe::ModuleQuantization::Kind::kAffine) return;
  FM_CHECK(flashmoe::is_affine_bits(module->bits));
  FM_CHECK(flashmoe::is_affine_group_size(module->group_size));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto config = flashmoe::parse_json(text, "config.json"); config.ok()) {
    read_fields(ConfigReader(*config, "config.json"));
    for (const char* path : {"model.layers.0.mlp.gate", "lm_head", "bits"}) {
      read_quantization(*config, path);
    }
  }
  if (const auto index = flashmoe::parse_shard_index(text, "index.json"); index.ok()) {
    for (const auto& [tensor, file] : index->tensor_files) {
      FM_CHECK(file < index->file_names.size());
      FM_CHECK(index->file_names[file].find('/') == std::string::npos);
    }
  }
  return 0;
}
