#ifndef FLASHMOE_FORMAT_JSON_FILE_H_
#define FLASHMOE_FORMAT_JSON_FILE_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace flashmoe {

/// What a JSON file from outside may cost. A value takes up to about 16 times its text in memory.
struct JsonLimits {
  std::uint64_t size_bytes = 4u << 20;
  std::size_t depth = 64;
};

/// Parses `text`. A JSON number cannot be infinite or NaN; MLX writes `{"__float__": "Infinity"}`
/// (or "-Infinity", "NaN") instead, and Python `Infinity` without quotes: both become that number.
/// `file` is for messages only. Errors: kCorrupt, naming file, line, column and remedy, for
/// anything that is not one JSON value within the limits, that says a key twice or has comments.
Result<nlohmann::json> parse_json(std::string_view text, std::string_view file,
                                  const JsonLimits& limits = {});

/// The text of a whole file of at most `size_limit_bytes`. Errors: kNotFound, kIo, kCorrupt (too
/// large).
Result<std::string> read_text_file(const std::filesystem::path& path,
                                   std::uint64_t size_limit_bytes);

/// parse_json of a file's text. Errors: those of both functions above.
Result<nlohmann::json> load_json_file(const std::filesystem::path& path,
                                      const JsonLimits& limits = {});

/// The complaint of the JSON library without its exception codes, shortened and printable.
std::string json_error_text(const nlohmann::json::exception& exception);

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_JSON_FILE_H_
