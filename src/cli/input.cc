#include "cli/input.h"

#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/byte_order_mark.h"
#include "base/result.h"
#include "base/units.h"
#include "base/utf8.h"
#include "cli/line_reader.h"
#include "cli/output.h"
#include "format/printable.h"

namespace flashmoe::cli {
namespace {

constexpr std::size_t kTextSizeMax = std::size_t{1} << 30;

struct CloseFile {
  void operator()(std::FILE* file) const {
    if (file != stdin) std::fclose(file);
  }
};

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

Result<std::vector<std::int32_t>> parse_json_ids(std::string_view text, std::string_view source) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_array()) {
    return error(StatusCode::kInvalidArgument, "{}: not a JSON array of token ids, as in [1, 2, 3]",
                 source);
  }
  std::vector<std::int32_t> ids;
  for (const auto& element : json) {
    if (!element.is_number_integer() || element < 0 ||
        element > std::numeric_limits<std::int32_t>::max()) {
      return error(
          StatusCode::kInvalidArgument, "{}: element {} is {}, not a token id", source, ids.size(),
          printable(element.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)));
    }
    ids.push_back(element.get<std::int32_t>());
  }
  return ids;
}

/// What is typed with a line editor until Ctrl-D.
Result<std::string> read_edited_text(std::unique_ptr<LineReader> reader) {
  std::string text;
  for (;;) {
    const Input line = reader->read_line("");
    switch (line.kind) {
      case Input::Kind::kEnd:
        return text;
      case Input::Kind::kInterrupted:
        reader.reset();      // gives the terminal back
        std::raise(SIGINT);  // which the editor took for a key
        return error(StatusCode::kCancelled, "interrupted");
      case Input::Kind::kTooLong:
        return error(StatusCode::kInvalidArgument,
                     "a line is longer than {}; put the text into a file",
                     format_size(kInputSizeMax));
      case Input::Kind::kText:
        text += line.text;
        if (line.is_last) return text;
        text += '\n';
    }
  }
}

/// What is typed until Ctrl-D where lines are not edited. The terminal hands over a line at a time;
/// a piece without a newline is what Ctrl-D cut.
Result<std::string> read_plain_text() {
  std::string text;
  char buffer[1 << 12];
  do {
    const ssize_t count = read(STDIN_FILENO, buffer, sizeof(buffer));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return error(StatusCode::kIo, "standard input: {}", std::strerror(errno));
    if (count == 0) break;
    text.append(buffer, static_cast<std::size_t>(count));
  } while (text.empty() || text.back() == '\n');
  return text;
}

Result<std::string> read_typed_text() {
  print_note("Type the text; Ctrl-D ends it.\n");
  if (isatty(STDOUT_FILENO) != 0) {
    std::unique_ptr<LineReader> reader = make_edit_line_reader({}, CtrlD::kEndsText);
    if (reader != nullptr) return read_edited_text(std::move(reader));
  }
  Result<std::string> text = read_plain_text();
  // What comes next begins below what was typed.
  if (text.ok() && !text->empty() && text->back() != '\n') print_note("\n");
  return text;
}

/// UTF-8 of `bytes`, which are UTF-16.
Result<std::string> from_utf16(std::string_view bytes, bool is_big_endian,
                               const std::string& source) {
  const auto unit_at = [&](std::size_t at) {
    const auto first = static_cast<unsigned char>(bytes[at]);
    const auto second = static_cast<unsigned char>(bytes[at + 1]);
    return static_cast<char32_t>(is_big_endian ? first << 8 | second : second << 8 | first);
  };
  std::string text;
  text.reserve(bytes.size());
  for (std::size_t at = 0; at < bytes.size(); at += 2) {
    char32_t unit = at + 1 < bytes.size() ? unit_at(at) : 0xDFFF;
    const bool is_pair =
        is_high_surrogate(unit) && at + 3 < bytes.size() && is_low_surrogate(unit_at(at + 2));
    if (is_pair) {
      unit = joined_surrogates(unit, unit_at(at + 2));
      at += 2;
    } else if (is_surrogate(unit)) {
      return error(StatusCode::kInvalidArgument,
                   "{}: begins with the byte order mark of UTF-16, and is none at byte {}; save it "
                   "as UTF-8",
                   source, at + 2);
    }
    append_utf8(unit, text);
  }
  return text;
}

/// The text in a file of these bytes.
Result<std::string> decoded(std::string bytes, const std::string& source) {
  for (const bool is_big_endian : {false, true}) {
    const std::string_view mark = is_big_endian ? "\xFE\xFF" : "\xFF\xFE";
    if (bytes.starts_with(mark)) {
      return from_utf16(std::string_view(bytes).substr(2), is_big_endian, source);
    }
  }
  bytes.erase(0, bytes.size() - without_byte_order_mark(bytes).size());
  return bytes;
}

}  // namespace

Result<std::string> read_text_file(const std::string& path) {
  if (path == "-" && isatty(STDIN_FILENO) != 0) return read_typed_text();
  const std::unique_ptr<std::FILE, CloseFile> file(path == "-" ? stdin
                                                               : std::fopen(path.c_str(), "rb"));
  if (file == nullptr) {
    return error(errno == ENOENT ? StatusCode::kNotFound : StatusCode::kIo, "{}: {}", path,
                 std::strerror(errno));
  }
  std::string text;
  char buffer[1 << 16];
  while (const std::size_t count = std::fread(buffer, 1, sizeof(buffer), file.get())) {
    text.append(buffer, count);
    if (text.size() > kTextSizeMax) {
      return error(StatusCode::kInvalidArgument, "{}: larger than 1 GiB", path);
    }
  }
  if (std::ferror(file.get()) != 0) {
    return error(StatusCode::kIo, "{}: {}", path, std::strerror(errno));
  }
  return decoded(std::move(text), path == "-" ? "standard input" : path);
}

Result<std::string> read_prompt(const std::string& path) {
  FM_ASSIGN_OR_RETURN(std::string text, read_text_file(path));
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  return text;
}

bool is_input_waiting() {
  struct stat about = {};
  if (fstat(STDIN_FILENO, &about) != 0) return false;
  if (S_ISFIFO(about.st_mode)) {
    int count = 0;
    return ioctl(STDIN_FILENO, FIONREAD, &count) == 0 && count > 0;
  }
  // In the middle of a file some loop of a script is reading it, and it is not for us.
  return S_ISREG(about.st_mode) && about.st_size > 0 && lseek(STDIN_FILENO, 0, SEEK_CUR) == 0;
}

Result<std::vector<std::int32_t>> parse_token_ids(std::string_view text, std::string_view source) {
  std::size_t at = 0;
  while (at < text.size() && is_space(text[at])) ++at;
  if (at < text.size() && text[at] == '[') return parse_json_ids(text, source);
  std::vector<std::int32_t> ids;
  while (at < text.size()) {
    std::int32_t id = -1;
    const auto [end, failure] = std::from_chars(text.data() + at, text.data() + text.size(), id);
    const auto next = static_cast<std::size_t>(end - text.data());
    if (failure != std::errc() || id < 0 || (next < text.size() && !is_space(text[next]))) {
      return error(
          StatusCode::kInvalidArgument,
          "{}: '{}' is not a token id; expected numbers separated by spaces, or a JSON "
          "array",
          source, printable(text.substr(at, text.find_first_of(" \n\t\r", at) - at).substr(0, 40)));
    }
    ids.push_back(id);
    at = next;
    while (at < text.size() && is_space(text[at])) ++at;
  }
  return ids;
}

Result<std::vector<std::int32_t>> read_ids_file(const std::string& path) {
  FM_ASSIGN_OR_RETURN(const std::string text, read_text_file(path));
  return parse_token_ids(text, path);
}

}  // namespace flashmoe::cli
