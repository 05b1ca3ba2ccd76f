#include "base/utf8.h"

#include <fmt/format.h>

#include <cstring>

namespace flashmoe {
namespace {

constexpr std::uint64_t kHighBits = 0x8080808080808080u;

// The number of leading ASCII bytes, counted in words of eight; the rest is left to the caller.
std::size_t skip_ascii_words(std::string_view text, std::size_t offset) {
  while (offset + 8 <= text.size()) {
    std::uint64_t word;
    std::memcpy(&word, text.data() + offset, 8);
    if ((word & kHighBits) != 0) break;
    offset += 8;
  }
  return offset;
}

}  // namespace

Utf8Step step_utf8(std::string_view bytes) {
  const auto at = [bytes](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char first = at(0);
  if (first < 0x80) return {Utf8Step::Kind::kComplete, 1};
  if (first < 0xC2 || first > 0xF4) return {Utf8Step::Kind::kInvalid, 1};
  const std::size_t size = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  // The second byte's range excludes overlong forms, surrogates and what is above U+10FFFF.
  unsigned char low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  unsigned char high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  for (std::size_t i = 1; i < size; ++i) {
    if (i == bytes.size()) return {Utf8Step::Kind::kIncomplete, i};
    if (at(i) < low || at(i) > high) return {Utf8Step::Kind::kInvalid, i};
    low = 0x80;
    high = 0xBF;
  }
  return {Utf8Step::Kind::kComplete, size};
}

std::size_t find_invalid_utf8(std::string_view text) {
  std::size_t offset = 0;
  while ((offset = skip_ascii_words(text, offset)) < text.size()) {
    const Utf8Step step = step_utf8(text.substr(offset));
    if (step.kind != Utf8Step::Kind::kComplete) return offset;
    offset += step.size;
  }
  return std::string_view::npos;
}

bool is_ascii(std::string_view text) {
  std::size_t offset = skip_ascii_words(text, 0);
  while (offset < text.size() && static_cast<unsigned char>(text[offset]) < 0x80) ++offset;
  return offset == text.size();
}

char32_t next_code_point(std::string_view text, std::size_t& offset) {
  const auto at = [&](std::size_t i) -> char32_t {
    return static_cast<unsigned char>(text[offset + i]);
  };
  const char32_t first = at(0);
  char32_t code_point = first;
  std::size_t size = 1;
  if (first >= 0xF0) {
    code_point = (first & 0x07) << 18 | (at(1) & 0x3F) << 12 | (at(2) & 0x3F) << 6 | (at(3) & 0x3F);
    size = 4;
  } else if (first >= 0xE0) {
    code_point = (first & 0x0F) << 12 | (at(1) & 0x3F) << 6 | (at(2) & 0x3F);
    size = 3;
  } else if (first >= 0x80) {
    code_point = (first & 0x1F) << 6 | (at(1) & 0x3F);
    size = 2;
  }
  offset += size;
  return code_point;
}

std::size_t previous_offset(std::string_view text, std::size_t offset) {
  do {
    --offset;
  } while (offset > 0 && (static_cast<unsigned char>(text[offset]) & 0xC0) == 0x80);
  return offset;
}

void append_utf8(char32_t code_point, std::string& out) {
  const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | code_point >> 6);
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | code_point >> 12);
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | code_point >> 18);
    put(0x80 | (code_point >> 12 & 0x3F));
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

std::string quote_bytes(std::string_view bytes) {
  constexpr std::size_t kShownMax = 60;
  std::string out = "\"";
  for (const char c : bytes.substr(0, kShownMax)) {
    if (c >= 0x20 && c < 0x7F && c != '"' && c != '\\') {
      out.push_back(c);
    } else {
      out += fmt::format("\\x{:02X}", static_cast<unsigned char>(c));
    }
  }
  out += bytes.size() > kShownMax ? "\"..." : "\"";
  return out;
}

bool is_white_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

void Utf8Repairer::push(std::string_view bytes, std::string& out) {
  // First complete what is held, byte by byte; it is at most three bytes long.
  while (held_size_ > 0 && !bytes.empty()) {
    held_[held_size_++] = bytes.front();
    const Utf8Step step = step_utf8(std::string_view(held_, held_size_));
    if (step.kind == Utf8Step::Kind::kInvalid) {
      // The new byte does not continue the held ones: it begins something itself.
      out += kReplacementCharacter;
      held_size_ = 0;
      break;
    }
    bytes.remove_prefix(1);
    if (step.kind == Utf8Step::Kind::kComplete) {
      out.append(held_, held_size_);
      held_size_ = 0;
    }
  }
  while (!bytes.empty()) {
    const Utf8Step step = step_utf8(bytes);
    if (step.kind == Utf8Step::Kind::kComplete) {
      out += bytes.substr(0, step.size);
    } else if (step.kind == Utf8Step::Kind::kInvalid) {
      out += kReplacementCharacter;
    } else {
      std::memcpy(held_, bytes.data(), step.size);
      held_size_ = step.size;
    }
    bytes.remove_prefix(step.size);
  }
}

void Utf8Repairer::flush(std::string& out) {
  if (held_size_ > 0) out += kReplacementCharacter;
  held_size_ = 0;
}

}  // namespace flashmoe
