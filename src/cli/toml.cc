#include "cli/toml.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <map>
#include <optional>
#include <system_error>
#include <utility>

#include "base/result.h"
#include "base/utf8.h"
#include "format/printable.h"

namespace flashmoe::cli {
namespace {

bool is_bare(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-';
}

/// What numbers, dates, true and false consist of.
bool is_plain(char c) { return is_bare(c) || c == '.' || c == '+' || c == ':'; }

class TomlParser {
 public:
  TomlParser(std::string_view text, std::string_view source) : text_(text), source_(source) {}

  Result<TomlDocument> parse() {
    if (text_.starts_with("\xef\xbb\xbf")) at_ = 3;  // as editors of Windows put there
    TomlDocument document;
    std::vector<std::string> table;
    for (skip_lines(); at_ < text_.size(); skip_lines()) {
      if (take('[')) {
        if (take('[')) return wrong("a name: tables of settings have one bracket, as [run]");
        FM_ASSIGN_OR_RETURN(table, names());
        if (!take(']')) return wrong("']' after the name of a table");
        FM_RETURN_IF_ERROR(check_new(table, "table ", table_lines_));
        document.tables.push_back({.name = table, .line = line_});
      } else {
        TomlEntry entry{.table = table, .key = {}, .values = {}, .line = line_};
        FM_ASSIGN_OR_RETURN(std::vector<std::string> path, names());
        entry.key = path.back();
        path.pop_back();
        entry.table.insert(entry.table.end(), path.begin(), path.end());
        if (!take('=')) return wrong("'=' after a key");
        path = entry.table;
        path.push_back(entry.key);
        FM_RETURN_IF_ERROR(check_new(path, "", key_lines_));
        FM_RETURN_IF_ERROR(value(entry.values));
        document.entries.push_back(std::move(entry));
      }
      skip_blanks();
      if (at_ < text_.size() && text_[at_] != '\n' && text_[at_] != '\r') {
        return wrong("the end of the line");
      }
    }
    return document;
  }

 private:
  enum class Kind : std::uint8_t { kText, kNumber, kBoolean };
  using Lines = std::map<std::vector<std::string>, std::size_t>;

  /// Notes where `name` stands. Errors: it stands elsewhere already.
  Status check_new(const std::vector<std::string>& name, std::string_view what, Lines& lines) {
    const auto [first, is_new] = lines.emplace(name, line_);
    if (is_new) return Status();
    return error(StatusCode::kInvalidArgument,
                 "{}, line {}: {}{} is there twice, first in line {}; {}", source_, line_, what,
                 printable(fmt::format("{}", fmt::join(name, "."))), first->second,
                 what.empty() ? "remove one of them" : "make one of the two");
  }

  Status wrong(std::string_view expected) const {
    const std::size_t end = std::min(text_.find('\n', at_), text_.size());
    const std::string_view found = at_ < text_.size() ? text_.substr(at_, end - at_) : "";
    return error(StatusCode::kInvalidArgument, "{}, line {}: expected {} and found {}", source_,
                 line_, expected,
                 found.empty() ? "the end of the line"
                               : fmt::format("'{}'", printable(found.substr(0, 40))));
  }

  /// Blanks and a comment.
  void skip_blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
    if (at_ < text_.size() && text_[at_] == '#')
      at_ = std::min(text_.find('\n', at_), text_.size());
  }

  /// Blanks, comments and ends of lines.
  void skip_lines() {
    for (skip_blanks(); at_ < text_.size() && (text_[at_] == '\n' || text_[at_] == '\r');
         skip_blanks()) {
      line_ += text_[at_] == '\n' ? 1 : 0;
      ++at_;
    }
  }

  bool take(char c) {
    skip_blanks();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  /// a.b."c d"
  Result<std::vector<std::string>> names() {
    std::vector<std::string> path;
    do {
      skip_blanks();
      if (at_ < text_.size() && (text_[at_] == '"' || text_[at_] == '\'')) {
        FM_ASSIGN_OR_RETURN(path.emplace_back(), string());
        continue;
      }
      const std::size_t begin = at_;
      while (at_ < text_.size() && is_bare(text_[at_])) ++at_;
      if (at_ == begin) return wrong("a name");
      path.emplace_back(text_.substr(begin, at_ - begin));
    } while (take('.'));
    return path;
  }

  Status value(std::vector<std::string>& values) {
    if (!take('[')) return scalar(values).status();
    std::optional<Kind> kind;
    for (skip_lines(); !take(']'); skip_lines()) {
      const std::size_t begin = at_;
      FM_ASSIGN_OR_RETURN(const Kind next, scalar(values));
      if (kind.value_or(next) != next) {
        at_ = begin;
        return wrong(fmt::format("{} in this array, as the one before", name_of(*kind)));
      }
      kind = next;
      skip_lines();
      if (take(',')) continue;
      skip_lines();
      if (!take(']')) return wrong("',' or ']' in an array");
      return Status();
    }
    return Status();
  }

  static std::string_view name_of(Kind kind) {
    switch (kind) {
      case Kind::kText:
        return "a text in quotes";
      case Kind::kNumber:
        return "a number";
      case Kind::kBoolean:
        break;
    }
    return "true or false";
  }

  Result<Kind> scalar(std::vector<std::string>& values) {
    skip_blanks();
    if (at_ < text_.size() && (text_[at_] == '"' || text_[at_] == '\'')) {
      FM_ASSIGN_OR_RETURN(values.emplace_back(), string());
      return Kind::kText;
    }
    const std::size_t begin = at_;
    while (at_ < text_.size() && is_plain(text_[at_])) ++at_;
    const std::string_view plain = text_.substr(begin, at_ - begin);
    const bool is_number =
        !plain.empty() && plain.find_first_not_of("0123456789+-._eE") == std::string_view::npos;
    if (!is_number && plain != "true" && plain != "false") {
      at_ = begin;
      return wrong("a number, true, false, or a text in quotes");
    }
    std::string text(plain);
    std::erase(text, '_');  // 32_768
    values.push_back(std::move(text));
    return is_number ? Kind::kNumber : Kind::kBoolean;
  }

  /// "basic" or 'literal'.
  Result<std::string> string() {
    const char quote = text_[at_];
    if (text_.substr(at_).starts_with(std::string(3, quote))) {
      return wrong("a text in one line, with \\n for each new one");
    }
    ++at_;
    std::string out;
    for (; at_ < text_.size() && text_[at_] != '\n'; ++at_) {
      const char c = text_[at_];
      if (c == quote) {
        ++at_;
        return out;
      }
      if (quote == '\'' || c != '\\') {
        out += c;
        continue;
      }
      FM_RETURN_IF_ERROR(escape(out));
    }
    return wrong(quote == '"' ? "'\"' at the end of a text" : "''' at the end of a text");
  }

  /// What a backslash stands for; ends at the last character of it.
  Status escape(std::string& out) {
    constexpr std::string_view kEscaped = "btnfr\"\\";
    constexpr std::string_view kMeant = "\b\t\n\f\r\"\\";
    const char next = ++at_ < text_.size() ? text_[at_] : '\n';
    if (const std::size_t known = kEscaped.find(next); known != std::string_view::npos) {
      out += kMeant[known];
      return Status();
    }
    if (next != 'u' && next != 'U') {
      return wrong("n, t, r, u, \\ or \" after a backslash, which is itself written \\\\");
    }
    const std::size_t digit_count = next == 'u' ? 4 : 8;
    const std::string_view digits = text_.substr(std::min(at_ + 1, text_.size()), digit_count);
    std::uint32_t code = 0;
    const auto [end, failure] =
        std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
    const bool is_whole = failure == std::errc() && end == digits.data() + digits.size() &&
                          digits.size() == digit_count;
    if (!is_whole || code > 0x10FFFF || is_surrogate(code)) {
      return wrong("a character's number after a backslash, as \\u00e9 or \\U0001f600");
    }
    append_utf8(code, out);
    at_ += digits.size();
    return Status();
  }

  std::string_view text_;
  std::string_view source_;
  std::size_t at_ = 0;
  std::size_t line_ = 1;
  Lines table_lines_;
  Lines key_lines_;
};

}  // namespace

Result<TomlDocument> parse_toml(std::string_view text, std::string_view source) {
  return TomlParser(text, source).parse();
}

}  // namespace flashmoe::cli
