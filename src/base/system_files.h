#ifndef FLASHMOE_BASE_SYSTEM_FILES_H_
#define FLASHMOE_BASE_SYSTEM_FILES_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace flashmoe {

// The small text files of /proc, /sys and control groups.

/// The text of such a file, at most 4 MiB of it, or nothing if it cannot be opened.
std::optional<std::string> read_system_file(const std::filesystem::path& path);

/// The decimal number that `text` begins with, after blanks.
std::optional<std::uint64_t> parse_number(std::string_view text);

/// The number after `key` at the start of a line: "MemTotal:   24684364 kB", "active_file 123".
std::optional<std::uint64_t> find_number(std::string_view text, std::string_view key);

/// The number that a file begins with. Nothing for "max": no limit.
std::optional<std::uint64_t> read_number(const std::filesystem::path& path);

/// `root` + an absolute path of the system.
std::filesystem::path below(const std::filesystem::path& root, std::string_view absolute);

}  // namespace flashmoe

#endif  // FLASHMOE_BASE_SYSTEM_FILES_H_
