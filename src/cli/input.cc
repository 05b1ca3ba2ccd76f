#include "cli/input.h"

#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/byte_order_mark.h"
#include "base/result.h"
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

/// What is typed until Ctrl-D. The terminal hands over a line at a time; a piece without a newline
/// is what Ctrl-D cut.
Result<std::string> read_typed_text() {
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

}  // namespace

Result<std::string> read_text_file(const std::string& path) {
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
    if (std::feof(file.get()) != 0) break;  // a terminal would wait for a second Ctrl-D
  }
  if (std::ferror(file.get()) != 0) {
    return error(StatusCode::kIo, "{}: {}", path, std::strerror(errno));
  }
  text.erase(0, text.size() - without_byte_order_mark(text).size());
  return text;
}

Result<std::string> read_prompt(const std::string& path) {
  const bool is_typed = path == "-" && isatty(STDIN_FILENO) != 0;
  if (is_typed) print_note("Type the prompt; Ctrl-D ends it.\n");
  FM_ASSIGN_OR_RETURN(std::string text, is_typed ? read_typed_text() : read_text_file(path));
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  return text;
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
