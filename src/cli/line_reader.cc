#include "cli/line_reader.h"

#include <unistd.h>

#include <csignal>
#include <string_view>

#include "cli/user_folder.h"

namespace flashmoe::cli {
namespace {

constexpr std::string_view kFence = "\"\"\"";
constexpr const char* kPrompt = "> ";
constexpr const char* kContinuationPrompt = ". ";

volatile std::sig_atomic_t g_interrupted = 0;

/// While one lives, Ctrl-C makes a read return early.
class InterruptibleRead {
 public:
  InterruptibleRead() {
    g_interrupted = 0;
    struct sigaction action = {};
    action.sa_handler = [](int) { g_interrupted = 1; };  // without SA_RESTART: getc() fails
    sigaction(SIGINT, &action, &previous_);
  }
  ~InterruptibleRead() { sigaction(SIGINT, &previous_, nullptr); }
  InterruptibleRead(const InterruptibleRead&) = delete;
  InterruptibleRead& operator=(const InterruptibleRead&) = delete;

 private:
  struct sigaction previous_ = {};
};

class PlainLineReader : public LineReader {
 public:
  PlainLineReader(std::FILE* file, bool show_prompt) : file_(file), show_prompt_(show_prompt) {}

  Input read_line(const char* prompt) override {
    if (!show_prompt_) return read();
    std::fputs(prompt, stdout);
    std::fflush(stdout);
    const InterruptibleRead interruptible;
    Input input = read_typed();
    if (g_interrupted != 0) {
      input = {Input::Kind::kInterrupted, ""};  // the terminal has dropped the line
    }
    if (input.kind != Input::Kind::kText) std::fputs("\n", stdout);
    return input;
  }

 private:
  /// A terminal hands over a line at a time. One without its newline was ended by Ctrl-D, and a
  /// read past that waits for more rather than finding an end.
  Input read_typed() {
    char line[1 << 13];
    const ssize_t count = ::read(fileno(file_), line, sizeof(line));
    if (count <= 0) return {Input::Kind::kEnd, ""};
    Input input{Input::Kind::kText, std::string(line, static_cast<std::size_t>(count))};
    if (input.text.back() == '\n') input.text.pop_back();
    return input;
  }

  Input read() {
    Input input{Input::Kind::kText, ""};
    int c = EOF;
    while ((c = std::getc(file_)) != EOF && c != '\n') {
      if (input.text.size() < kInputSizeMax) {
        input.text.push_back(static_cast<char>(c));
      } else {
        input.kind = Input::Kind::kTooLong;
      }
    }
    if (c == EOF && input.text.empty()) input.kind = Input::Kind::kEnd;
    if (!input.text.empty() && input.text.back() == '\r') input.text.pop_back();
    return input;
  }

  std::FILE* file_;
  bool show_prompt_;
};

/// Adds lines to `message` until the one that ends in the fence.
Input read_block(LineReader& reader, Input message) {
  message.text.erase(0, kFence.size());
  while (!message.text.ends_with(kFence)) {
    Input line = reader.read_line(kContinuationPrompt);
    if (line.kind == Input::Kind::kEnd) return message;
    if (line.kind != Input::Kind::kText) return line;
    if (!message.text.empty()) message.text += '\n';
    message.text += line.text;
    if (message.text.size() > kInputSizeMax) return {Input::Kind::kTooLong, ""};
  }
  message.text.resize(message.text.size() - kFence.size());
  if (message.text.ends_with('\n')) message.text.pop_back();
  return message;
}

}  // namespace

std::unique_ptr<LineReader> make_plain_line_reader(std::FILE* file, bool show_prompt) {
  return std::make_unique<PlainLineReader>(file, show_prompt);
}

#ifndef FLASHMOE_HAVE_LIBEDIT
std::unique_ptr<LineReader> make_edit_line_reader(const std::filesystem::path&, CtrlD) {
  return nullptr;
}
#endif

std::filesystem::path default_history_path() {
  const auto state = user_folder("XDG_STATE_HOME", ".local/state");
  return state ? *state / "flash-moe" / "history" : std::filesystem::path();
}

Input read_message(LineReader& reader, bool& is_block) {
  Input message = reader.read_line(kPrompt);
  is_block = message.kind == Input::Kind::kText && message.text.starts_with(kFence);
  if (is_block) return read_block(reader, std::move(message));
  while (message.kind == Input::Kind::kText && message.text.ends_with('\\')) {
    message.text.back() = '\n';
    Input line = reader.read_line(kContinuationPrompt);
    if (line.kind == Input::Kind::kEnd) break;
    if (line.kind != Input::Kind::kText) return line;
    message.text += line.text;
    if (message.text.size() > kInputSizeMax) return {Input::Kind::kTooLong, ""};
  }
  return message;
}

}  // namespace flashmoe::cli
