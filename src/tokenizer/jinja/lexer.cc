#include "tokenizer/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <utility>

#include "tokenizer/jinja/string_literal.h"
#include "tokenizer/jinja/text.h"

namespace flashmoe::jinja {
namespace {

bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_ascii_digit(c) || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80U;
}

// One newline style, and without the final newline.
std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
      continue;
    }
    out += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  Result<std::vector<Token>> run();

 private:
  Status lex_comment(std::size_t begin);
  Status lex_raw(std::size_t begin);
  Status lex_tag(bool is_block);
  Status lex_token();
  Status lex_string();
  Status lex_number();
  Status lex_operator();

  std::string_view rest() const { return std::string_view(source_).substr(at_); }
  char peek(std::size_t ahead) const {
    return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0';
  }
  void skip_space();
  std::size_t skip_space_from(std::size_t at) const;
  // The end of a tag at `at` ("-%}", "+%}" or "%}", or with `close` "}}" or "#}" in place of "%}")
  // with the whitespace that it swallows, or nothing.
  std::optional<std::size_t> tag_end(std::size_t at, std::string_view close) const;
  std::optional<std::size_t> raw_begin_end(std::size_t at) const;
  std::optional<std::size_t> endraw_end(std::size_t at) const;
  void emit_data(std::size_t begin, std::size_t end, char sign, bool is_variable);
  void emit(TokenKind kind, std::string text) {
    tokens_.push_back(Token{kind, std::move(text), line_at(at_)});
  }
  int line_at(std::size_t position);
  template <typename... Args>
  Status fail(fmt::format_string<Args...> format, Args&&... args) {
    return error(StatusCode::kCorrupt, "line {}: {}", line_at(at_),
                 fmt::format(format, std::forward<Args>(args)...));
  }

  std::string source_;
  std::size_t at_ = 0;
  std::size_t line_position_ = 0;  // line_ is the line of this position
  int line_ = 1;
  std::vector<char> open_brackets_;
  std::vector<Token> tokens_;
};

int Lexer::line_at(std::size_t position) {
  if (position < line_position_) {
    line_position_ = 0;
    line_ = 1;
  }
  line_ +=
      static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(line_position_),
                                  source_.begin() + static_cast<std::ptrdiff_t>(position), '\n'));
  line_position_ = position;
  return line_;
}

std::size_t Lexer::skip_space_from(std::size_t at) const {
  const std::string_view tail = std::string_view(source_).substr(at);
  return source_.size() - strip(tail, Side::kLeft).size();
}

void Lexer::skip_space() { at_ = skip_space_from(at_); }

std::optional<std::size_t> Lexer::tag_end(std::size_t at, std::string_view close) const {
  const std::string_view tail = std::string_view(source_).substr(at);
  const bool signed_end = tail.size() > 2 && tail.substr(1, 2) == close;
  if (signed_end && tail[0] == '-') return skip_space_from(at + 3);
  if (signed_end && tail[0] == '+' && close != "}}") return at + 3;
  if (!tail.starts_with(close)) return std::nullopt;
  const bool trims_newline = close != "}}" && tail.size() > 2 && tail[2] == '\n';
  return at + (trims_newline ? 3 : 2);
}

// {% raw %}: `at` is behind "{%" and its sign. Unlike other tags it keeps a newline behind it.
std::optional<std::size_t> Lexer::raw_begin_end(std::size_t at) const {
  at = skip_space_from(at);
  if (!std::string_view(source_).substr(at).starts_with("raw")) return std::nullopt;
  at = skip_space_from(at + 3);
  const std::string_view tail = std::string_view(source_).substr(at);
  if (tail.starts_with("-%}")) return skip_space_from(at + 3);
  if (tail.starts_with("%}")) return at + 2;
  return std::nullopt;
}

std::optional<std::size_t> Lexer::endraw_end(std::size_t at) const {
  at = skip_space_from(at);
  if (!std::string_view(source_).substr(at).starts_with("endraw")) return std::nullopt;
  return tag_end(skip_space_from(at + 6), "%}");
}

// lstrip_blocks: blanks before a block or comment that is first on its line vanish. `sign`
// overrides.
void Lexer::emit_data(std::size_t begin, std::size_t end, char sign, bool is_variable) {
  std::string_view text = std::string_view(source_).substr(begin, end - begin);
  if (sign == '-') {
    text = strip(text, Side::kRight);
  } else if (sign != '+' && !is_variable) {
    const std::size_t newline = text.rfind('\n');
    const std::size_t line_start = newline == std::string_view::npos ? 0 : newline + 1;
    const bool starts_line = line_start > 0 || begin == 0 || source_[begin - 1] == '\n';
    if (starts_line && strip(text.substr(line_start), Side::kBoth).empty()) {
      text = text.substr(0, line_start);
    }
  }
  if (!text.empty()) tokens_.push_back({TokenKind::kData, std::string(text), line_at(begin)});
}

Status Lexer::lex_comment(std::size_t begin) {
  const std::size_t close = source_.find("#}", begin);
  if (close == std::string::npos) return fail("comment without its end '#}}'");
  // A sign belongs to the end of the comment when it is not the one of its beginning.
  const bool has_sign = close > begin && (source_[close - 1] == '-' || source_[close - 1] == '+');
  at_ = *tag_end(has_sign ? close - 1 : close, "#}");
  return Status();
}

Status Lexer::lex_raw(std::size_t begin) {
  for (std::size_t i = begin;;) {
    const std::size_t open = source_.find("{%", i);
    if (open == std::string::npos) return fail("raw block without 'endraw'");
    const char next = open + 2 < source_.size() ? source_[open + 2] : '\0';
    const char sign = next == '-' || next == '+' ? next : '\0';
    const auto end = endraw_end(open + (sign == '\0' ? 2 : 3));
    if (end) {
      emit_data(begin, open, sign, false);
      at_ = *end;
      return Status();
    }
    i = open + 2;
  }
}

Status Lexer::lex_string() {
  const char quote = source_[at_];
  std::size_t end = at_ + 1;
  while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
  if (end >= source_.size()) return fail("string without its closing quote");
  auto text = unescape(std::string_view(source_).substr(at_ + 1, end - at_ - 1));
  if (!text.ok()) return fail("{}", text.status().message());
  emit(TokenKind::kString, std::move(text).value());
  at_ = end + 1;
  return Status();
}

// Decimal digits with single underscores between them, or base prefixes; fraction and exponent make
// a float unless the number follows a dot (as in `parts.0.text`).
Status Lexer::lex_number() {
  const std::size_t begin = at_;
  const auto digits = [&](auto is_digit_of_base) {
    std::string out;
    while (is_digit_of_base(peek(0)) || (peek(0) == '_' && is_digit_of_base(peek(1)))) {
      if (peek(0) != '_') out += peek(0);
      ++at_;
    }
    return out;
  };
  const char base = static_cast<char>(peek(1) | 0x20);
  if (peek(0) == '0' && (base == 'x' || base == 'o' || base == 'b')) {
    at_ += 2;
    const std::string text = digits([base](char c) {
      if (base == 'b') return c == '0' || c == '1';
      if (base == 'o') return c >= '0' && c <= '7';
      return is_ascii_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
    });
    if (text.empty()) return fail("number without digits");
    tokens_.push_back({TokenKind::kInteger, std::string("0") + base + text, line_at(begin)});
    return Status();
  }
  std::string text = digits(is_ascii_digit);
  bool is_float = false;
  if (begin == 0 || source_[begin - 1] != '.') {
    if (peek(0) == '.' && is_ascii_digit(peek(1))) {
      ++at_;
      text += '.' + digits(is_ascii_digit);
      is_float = true;
    }
    const std::size_t sign = peek(1) == '+' || peek(1) == '-' ? 1 : 0;
    if ((peek(0) | 0x20) == 'e' && is_ascii_digit(peek(1 + sign))) {
      text += std::string("e") + (sign == 1 ? std::string(1, peek(1)) : std::string());
      at_ += 1 + sign;
      text += digits(is_ascii_digit);
      is_float = true;
    }
  }
  tokens_.push_back(
      {is_float ? TokenKind::kFloat : TokenKind::kInteger, std::move(text), line_at(begin)});
  return Status();
}

Status Lexer::lex_operator() {
  static constexpr std::array<std::string_view, 26> kOperators = {
      "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
      "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
  const auto* const found = std::find_if(kOperators.begin(), kOperators.end(),
                                         [this](auto op) { return rest().starts_with(op); });
  if (found == kOperators.end()) return fail("unexpected character '{}'", source_[at_]);
  const char c = (*found)[0];
  if (c == '(' || c == '[' || c == '{') {
    open_brackets_.push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
  } else if (c == ')' || c == ']' || c == '}') {
    if (open_brackets_.empty()) return fail("unexpected '{}'", c);
    if (open_brackets_.back() != c)
      return fail("'{}' where '{}' should be", c, open_brackets_.back());
    open_brackets_.pop_back();
  }
  emit(TokenKind::kOperator, std::string(*found));
  at_ += found->size();
  return Status();
}

Status Lexer::lex_token() {
  const char c = source_[at_];
  if (c == '\'' || c == '"') return lex_string();
  if (is_ascii_digit(c)) return lex_number();
  if (!is_name_character(c)) return lex_operator();
  std::size_t end = at_;
  while (end < source_.size() && is_name_character(source_[end])) ++end;
  emit(TokenKind::kName, source_.substr(at_, end - at_));
  at_ = end;
  return Status();
}

// The inside of {{ }} or {% %}. The end counts only outside brackets: {{ {"a": {}} }}.
Status Lexer::lex_tag(bool is_block) {
  const int begin_line = line_at(at_);
  open_brackets_.clear();
  for (;;) {
    skip_space();
    if (at_ >= source_.size()) {
      return error(StatusCode::kCorrupt, "line {}: tag without its end '{}'", begin_line,
                   is_block ? "%}" : "}}");
    }
    if (open_brackets_.empty()) {
      if (const auto end = tag_end(at_, is_block ? "%}" : "}}")) {
        emit(is_block ? TokenKind::kBlockEnd : TokenKind::kVariableEnd, "");
        at_ = *end;
        return Status();
      }
    }
    FM_RETURN_IF_ERROR(lex_token());
  }
}

Result<std::vector<Token>> Lexer::run() {
  while (at_ < source_.size()) {
    std::size_t open = at_;
    const auto is_tag = [this](std::size_t i) {
      return source_[i] == '{' && i + 1 < source_.size() &&
             (source_[i + 1] == '{' || source_[i + 1] == '%' || source_[i + 1] == '#');
    };
    while (open < source_.size() && !is_tag(open)) ++open;
    if (open == source_.size()) {
      tokens_.push_back({TokenKind::kData, source_.substr(at_), line_at(at_)});
      at_ = open;
      break;
    }
    const char kind = source_[open + 1];
    const char next = open + 2 < source_.size() ? source_[open + 2] : '\0';
    const char sign = next == '-' || next == '+' ? next : '\0';
    emit_data(at_, open, sign, kind == '{');
    const std::size_t inside = open + (sign == '\0' ? 2 : 3);
    at_ = open;
    if (kind == '#') {
      FM_RETURN_IF_ERROR(lex_comment(inside));
    } else if (const auto raw = kind == '%' ? raw_begin_end(inside) : std::nullopt) {
      FM_RETURN_IF_ERROR(lex_raw(*raw));
    } else {
      emit(kind == '%' ? TokenKind::kBlockBegin : TokenKind::kVariableBegin, "");
      at_ = inside;
      FM_RETURN_IF_ERROR(lex_tag(kind == '%'));
    }
  }
  emit(TokenKind::kEnd, "");
  return std::move(tokens_);
}

}  // namespace

Result<std::vector<Token>> tokenize(std::string_view source) {
  return Lexer(normalize_newlines(source)).run();
}

}  // namespace flashmoe::jinja
