#ifndef FLASHMOE_FORMAT_MODEL_PACKAGE_H_
#define FLASHMOE_FORMAT_MODEL_PACKAGE_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "format/config_reader.h"
#include "format/tensor_spelling.h"
#include "tensor/dtype.h"
#include "tensor/ggml_type.h"

namespace flashmoe {

struct EmbeddedTokenizer;

/// Where one tensor's bytes lie. Nothing is read until somebody asks for them.
struct TensorRecord {
  DType dtype = DType::kF32;
  std::vector<std::uint64_t> shape;  // outermost dimension first
  std::uint32_t file_index = 0;      // into ModelPackage::files()
  std::uint64_t offset = 0;          // from the start of that file; any residue
  std::uint64_t size = 0;            // bytes, inside the file (checked)
  /// Of tensors in GGUF files. Where its blocks are more than elements, dtype is U8, of bytes.
  const GgmlType* ggml_type = nullptr;

  std::uint64_t element_count() const;
  /// "BF16", "Q4_K".
  std::string_view type_name() const;
};

/// What a model is, whatever container it came in: all that the rooms behind this one know of
/// files. Who owns what:
///
/// - A container's loader (safetensors_package.h, gguf_package.h) knows its bytes. It checks them
///   all and brings them into the words below. Packages do not differ afterwards, which is why
///   this is a value and no interface.
/// - The config is in config.json's words, so a family's reader has one source. A container with
///   words of its own translates them.
/// - Tensors keep the names, shapes and bytes that they have in the files. Which is which, and how
///   its numbers are stored, says the family's TensorTable in the package's spelling; what matrix
///   a tensor makes, with its quantisation, says find_weight() (weight_catalog.h).
/// - Tokenizer and chat template belong to the tokenizer's room, which reads them from the
///   text_folder(), or from what a container has inside (embedded_tokenizer.h).
/// - Identity, of saved prompts and sets of experts, follows from config() and files():
///   ModelFiles::identity() in the engine.
///
/// Immutable; safe to share between threads. Records and readers refer to it: it stays in place.
class ModelPackage {
 public:
  using Tensors = std::map<std::string, TensorRecord, std::less<>>;

  /// What a container's loader finds.
  struct Contents {
    std::filesystem::path path;             // what messages call the model: its folder or file
    std::filesystem::path config_file;      // what messages about config() name
    std::filesystem::path generation_file;  // likewise of generation_config()
    std::filesystem::path text_folder;      // has tokenizer.json and its neighbours
    /// In place of text_folder: what the container has inside.
    std::shared_ptr<const EmbeddedTokenizer> tokenizer;
    nlohmann::json config;                     // an object, in config.json's words
    nlohmann::json generation_config;          // an object, in generation_config.json's words
    std::vector<std::filesystem::path> files;  // that hold tensors
    Tensors tensors;
    std::string complaint;
    TensorSpelling spelling = TensorSpelling::kHuggingFace;
  };

  /// Reads everything but weights of the model at `path`: a folder, a repository in the hub's cache
  /// (find_model_folder()), or a GGUF file (find_gguf_file()). Errors name the file, the field and
  /// the remedy: kNotFound, kCorrupt, kInvalidArgument, kUnsupported, kIo.
  static Result<ModelPackage> open(const std::filesystem::path& path);

  /// A package that is yet to be written to `folder`: its config, but no files and no tensors.
  static ModelPackage planned(const std::filesystem::path& folder, nlohmann::json config,
                              nlohmann::json generation_config);

  explicit ModelPackage(Contents contents) : contents_(std::move(contents)) {}

  /// For messages: the model, and where its config stands.
  const std::filesystem::path& path() const { return contents_.path; }
  std::string config_file() const { return contents_.config_file.string(); }
  /// What implies the shapes of tensors, in short: "config.json" or "the metadata".
  std::string_view config_name() const;

  const nlohmann::json& config() const { return contents_.config; }
  const nlohmann::json& generation_config() const { return contents_.generation_config; }
  /// Typed access to them.
  ConfigReader config_reader() const;
  ConfigReader generation_config_reader() const;

  const std::vector<std::filesystem::path>& files() const { return contents_.files; }
  const Tensors& tensors() const { return contents_.tensors; }

  /// The tensor called `name`, or null.
  const TensorRecord* find(std::string_view name) const;
  /// "FILE: tensor NAME", for messages.
  std::string place_of(std::string_view name, const TensorRecord& tensor) const;

  /// What is wrong with the list of the files, or with what it says should be there; empty where
  /// all is as it should be. What is missing of a model is then to be blamed on that.
  const std::string& complaint() const { return contents_.complaint; }

  TensorSpelling spelling() const { return contents_.spelling; }

  const std::filesystem::path& text_folder() const { return contents_.text_folder; }
  const std::shared_ptr<const EmbeddedTokenizer>& embedded_tokenizer() const {
    return contents_.tokenizer;
  }
  /// Bytes of the tokenizer's file, or of what a container has of it, by which its memory is
  /// estimated; 0 without one.
  std::uint64_t tokenizer_size() const;

 private:
  Contents contents_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_MODEL_PACKAGE_H_
