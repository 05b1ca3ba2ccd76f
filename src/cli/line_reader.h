#ifndef FLASHMOE_CLI_LINE_READER_H_
#define FLASHMOE_CLI_LINE_READER_H_

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace flashmoe::cli {

/// What a user entered.
struct Input {
  enum class Kind : std::uint8_t {
    kText,         // a line or a message
    kInterrupted,  // Ctrl-C; `text` is what was being typed
    kEnd,          // Ctrl-D, or the end of the file
    kTooLong,      // over kInputSizeMax: dropped
  };
  Kind kind = Kind::kEnd;
  std::string text;
  bool is_last = false;  // a line that Ctrl-D ended (CtrlD::kEndsText)
};

inline constexpr std::size_t kInputSizeMax = std::size_t{16} << 20;

/// Reads lines from a user.
class LineReader {
 public:
  virtual ~LineReader() = default;
  /// The next line, without its newline. `prompt` is shown where a person is typing.
  virtual Input read_line(const char* prompt) = 0;
};

/// Lines of `file`, which must outlive the reader. Shows prompts if `show_prompt`; then Ctrl-C is
/// reported rather than ending the process.
std::unique_ptr<LineReader> make_plain_line_reader(std::FILE* file, bool show_prompt);

/// What Ctrl-D does in a line that is not empty; in an empty one it is the end.
enum class CtrlD : std::uint8_t {
  kEditsLine,  // as shells have it: deletes a character
  kEndsText,   // as a terminal without editing has it: the line is the last one
};

/// Lines typed at the terminal on stdin, with editing and with a history kept in `history_path`
/// (empty: not kept) as far as that can be written. Null if there is no libedit.
std::unique_ptr<LineReader> make_edit_line_reader(const std::filesystem::path& history_path,
                                                  CtrlD ctrl_d = CtrlD::kEditsLine);

/// $XDG_STATE_HOME/flash-moe/history, or below ~/.local/state; empty if neither is known.
std::filesystem::path default_history_path();

/// The next message: a line; or several, where each but the last ends in a backslash; or those
/// between """ and """. `is_block` tells the latter, which are never commands.
Input read_message(LineReader& reader, bool& is_block);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_LINE_READER_H_
