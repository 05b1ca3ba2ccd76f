#ifndef FLASHMOE_CLI_TOML_H_
#define FLASHMOE_CLI_TOML_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "flashmoe/result.h"

namespace flashmoe::cli {

/// A line of a config file: `key = value` below `[table]`.
struct TomlEntry {
  std::vector<std::string> table;  // {"trace", "replay"} below [trace.replay]; empty at the top
  std::string key;
  std::vector<std::string> values;  // those of an array, or the one; numbers as they are written
  std::size_t line = 0;             // counted from 1
};

/// The line `[table]`.
struct TomlTable {
  std::vector<std::string> name;
  std::size_t line = 0;  // counted from 1
};

struct TomlDocument {
  std::vector<TomlTable> tables;
  std::vector<TomlEntry> entries;
};

/// The part of TOML that settings need: tables, bare and quoted keys, strings of one line with all
/// escapes, numbers, true and false, arrays of values of one kind over any number of lines,
/// comments. `source` is for messages. Errors: kInvalidArgument, naming source, line and what was
/// expected; also for a key or a table that is there twice.
Result<TomlDocument> parse_toml(std::string_view text, std::string_view source);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_TOML_H_
