#ifndef FLASHMOE_FORMAT_TESTING_GGUF_BYTES_H_
#define FLASHMOE_FORMAT_TESTING_GGUF_BYTES_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "format/gguf.h"

namespace flashmoe {

/// The bytes of a GGUF file, put together right or wrong.
class GgufBytes {
 public:
  GgufBytes& text(std::string_view key, std::string_view value);
  GgufBytes& u32(std::string_view key, std::uint32_t value);
  GgufBytes& f32(std::string_view key, float value);
  GgufBytes& boolean(std::string_view key, bool value);
  GgufBytes& texts(std::string_view key, const std::vector<std::string>& values);
  GgufBytes& i32s(std::string_view key, const std::vector<std::int32_t>& values);
  GgufBytes& f32s(std::string_view key, const std::vector<float>& values);
  /// A value of any type, given all behind its key.
  GgufBytes& raw(std::string_view key, std::string_view type_and_value);
  /// A value as a parser found it.
  GgufBytes& value(std::string_view key, const GgufValue& value);

  /// A tensor of `dims`, innermost first as files have them, whose bytes are `data`.
  GgufBytes& tensor(std::string_view name, const std::vector<std::uint64_t>& dims,
                    std::uint32_t type, std::string data);
  /// The same with an offset of its own, and no bytes.
  GgufBytes& tensor_at(std::string_view name, const std::vector<std::uint64_t>& dims,
                       std::uint32_t type, std::uint64_t offset);

  /// All of it, with the data at multiples of `alignment`.
  std::string bytes(std::uint32_t version = 3, std::uint64_t alignment = 32) const;

 private:
  struct Tensor {
    std::string info;  // up to the offset
    std::string data;
    bool has_offset = false;
    std::uint64_t offset = 0;
  };
  std::string values_;
  std::uint64_t value_count_ = 0;
  std::vector<Tensor> tensors_;
};

/// `value`, little-endian.
template <typename Number>
std::string bytes_of(Number value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

/// A string as GGUF has it.
std::string gguf_string(std::string_view text);

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_TESTING_GGUF_BYTES_H_
