#include "format/gguf.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <unordered_set>
#include <utility>

#include "base/units.h"
#include "format/printable.h"
#include "tensor/float_bits.h"

namespace flashmoe {
namespace {

constexpr std::string_view kGgufRemedy = "download the file again";
constexpr std::uint64_t kNameSizeMax = 4096;
constexpr std::uint32_t kDimensionsMax = 4;
constexpr std::uint64_t kDefaultAlignment = 32;
/// The longest list of numbers that is read; the longest real one has a type for each token.
constexpr std::uint64_t kNumbersMax = std::uint64_t{1} << 24;

/// Bytes of a value of `type`; 0 for strings, arrays and what is no type.
std::uint64_t scalar_size(GgufType type) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      break;
  }
  return 0;
}

std::string_view type_word(GgufType type) {
  switch (type) {
    case GgufType::kBool:
      return "boolean";
    case GgufType::kString:
      return "string";
    case GgufType::kF32:
    case GgufType::kF64:
      return "number";
    case GgufType::kArray:
      return "array";
    default:
      return "whole number";
  }
}

/// A whole number that is not negative, if the value at `bytes` is one; 0 or 1 of a boolean.
std::optional<std::uint64_t> read_uint(GgufType type, const std::byte* bytes) {
  const auto from = [](auto value) -> std::optional<std::uint64_t> {
    if constexpr (std::is_signed_v<decltype(value)>) {
      if (value < 0) return std::nullopt;
    }
    return static_cast<std::uint64_t>(value);
  };
  switch (type) {
    case GgufType::kBool:
    case GgufType::kU8:
      return from(load_unaligned<std::uint8_t>(bytes));
    case GgufType::kI8:
      return from(load_unaligned<std::int8_t>(bytes));
    case GgufType::kU16:
      return from(load_unaligned<std::uint16_t>(bytes));
    case GgufType::kI16:
      return from(load_unaligned<std::int16_t>(bytes));
    case GgufType::kU32:
      return from(load_unaligned<std::uint32_t>(bytes));
    case GgufType::kI32:
      return from(load_unaligned<std::int32_t>(bytes));
    case GgufType::kU64:
      return from(load_unaligned<std::uint64_t>(bytes));
    case GgufType::kI64:
      return from(load_unaligned<std::int64_t>(bytes));
    default:
      return std::nullopt;
  }
}

/// A finite number, if the value at `bytes` is one.
std::optional<double> read_number(GgufType type, const std::byte* bytes) {
  double value = 0;
  if (type == GgufType::kF32) {
    value = static_cast<double>(load_unaligned<float>(bytes));
  } else if (type == GgufType::kF64) {
    value = load_unaligned<double>(bytes);
  } else if (type == GgufType::kI8) {
    return load_unaligned<std::int8_t>(bytes);
  } else if (type == GgufType::kI16) {
    return load_unaligned<std::int16_t>(bytes);
  } else if (type == GgufType::kI32) {
    return load_unaligned<std::int32_t>(bytes);
  } else if (type == GgufType::kI64) {
    return static_cast<double>(load_unaligned<std::int64_t>(bytes));
  } else {
    const std::optional<std::uint64_t> whole = read_uint(type, bytes);
    if (!whole) return std::nullopt;
    return static_cast<double>(*whole);
  }
  if (!std::isfinite(value)) return std::nullopt;
  return value;
}

std::string_view text_at(const std::byte* bytes) {
  return {reinterpret_cast<const char*>(bytes + 8), load_unaligned<std::uint64_t>(bytes)};
}

/// Takes a header apart from its first byte on.
class HeaderParser {
 public:
  HeaderParser(std::span<const std::byte> bytes, std::uint64_t file_size, std::string_view file)
      : bytes_(bytes), file_size_(file_size), file_(file), header_{GgufMetadata(file), {}} {}

  Status parse() {
    FM_RETURN_IF_ERROR(read_start());
    for (std::uint64_t i = 0; i < value_count_; ++i) FM_RETURN_IF_ERROR(read_value());
    FM_RETURN_IF_ERROR(read_alignment());
    for (std::uint64_t i = 0; i < tensor_count_; ++i) FM_RETURN_IF_ERROR(read_tensor());
    return place_tensors();
  }

  /// parse() failed for want of bytes that the file has.
  bool is_short() const { return is_short_; }
  GgufHeader take() { return std::move(header_); }

 private:
  template <typename... Parts>
  Status corrupt(fmt::format_string<Parts...> text, Parts&&... parts) const {
    return error(StatusCode::kCorrupt, "{}: {}; {}", file_,
                 fmt::format(text, std::forward<Parts>(parts)...), kGgufRemedy);
  }

  /// The next `size` bytes, of `what`.
  Result<std::span<const std::byte>> take(std::uint64_t size, std::string_view what) {
    if (size > file_size_ - at_) {
      return corrupt("{} at byte {} is {} long, beyond the end of the file of {}", what, at_,
                     format_size(size), format_size(file_size_));
    }
    if (size > bytes_.size() - at_) {
      is_short_ = true;
      return Status(StatusCode::kCorrupt, "");
    }
    const auto taken = bytes_.subspan(at_, size);
    at_ += size;
    return taken;
  }

  template <typename Number>
  Result<Number> number(std::string_view what) {
    FM_ASSIGN_OR_RETURN(const auto bytes, take(sizeof(Number), what));
    return load_unaligned<Number>(bytes.data());
  }

  /// A string with its length.
  Result<std::span<const std::byte>> string(std::string_view what, std::uint64_t size_max) {
    const std::uint64_t begin = at_;
    FM_ASSIGN_OR_RETURN(const auto size, number<std::uint64_t>(what));
    if (size > size_max) {
      return corrupt("{} at byte {} is {} long, more than {}", what, begin, format_size(size),
                     format_size(size_max));
    }
    FM_RETURN_IF_ERROR(take(size, what).status());
    return bytes_.subspan(begin, 8 + size);
  }

  Status read_start() {
    FM_ASSIGN_OR_RETURN(const auto magic, take(4, "the magic number"));
    if (text_of(magic) != "GGUF") {
      return corrupt("does not begin with GGUF: it is no GGUF file, or was not downloaded whole");
    }
    FM_ASSIGN_OR_RETURN(const auto version, number<std::uint32_t>("the version"));
    if (version > 0 && (version & 0xffffu) == 0) {
      return error(StatusCode::kUnsupported,
                   "{}: a big-endian GGUF file; use one for little-endian machines", file_);
    }
    if (version != 2 && version != 3) {
      return error(StatusCode::kUnsupported,
                   "{}: GGUF version {}; this build reads 2 and 3: use a newer conversion of the "
                   "model, or a newer flash-moe",
                   file_, version);
    }
    FM_ASSIGN_OR_RETURN(tensor_count_, number<std::uint64_t>("the number of tensors"));
    FM_ASSIGN_OR_RETURN(value_count_, number<std::uint64_t>("the number of metadata values"));
    return Status();
  }

  static std::string_view text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  Status read_value() {
    FM_ASSIGN_OR_RETURN(const auto key_bytes, string("a metadata key", kNameSizeMax));
    const std::string_view key = text_at(key_bytes.data());
    const std::string name = fmt::format("metadata {}", printable(key));
    GgufValue value;
    FM_ASSIGN_OR_RETURN(auto type, number<std::uint32_t>(name));
    if (type == static_cast<std::uint32_t>(GgufType::kArray)) {
      value.is_array = true;
      FM_ASSIGN_OR_RETURN(type, number<std::uint32_t>(name));
      FM_ASSIGN_OR_RETURN(value.count, number<std::uint64_t>(name));
      if (type == static_cast<std::uint32_t>(GgufType::kArray)) {
        return error(StatusCode::kUnsupported, "{}: {} is an array of arrays, which no model has",
                     file_, name);
      }
    }
    value.type = static_cast<GgufType>(type);
    if (type > static_cast<std::uint32_t>(GgufType::kF64)) {
      return corrupt("{} has type {}; types are 0 to 12", name, type);
    }
    FM_ASSIGN_OR_RETURN(value.bytes, elements(value, name));
    if (value.type == GgufType::kBool) {
      for (const std::byte byte : value.bytes) {
        if (std::to_integer<unsigned>(byte) > 1) return corrupt("{} is no boolean", name);
      }
    }
    if (header_.metadata.add(key, value)) return Status();
    return corrupt("{} appears twice", name);
  }

  Result<std::span<const std::byte>> elements(const GgufValue& value, const std::string& name) {
    if (value.type != GgufType::kString) {
      const std::uint64_t size = scalar_size(value.type);
      if (value.count > file_size_ / size) {
        return corrupt("{} has {} elements, more than the file of {} can hold", name, value.count,
                       format_size(file_size_));
      }
      return take(value.count * size, name);
    }
    const std::uint64_t begin = at_;
    for (std::uint64_t i = 0; i < value.count; ++i) {
      FM_RETURN_IF_ERROR(string(name, kGgufHeaderSizeMax).status());
    }
    return bytes_.subspan(begin, at_ - begin);
  }

  Status read_alignment() {
    constexpr std::string_view kKey = "general.alignment";
    FM_ASSIGN_OR_RETURN(const auto alignment, header_.metadata.uint(kKey));
    alignment_ = alignment.value_or(kDefaultAlignment);
    if (std::has_single_bit(alignment_) && alignment_ <= (std::uint64_t{1} << 31)) return Status();
    return header_.metadata.reject(
        StatusCode::kCorrupt, kKey,
        fmt::format("is {}; expected a power of two; {}", alignment_, kGgufRemedy));
  }

  Status read_tensor() {
    FM_ASSIGN_OR_RETURN(const auto name_bytes, string("a tensor's name", kNameSizeMax));
    GgufTensor tensor{.name = std::string(text_at(name_bytes.data()))};
    const std::string name = fmt::format("tensor {}", printable(tensor.name));
    FM_ASSIGN_OR_RETURN(const auto dimensions, number<std::uint32_t>(name));
    if (dimensions == 0 || dimensions > kDimensionsMax) {
      return corrupt("{} has {} dimensions; tensors have 1 to {}", name, dimensions,
                     kDimensionsMax);
    }
    for (std::uint32_t i = 0; i < dimensions; ++i) {
      FM_ASSIGN_OR_RETURN(const auto dimension, number<std::uint64_t>(name));
      tensor.shape.insert(tensor.shape.begin(), dimension);
    }
    FM_ASSIGN_OR_RETURN(const auto type, number<std::uint32_t>(name));
    FM_ASSIGN_OR_RETURN(tensor.offset, number<std::uint64_t>(name));
    tensor.type = find_ggml_type(type);
    if (tensor.type == nullptr) {
      return error(StatusCode::kUnsupported,
                   "{}: {} has ggml type {}, which this build does not know: it is ik_llama.cpp's, "
                   "retired, or newer; use a file in another quantisation",
                   file_, name, type);
    }
    FM_RETURN_IF_ERROR(measure(tensor, name));
    header_.tensors.push_back(std::move(tensor));
    return Status();
  }

  /// The bytes of `tensor`, by its type and shape.
  Status measure(GgufTensor& tensor, const std::string& name) const {
    std::uint64_t elements = 1;
    for (const std::uint64_t dimension : tensor.shape) {
      if (dimension == 0 || __builtin_mul_overflow(elements, dimension, &elements)) {
        return corrupt("{} has shape [{}], which no tensor can have", name,
                       fmt::join(tensor.shape, ", "));
      }
    }
    if (tensor.shape.back() % tensor.type->block != 0) {
      return corrupt("{} has rows of {} elements, which are no whole blocks of {} ({})", name,
                     tensor.shape.back(), tensor.type->block, tensor.type->name);
    }
    const std::uint64_t blocks = elements / tensor.type->block;
    if (__builtin_mul_overflow(blocks, std::uint64_t{tensor.type->block_size}, &tensor.size)) {
      return corrupt("{} has shape [{}], which no file can hold", name,
                     fmt::join(tensor.shape, ", "));
    }
    return Status();
  }

  /// Turns offsets in the data section into offsets in the file, and checks each tensor's place.
  Status place_tensors() {
    if (header_.tensors.empty()) return Status();  // a first part, which may end without padding
    const std::uint64_t data_begin = (at_ + alignment_ - 1) / alignment_ * alignment_;
    const std::uint64_t data_size = file_size_ - std::min(file_size_, data_begin);
    std::unordered_set<std::string_view> names;
    for (GgufTensor& tensor : header_.tensors) {
      if (!names.insert(tensor.name).second) {
        return corrupt("tensor {} appears twice", printable(tensor.name));
      }
      if (tensor.offset % alignment_ != 0) {
        return corrupt("tensor {} has offset {}, which is no multiple of {}",
                       printable(tensor.name), tensor.offset, alignment_);
      }
      if (tensor.size > data_size || tensor.offset > data_size - tensor.size) {
        return corrupt("is cut short: it holds {} of tensors, and tensor {} has {} at offset {}",
                       format_size(data_size), printable(tensor.name), format_size(tensor.size),
                       tensor.offset);
      }
      tensor.offset += data_begin;
    }
    std::sort(header_.tensors.begin(), header_.tensors.end(),
              [](const GgufTensor& a, const GgufTensor& b) { return a.offset < b.offset; });
    for (std::size_t i = 1; i < header_.tensors.size(); ++i) {
      const GgufTensor& before = header_.tensors[i - 1];
      if (before.offset + before.size <= header_.tensors[i].offset) continue;
      return corrupt("tensors {} and {} share bytes", printable(before.name),
                     printable(header_.tensors[i].name));
    }
    return Status();
  }

  std::span<const std::byte> bytes_;
  std::uint64_t file_size_;
  std::string_view file_;
  GgufHeader header_;
  std::uint64_t at_ = 0;
  std::uint64_t tensor_count_ = 0;
  std::uint64_t value_count_ = 0;
  std::uint64_t alignment_ = kDefaultAlignment;
  bool is_short_ = false;
};

}  // namespace

const GgufValue* GgufMetadata::find(std::string_view key) const {
  const auto value = values_.find(key);
  return value == values_.end() ? nullptr : &value->second;
}

Status GgufMetadata::reject(StatusCode code, std::string_view key, std::string_view reason) const {
  return error(code, "{}: {}: {}", file_, printable(key), reason);
}

Status GgufMetadata::wrong(std::string_view key, const GgufValue& value,
                           std::string_view expected) const {
  return reject(StatusCode::kCorrupt, key,
                fmt::format("is {} {}; expected {}; {}", value.is_array ? "an array of" : "a",
                            type_word(value.type), expected, kGgufRemedy));
}

Result<std::optional<std::uint64_t>> GgufMetadata::uint(std::string_view key) const {
  const GgufValue* const value = find(key);
  if (value == nullptr) return std::optional<std::uint64_t>();
  const std::optional<std::uint64_t> number =
      value->is_array ? std::nullopt : read_uint(value->type, value->bytes.data());
  if (!number) return wrong(key, *value, "a whole number that is not negative");
  return number;
}

Result<std::optional<double>> GgufMetadata::number(std::string_view key) const {
  const GgufValue* const value = find(key);
  if (value == nullptr) return std::optional<double>();
  const std::optional<double> number =
      value->is_array ? std::nullopt : read_number(value->type, value->bytes.data());
  if (!number) return wrong(key, *value, "a finite number");
  return number;
}

Result<std::optional<bool>> GgufMetadata::boolean(std::string_view key) const {
  const GgufValue* const value = find(key);
  if (value == nullptr) return std::optional<bool>();
  if (value->is_array || value->type != GgufType::kBool) return wrong(key, *value, "a boolean");
  return std::optional<bool>(value->bytes.front() != std::byte{0});
}

Result<std::optional<std::string>> GgufMetadata::string(std::string_view key) const {
  const GgufValue* const value = find(key);
  if (value == nullptr) return std::optional<std::string>();
  if (value->is_array || value->type != GgufType::kString) return wrong(key, *value, "a string");
  return std::optional<std::string>(text_at(value->bytes.data()));
}

template <typename Number>
Result<std::vector<Number>> GgufMetadata::list(std::string_view key,
                                               std::optional<Number> (*read)(GgufType,
                                                                             const std::byte*),
                                               std::string_view expected) const {
  std::vector<Number> numbers;
  const GgufValue* const value = find(key);
  if (value == nullptr) return numbers;
  const std::uint64_t size = scalar_size(value->type);
  if (value->count > kNumbersMax) return wrong(key, *value, "fewer");
  for (std::uint64_t i = 0; i < value->count; ++i) {
    const std::optional<Number> number =
        size == 0 ? std::nullopt : read(value->type, value->bytes.data() + i * size);
    if (!number) return wrong(key, *value, expected);
    numbers.push_back(*number);
  }
  return numbers;
}

Result<std::vector<std::uint64_t>> GgufMetadata::uints(std::string_view key) const {
  return list(key, read_uint, "whole numbers that are not negative");
}

Result<std::vector<double>> GgufMetadata::numbers(std::string_view key) const {
  return list(key, read_number, "finite numbers");
}

Result<std::vector<std::string_view>> GgufMetadata::strings(std::string_view key) const {
  std::vector<std::string_view> texts;
  const GgufValue* const value = find(key);
  if (value == nullptr) return texts;
  if (value->type != GgufType::kString) return wrong(key, *value, "strings");
  const std::byte* at = value->bytes.data();
  for (std::uint64_t i = 0; i < value->count; ++i) {
    texts.push_back(text_at(at));
    at += 8 + texts.back().size();
  }
  return texts;
}

Result<std::vector<std::uint64_t>> GgufMetadata::end_token_ids() const {
  std::vector<std::uint64_t> ids;
  for (const std::string_view name : {"eos", "eot", "eom"}) {
    FM_ASSIGN_OR_RETURN(const auto id, uint(fmt::format("tokenizer.ggml.{}_token_id", name)));
    if (id && std::find(ids.begin(), ids.end(), *id) == ids.end()) ids.push_back(*id);
  }
  return ids;
}

Result<std::optional<GgufHeader>> parse_gguf_header(std::span<const std::byte> beginning,
                                                    std::uint64_t file_size,
                                                    std::string_view file) {
  HeaderParser parser(beginning, file_size, file);
  const Status status = parser.parse();
  if (status.ok()) return std::optional<GgufHeader>(parser.take());
  if (parser.is_short()) return std::optional<GgufHeader>();
  return status;
}

Result<GgufFile> read_gguf_header(const File& file) {
  // Headers tell their length only by being read: twice as much each time that it is not enough.
  constexpr std::uint64_t kFirstSize = std::uint64_t{1} << 20;
  GgufFile gguf;
  for (std::uint64_t size = kFirstSize; size <= kGgufHeaderSizeMax; size *= 2) {
    const std::uint64_t known = gguf.bytes.size();
    gguf.bytes.resize(static_cast<std::size_t>(std::min(size, file.size())));
    FM_RETURN_IF_ERROR(file.read_at(known, std::span(gguf.bytes).subspan(known)));
    FM_ASSIGN_OR_RETURN(std::optional<GgufHeader> header,
                        parse_gguf_header(gguf.bytes, file.size(), file.path()));
    if (!header) continue;
    gguf.header = std::move(*header);
    return gguf;
  }
  return error(StatusCode::kCorrupt, "{}: the GGUF header is longer than {}; {}", file.path(),
               format_size(kGgufHeaderSizeMax), kGgufRemedy);
}

}  // namespace flashmoe
