#include "tokenizer/byte_level.h"

#include <array>
#include <cstdint>

#include "base/utf8.h"

namespace flashmoe {
namespace {

constexpr bool spells_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr char32_t kCodePointEnd = 0x100 + 68;
constexpr std::int16_t kNoByte = -1;

// The byte each code point below kCodePointEnd spells, or kNoByte.
constexpr std::array<std::int16_t, kCodePointEnd> kByteOfCodePoint = [] {
  std::array<std::int16_t, kCodePointEnd> table{};
  table.fill(kNoByte);
  std::size_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    table[spells_itself(byte) ? static_cast<std::size_t>(byte) : next++] =
        static_cast<std::int16_t>(byte);
  }
  return table;
}();

}  // namespace

bool append_byte_level(std::string_view token, std::string& out) {
  const std::size_t old_size = out.size();
  for (std::size_t offset = 0; offset < token.size();) {
    const char32_t code_point = next_code_point(token, offset);
    if (code_point >= kCodePointEnd || kByteOfCodePoint[code_point] == kNoByte) {
      out.resize(old_size);
      return false;
    }
    out.push_back(static_cast<char>(kByteOfCodePoint[code_point]));
  }
  return true;
}

}  // namespace flashmoe
