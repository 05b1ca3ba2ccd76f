#include "cli/toml.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "base/result.h"
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

  Result<std::vector<TomlEntry>> parse() {
    if (text_.starts_with("\xef\xbb\xbf")) at_ = 3;  // as editors of Windows put there
    std::vector<std::string> table;
    std::vector<TomlEntry> entries;
    for (skip_lines(); at_ < text_.size(); skip_lines()) {
      if (take('[')) {
        FM_ASSIGN_OR_RETURN(table, names());
        if (!take(']')) return wrong("']' after the name of a table");
      } else {
        TomlEntry entry{.table = table, .key = {}, .values = {}, .line = line_};
        FM_ASSIGN_OR_RETURN(std::vector<std::string> path, names());
        entry.key = path.back();
        path.pop_back();
        entry.table.insert(entry.table.end(), path.begin(), path.end());
        if (!take('=')) return wrong("'=' after a key");
        FM_RETURN_IF_ERROR(value(entry.values));
        entries.push_back(std::move(entry));
      }
      skip_blanks();
      if (at_ < text_.size() && text_[at_] != '\n' && text_[at_] != '\r') {
        return wrong("the end of the line");
      }
    }
    return entries;
  }

 private:
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
    if (!take('[')) return scalar(values);
    for (skip_lines(); !take(']'); skip_lines()) {
      FM_RETURN_IF_ERROR(scalar(values));
      skip_lines();
      if (take(',')) continue;
      skip_lines();
      if (!take(']')) return wrong("',' or ']' in an array");
      return Status();
    }
    return Status();
  }

  Status scalar(std::vector<std::string>& values) {
    skip_blanks();
    if (at_ < text_.size() && (text_[at_] == '"' || text_[at_] == '\'')) {
      FM_ASSIGN_OR_RETURN(values.emplace_back(), string());
      return Status();
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
    return Status();
  }

  /// "basic" or 'literal'.
  Result<std::string> string() {
    const char quote = text_[at_++];
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
      constexpr std::string_view kEscaped = "btnfr\"\\";
      constexpr std::string_view kMeant = "\b\t\n\f\r\"\\";
      const char next = ++at_ < text_.size() ? text_[at_] : '\n';
      const std::size_t known = kEscaped.find(next);
      if (known == std::string_view::npos) return wrong("n, t, r, \\ or \" after a backslash");
      out += kMeant[known];
    }
    return wrong(quote == '"' ? "'\"' at the end of a text" : "''' at the end of a text");
  }

  std::string_view text_;
  std::string_view source_;
  std::size_t at_ = 0;
  std::size_t line_ = 1;
};

}  // namespace

Result<std::vector<TomlEntry>> parse_toml(std::string_view text, std::string_view source) {
  return TomlParser(text, source).parse();
}

}  // namespace flashmoe::cli
