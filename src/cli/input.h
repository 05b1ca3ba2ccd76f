#ifndef FLASHMOE_CLI_INPUT_H_
#define FLASHMOE_CLI_INPUT_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "flashmoe/result.h"

namespace flashmoe::cli {

/// The whole of a text file without its byte order mark; one that begins with the mark of UTF-16 is
/// turned into UTF-8. "-" is standard input: on a terminal what is typed until one Ctrl-D, which
/// may come after a word. Errors: kNotFound, kIo, naming the file; kInvalidArgument beyond 1 GiB,
/// and for UTF-16 that is none.
Result<std::string> read_text_file(const std::string& path);

/// A prompt from a text file, without the newline that editors and `echo` put at its end. Errors:
/// as read_text_file().
Result<std::string> read_prompt(const std::string& path);

/// Whether somebody put a text on standard input: there are bytes in its pipe, or it is a file of
/// which nothing was read yet. Reads nothing.
bool is_input_waiting();

/// Token ids as a JSON array, or as numbers separated by white space. `source` is for messages.
/// Errors: kInvalidArgument, naming source and what was found.
Result<std::vector<std::int32_t>> parse_token_ids(std::string_view text, std::string_view source);

/// The token ids in a file.
Result<std::vector<std::int32_t>> read_ids_file(const std::string& path);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_INPUT_H_
