#ifndef FLASHMOE_CLI_INPUT_H_
#define FLASHMOE_CLI_INPUT_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "flashmoe/result.h"

namespace flashmoe::cli {

/// The whole of a text file; "-" is standard input. Errors: kNotFound, kIo, naming the file;
/// kInvalidArgument beyond 1 GiB.
Result<std::string> read_text_file(const std::string& path);

/// A prompt from a text file, "-" being standard input, without the newline that editors and `echo`
/// put at its end. On a terminal one Ctrl-D ends it, also after a word. Errors: as
/// read_text_file().
Result<std::string> read_prompt(const std::string& path);

/// Token ids as a JSON array, or as numbers separated by white space. `source` is for messages.
/// Errors: kInvalidArgument, naming source and what was found.
Result<std::vector<std::int32_t>> parse_token_ids(std::string_view text, std::string_view source);

/// The token ids in a file.
Result<std::vector<std::int32_t>> read_ids_file(const std::string& path);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_INPUT_H_
