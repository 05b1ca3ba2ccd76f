#ifndef FLASHMOE_FORMAT_GGUF_H_
#define FLASHMOE_FORMAT_GGUF_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "io/file.h"
#include "tensor/ggml_type.h"

namespace flashmoe {

/// Types of metadata values, as GGUF numbers them.
enum class GgufType : std::uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

/// A metadata value, or the elements of an array, where they lie in the header.
struct GgufValue {
  GgufType type = GgufType::kU8;  // of each element
  bool is_array = false;
  std::uint64_t count = 1;
  std::span<const std::byte> bytes;  // a string is its length, 8 bytes, and its text
};

/// The key-value pairs of a GGUF header. Refers to the header's bytes. Numbers are stored in
/// varying widths and read from any. An absent key is nullopt, or an empty list; errors (kCorrupt)
/// name file, key, what was found and what is expected.
class GgufMetadata {
 public:
  GgufMetadata() = default;
  explicit GgufMetadata(std::string_view file) : file_(file) {}

  const std::string& file() const { return file_; }
  bool has(std::string_view key) const { return values_.contains(key); }

  Result<std::optional<std::uint64_t>> uint(std::string_view key) const;
  Result<std::optional<double>> number(std::string_view key) const;
  Result<std::optional<bool>> boolean(std::string_view key) const;
  Result<std::optional<std::string>> string(std::string_view key) const;

  /// The elements of an array, or a value alone.
  Result<std::vector<std::uint64_t>> uints(std::string_view key) const;
  Result<std::vector<double>> numbers(std::string_view key) const;
  Result<std::vector<std::string_view>> strings(std::string_view key) const;

  /// The tokens that end a text: of the whole, of a turn, of a message.
  Result<std::vector<std::uint64_t>> end_token_ids() const;

  /// An error about the value of `key`: "FILE: KEY: REASON".
  Status reject(StatusCode code, std::string_view key, std::string_view reason) const;

  const std::map<std::string_view, GgufValue, std::less<>>& values() const { return values_; }

  /// For the parser. False if there is such a key already.
  bool add(std::string_view key, const GgufValue& value) {
    return values_.try_emplace(key, value).second;
  }

 private:
  const GgufValue* find(std::string_view key) const;
  Status wrong(std::string_view key, const GgufValue& value, std::string_view expected) const;
  /// Each element by `read`; `expected`: in words.
  template <typename Number>
  Result<std::vector<Number>> list(std::string_view key,
                                   std::optional<Number> (*read)(GgufType, const std::byte*),
                                   std::string_view expected) const;

  std::string file_;
  std::map<std::string_view, GgufValue, std::less<>> values_;
};

/// One tensor of a GGUF file.
struct GgufTensor {
  std::string name;
  const GgmlType* type = nullptr;
  std::vector<std::uint64_t> shape;  // outermost dimension first: the file's dims reversed
  std::uint64_t offset = 0;          // of its first byte from the start of the file
  std::uint64_t size = 0;            // bytes
};

/// The header of a GGUF file, version 2 or 3 (docs/formats.md). Every tensor has been checked: its
/// size is that of shape and type, its rows are whole blocks, its bytes lie inside the file, and no
/// two share a byte or a name.
struct GgufHeader {
  GgufMetadata metadata;
  std::vector<GgufTensor> tensors;  // by offset
};

/// The largest header that is read; those of the largest vocabularies have 20 MB.
inline constexpr std::uint64_t kGgufHeaderSizeMax = std::uint64_t{256} << 20;

/// Parses the header of a file of `file_size` bytes that begins with `beginning`, to which the
/// result refers; nullopt if all of that may be well but the header is longer. Trusts no byte;
/// allocates in proportion to `beginning`. `file` is for messages. Errors: kCorrupt and
/// kUnsupported, naming file, key or tensor, and remedy.
Result<std::optional<GgufHeader>> parse_gguf_header(std::span<const std::byte> beginning,
                                                    std::uint64_t file_size, std::string_view file);

/// A header with the bytes that it refers to.
struct GgufFile {
  std::vector<std::byte> bytes;
  GgufHeader header;
};

/// Reads and parses the header of `file`, and little else of it. Errors: those of
/// parse_gguf_header, kIo.
Result<GgufFile> read_gguf_header(const File& file);

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_GGUF_H_
