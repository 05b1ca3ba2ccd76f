#include "format/gguf_package.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <map>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "base/part_name.h"
#include "format/embedded_tokenizer.h"
#include "format/gguf.h"
#include "format/gguf_config.h"
#include "format/gguf_keys.h"
#include "format/printable.h"
#include "io/file.h"

namespace flashmoe {
namespace {

namespace fs = std::filesystem;

/// More parts than anybody splits a model into.
constexpr std::uint64_t kPartsMax = 99999;

bool is_called_gguf(const fs::path& path) { return path.extension() == ".gguf"; }

bool begins_like_gguf(const fs::path& path) {
  std::array<char, 4> magic{};
  std::ifstream(path, std::ios::binary).read(magic.data(), magic.size());
  return std::string_view(magic.data(), magic.size()) == "GGUF";
}

/// What else GGUF files hold, by what they say of themselves. Errors: kUnsupported.
Status refuse_other_kinds(const GgufMetadata& metadata) {
  FM_ASSIGN_OR_RETURN(const auto type, metadata.string("general.type"));
  FM_ASSIGN_OR_RETURN(const auto architecture, metadata.string("general.architecture"));
  const std::string_view kind = type ? std::string_view(*type) : std::string_view();
  std::string_view what;
  if (kind == "mmproj" || architecture == "clip") {
    what = "a projector of images or sound (mmproj)";
  } else if (kind == "adapter" || metadata.has("adapter.type")) {
    what = "a LoRA adapter";
  } else if (kind == "imatrix" || metadata.has("imatrix.datasets") ||
             metadata.has("imatrix.chunk_count")) {
    what = "an importance matrix (imatrix)";
  } else if (kind == "vocab") {
    what = "a vocabulary without weights";
  } else {
    return Status();
  }
  return error(StatusCode::kUnsupported, "{}: this GGUF file is {}, no model; give the model's own",
               metadata.file(), what);
}

/// The parts of a model while their headers are read.
class GgufPackageReader {
 public:
  Status read(const fs::path& file) {
    FM_ASSIGN_OR_RETURN(GgufFile given, read_part(file));
    FM_ASSIGN_OR_RETURN(const auto count, given.header.metadata.uint("split.count"));
    if (!count || *count <= 1) {
      contents.path = file;
      FM_RETURN_IF_ERROR(add_tensors(given, file));
      return finish(std::move(given));
    }
    return read_parts(file, std::move(given), *count);
  }

  ModelPackage::Contents contents;

 private:
  static Result<GgufFile> read_part(const fs::path& file) {
    FM_ASSIGN_OR_RETURN(const File opened, File::open(file, File::Mode::kBuffered));
    FM_ASSIGN_OR_RETURN(GgufFile part, read_gguf_header(opened));
    FM_RETURN_IF_ERROR(refuse_other_kinds(part.header.metadata));
    return part;
  }

  Status read_parts(const fs::path& file, GgufFile given, std::uint64_t count) {
    const std::optional<PartName> name = parse_part_name(file.filename().string());
    if (!name || name->count != count || count > kPartsMax) {
      return error(StatusCode::kInvalidArgument,
                   "{}: split.count: this is one of {} parts of a model, whose names end with "
                   "-00001-of-{:05}.gguf and so on; give them their names again",
                   file.string(), count, count);
    }
    std::vector<std::string> missing;
    std::error_code ignored;
    for (std::uint64_t i = 1; i <= count; ++i) {
      if (!fs::exists(file.parent_path() / name->of(i), ignored)) missing.push_back(name->of(i));
    }
    if (!missing.empty()) {
      return error(StatusCode::kNotFound,
                   "{}: {} of the {} parts of this model are missing: {}; download them into the "
                   "same folder",
                   file.string(), missing.size(), count, some_of(missing));
    }
    contents.path = file.parent_path() / name->of(1);
    GgufFile first;
    for (std::uint64_t i = 1; i <= count; ++i) {
      const fs::path path = file.parent_path() / name->of(i);
      GgufFile part;
      if (i == name->index) {
        part = std::exchange(given, {});
      } else {
        FM_ASSIGN_OR_RETURN(part, read_part(path));
      }
      FM_RETURN_IF_ERROR(check_part(part.header.metadata, i, count));
      FM_RETURN_IF_ERROR(add_tensors(part, path));
      if (i == 1) first = std::move(part);
    }
    FM_ASSIGN_OR_RETURN(const auto total, first.header.metadata.uint("split.tensors.count"));
    if (total && *total != contents.tensors.size()) {
      return first.header.metadata.reject(
          StatusCode::kCorrupt, "split.tensors.count",
          fmt::format("is {}, but the {} parts hold {}; they are not of one download, download "
                      "them again",
                      *total, count, contents.tensors.size()));
    }
    return finish(std::move(first));
  }

  static Status check_part(const GgufMetadata& metadata, std::uint64_t index, std::uint64_t count) {
    FM_ASSIGN_OR_RETURN(const auto number, metadata.uint("split.no"));
    FM_ASSIGN_OR_RETURN(const auto parts, metadata.uint("split.count"));
    if (number == index - 1 && parts == count) return Status();
    return metadata.reject(StatusCode::kCorrupt, "split.no",
                           fmt::format("this is not part {} of {}, as its name says; download the "
                                       "parts again",
                                       index, count));
  }

  Status add_tensors(const GgufFile& part, const fs::path& path) {
    const auto file_index = static_cast<std::uint32_t>(contents.files.size());
    contents.files.push_back(path);
    for (const GgufTensor& tensor : part.header.tensors) {
      TensorRecord record{.dtype = tensor.type->dtype.value_or(DType::kU8),
                          .shape = tensor.shape,
                          .file_index = file_index,
                          .offset = tensor.offset,
                          .size = tensor.size,
                          .ggml_type = tensor.type};
      if (contents.tensors.try_emplace(tensor.name, std::move(record)).second) continue;
      return error(StatusCode::kCorrupt,
                   "{}: tensor {} is in another part, too; keep the files of one download only",
                   path.string(), printable(tensor.name));
    }
    return Status();
  }

  /// The values of rope_freqs.weight, which are a part of the config from here on; none without it.
  Result<std::vector<float>> take_rope_freqs() {
    constexpr std::string_view kName = kRopeFreqsTensor;
    constexpr std::uint64_t kCountMax = 4096;
    const auto found = contents.tensors.find(kName);
    if (found == contents.tensors.end()) return std::vector<float>();
    const TensorRecord& tensor = found->second;
    const fs::path& path = contents.files[tensor.file_index];
    if (tensor.type_name() != to_string(DType::kF32) || tensor.shape.size() != 1 ||
        tensor.shape[0] > kCountMax) {
      return error(StatusCode::kCorrupt,
                   "{}: tensor {} is no list of at most {} F32 values; download the file again",
                   path.string(), kName, kCountMax);
    }
    FM_ASSIGN_OR_RETURN(const File file, File::open(path, File::Mode::kBuffered));
    std::vector<float> values(tensor.shape[0]);
    FM_RETURN_IF_ERROR(file.read_at(tensor.offset, std::as_writable_bytes(std::span(values))));
    contents.tensors.erase(found);
    return values;
  }

  /// Brings the metadata, of the first part, into the package's words.
  Status finish(GgufFile first) {
    const GgufMetadata& metadata = first.header.metadata;
    if (contents.tensors.empty()) {
      return error(StatusCode::kUnsupported,
                   "{}: this GGUF file has no tensors: it is a vocabulary without weights, no "
                   "model; give the model's own",
                   metadata.file());
    }
    contents.config_file = contents.path;
    contents.generation_file = contents.path;
    contents.spelling = TensorSpelling::kGguf;
    FM_ASSIGN_OR_RETURN(const std::vector<float> rope_freqs, take_rope_freqs());
    FM_ASSIGN_OR_RETURN(contents.config, read_gguf_config(metadata, contents.tensors, rope_freqs));
    FM_ASSIGN_OR_RETURN(contents.generation_config, read_gguf_generation_config(metadata));
    FM_ASSIGN_OR_RETURN(EmbeddedTokenizer tokenizer, read_embedded_tokenizer(std::move(first)));
    contents.tokenizer = std::make_shared<const EmbeddedTokenizer>(std::move(tokenizer));
    return Status();
  }
};

}  // namespace

Result<std::optional<fs::path>> find_gguf_file(const fs::path& path) {
  std::error_code ignored;
  const fs::file_status status = fs::status(path, ignored);
  if (fs::is_regular_file(status)) {
    if (!is_called_gguf(path) && !begins_like_gguf(path)) return std::optional<fs::path>();
    // The metadata of a split model is in its first part.
    const std::optional<PartName> part = parse_part_name(path.filename().string());
    const fs::path first = part ? path.parent_path() / part->of(1) : path;
    return std::optional(fs::exists(first, ignored) ? first : path);
  }
  if (!fs::is_directory(status)) {
    // A link to nowhere is for the loader to explain.
    return is_called_gguf(path) ? std::optional(path) : std::optional<fs::path>();
  }
  // The file of each model: of a split one its first part, or another where that is not there,
  // which then is to be called missing.
  std::map<std::string, fs::path> models;
  for (const fs::directory_entry& entry : fs::directory_iterator(path, ignored)) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() == ".safetensors") return std::optional<fs::path>();
    if (!is_called_gguf(name) || name.find("mmproj") != std::string::npos) continue;
    const std::optional<PartName> part = parse_part_name(name);
    fs::path& file = models[part ? part->of(1) : name];
    if (file.empty() || !part || part->index == 1) file = entry.path();
  }
  if (models.empty()) return std::optional<fs::path>();
  if (models.size() == 1) return std::optional(models.begin()->second);
  std::vector<std::string> names;
  names.reserve(models.size());
  for (const auto& [model, file] : models) names.push_back(printable(model));
  return error(StatusCode::kInvalidArgument,
               "{}: this folder has {} GGUF models; give the file of one: {}", path.string(),
               models.size(), some_of(names));
}

Result<EmbeddedTokenizer> load_gguf_tokenizer(const fs::path& file) {
  FM_ASSIGN_OR_RETURN(const File opened, File::open(file, File::Mode::kBuffered));
  FM_ASSIGN_OR_RETURN(GgufFile gguf, read_gguf_header(opened));
  return read_embedded_tokenizer(std::move(gguf));
}

Result<ModelPackage::Contents> read_gguf_package(const fs::path& file) {
  GgufPackageReader reader;
  FM_RETURN_IF_ERROR(reader.read(file));
  return std::move(reader.contents);
}

}  // namespace flashmoe
