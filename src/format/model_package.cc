#include "format/model_package.h"

#include <optional>
#include <system_error>
#include <utility>

#include "base/model_download.h"
#include "format/embedded_tokenizer.h"
#include "format/gguf_package.h"
#include "format/printable.h"
#include "format/safetensors_package.h"

namespace flashmoe {

std::uint64_t TensorRecord::element_count() const {
  std::uint64_t count = 1;
  for (const std::uint64_t dimension : shape) count *= dimension;
  return count;
}

std::string_view TensorRecord::type_name() const {
  return ggml_type != nullptr ? ggml_type->name : to_string(dtype);
}

Result<ModelPackage> ModelPackage::open(const std::filesystem::path& path) {
  FM_ASSIGN_OR_RETURN(const std::filesystem::path folder, find_model_folder(path));
  FM_ASSIGN_OR_RETURN(const std::optional<std::filesystem::path> gguf, find_gguf_file(folder));
  FM_ASSIGN_OR_RETURN(Contents contents,
                      gguf ? read_gguf_package(*gguf) : read_safetensors_package(folder));
  return ModelPackage(std::move(contents));
}

ModelPackage ModelPackage::planned(const std::filesystem::path& folder, nlohmann::json config,
                                   nlohmann::json generation_config) {
  return ModelPackage({.path = folder,
                       .config_file = folder / "config.json",
                       .generation_file = folder / "generation_config.json",
                       .text_folder = folder,
                       .config = std::move(config),
                       .generation_config = std::move(generation_config)});
}

const TensorRecord* ModelPackage::find(std::string_view name) const {
  const auto tensor = contents_.tensors.find(name);
  return tensor == contents_.tensors.end() ? nullptr : &tensor->second;
}

std::string ModelPackage::place_of(std::string_view name, const TensorRecord& tensor) const {
  return fmt::format("{}: tensor {}", contents_.files[tensor.file_index].string(), printable(name));
}

std::string_view ModelPackage::config_name() const {
  return spelling() == TensorSpelling::kGguf ? "the metadata" : "config.json";
}

ConfigReader ModelPackage::config_reader() const {
  return ConfigReader(contents_.config, contents_.config_file.string());
}

ConfigReader ModelPackage::generation_config_reader() const {
  return ConfigReader(contents_.generation_config, contents_.generation_file.string());
}

std::uint64_t ModelPackage::tokenizer_size() const {
  if (contents_.tokenizer != nullptr) {
    std::uint64_t size = 0;
    for (const std::string_view token : contents_.tokenizer->tokens) size += token.size() + 8;
    for (const std::string_view merge : contents_.tokenizer->merges) size += merge.size() + 8;
    return size;
  }
  std::error_code failure;
  const std::uintmax_t size =
      std::filesystem::file_size(contents_.text_folder / "tokenizer.json", failure);
  return failure ? 0 : size;
}

}  // namespace flashmoe
