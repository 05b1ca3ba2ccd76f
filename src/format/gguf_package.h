#ifndef FLASHMOE_FORMAT_GGUF_PACKAGE_H_
#define FLASHMOE_FORMAT_GGUF_PACKAGE_H_

#include <filesystem>
#include <optional>

#include "base/result.h"
#include "format/embedded_tokenizer.h"
#include "format/model_package.h"

namespace flashmoe {

/// The GGUF file that `path` means: itself, if it is a file that begins like one or is called so
/// (the first part of a split one); the one model (or first part of one) of a folder that has GGUF
/// files and no safetensors. Nothing where neither holds. Errors: kInvalidArgument for a folder of
/// several models, which it lists.
Result<std::optional<std::filesystem::path>> find_gguf_file(const std::filesystem::path& path);

/// A model as llama.cpp's converter writes it: one GGUF file, or all parts of a split one, found by
/// the name of `file`, any of them (docs/formats.md). Headers are read, no weights. Errors: those
/// of ModelPackage::open(); kUnsupported for what is no language model (projectors of images, LoRA
/// adapters, importance matrices, vocabularies), by its name.
Result<ModelPackage::Contents> read_gguf_package(const std::filesystem::path& file);

/// The tokenizer alone of such a file, which may have no weights. Errors: those of
/// read_gguf_header() and read_embedded_tokenizer().
Result<EmbeddedTokenizer> load_gguf_tokenizer(const std::filesystem::path& file);

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_GGUF_PACKAGE_H_
