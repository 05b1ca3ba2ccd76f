#include "base/system_files.h"

#include <algorithm>
#include <charconv>
#include <fstream>

namespace flashmoe {

// Files of /proc have no size to ask for beforehand, and the buffer stays small, since it would
// count in the peak that one of them reports.
std::optional<std::string> read_system_file(const std::filesystem::path& path) {
  constexpr std::size_t kSizeMax = 4 << 20;
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::string text;
  char buffer[4096];
  while (text.size() < kSizeMax) {
    file.read(buffer, sizeof(buffer));
    if (file.gcount() == 0) break;
    text.append(buffer, static_cast<std::size_t>(file.gcount()));
  }
  return text;
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return std::nullopt;
  std::uint64_t value = 0;
  const auto [end, failure] =
      std::from_chars(text.data() + begin, text.data() + text.size(), value);
  if (failure != std::errc()) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> find_number(std::string_view text, std::string_view key) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    if (line.starts_with(key) && line.size() > key.size() &&
        (line[key.size()] == ' ' || line[key.size()] == '\t')) {
      return parse_number(line.substr(key.size()));
    }
    at = end + 1;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> read_number(const std::filesystem::path& path) {
  const auto text = read_system_file(path);
  return text ? parse_number(*text) : std::nullopt;
}

std::filesystem::path below(const std::filesystem::path& root, std::string_view absolute) {
  while (absolute.starts_with('/')) absolute.remove_prefix(1);
  return root / absolute;
}

}  // namespace flashmoe
