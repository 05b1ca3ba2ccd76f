#include "format/printable.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace flashmoe {
namespace {

constexpr std::size_t kShownBytesMax = 200;

/// Bytes of the UTF-8 character that `text` begins with; 0 if it begins with none, or with a
/// control character.
std::size_t printable_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return first >= 0x20 && first != 0x7f ? 1 : 0;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  std::uint32_t code_point = first & (0xffu >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0u) != 0x80u) return 0;
    code_point = code_point << 6 | (byte(i) & 0x3fu);
  }
  constexpr std::uint32_t kSmallest[] = {0, 0, 0xa0, 0x800, 0x10000};  // below 0xa0 lie controls
  const bool is_surrogate = code_point >= 0xd800 && code_point <= 0xdfff;
  return code_point < kSmallest[length] || code_point > 0x10ffff || is_surrogate ? 0 : length;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string result;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t length = printable_length(rest);
    if (result.size() + length > kShownBytesMax) return result + "...";
    if (length == 0) {
      result += fmt::format("\\x{:02x}", static_cast<unsigned char>(rest[0]));
    } else {
      result += rest.substr(0, length);
    }
    rest.remove_prefix(length == 0 ? 1 : length);
  }
  return result;
}

std::string some_of(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 8;
  const auto end = names.begin() + static_cast<std::ptrdiff_t>(std::min(names.size(), kShown));
  std::string text = fmt::format("{}", fmt::join(names.begin(), end, ", "));
  if (names.size() > kShown) text += fmt::format(" and {} more", names.size() - kShown);
  return text;
}

}  // namespace flashmoe
