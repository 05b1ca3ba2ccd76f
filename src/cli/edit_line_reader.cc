// Line editing by libedit. Built only where it is found.
#include <histedit.h>
#include <langinfo.h>

#include <clocale>
#include <csignal>
#include <string>
#include <string_view>
#include <system_error>

#include "cli/line_reader.h"

namespace flashmoe::cli {
namespace {

constexpr int kHistoryLines = 1000;
constexpr std::uintmax_t kHistoryFileSizeMax = std::uintmax_t{16} << 20;

/// libedit takes keys for characters of the locale; without a UTF-8 one it would drop bytes.
void use_utf8_locale() {
  for (const char* name : {"", "C.UTF-8", "en_US.UTF-8"}) {
    if (std::setlocale(LC_CTYPE, name) != nullptr &&
        std::string_view(nl_langinfo(CODESET)) == "UTF-8") {
      return;
    }
  }
}

class EditLineReader : public LineReader {
 public:
  EditLineReader(EditLine* edit, History* lines, std::filesystem::path history_path, CtrlD ctrl_d)
      : history_path_(std::move(history_path)), history_(lines), edit_(edit) {
    HistEvent event;
    history(history_, &event, H_SETSIZE, kHistoryLines);
    history(history_, &event, H_SETUNIQUE, 1);
    load_history();
    el_set(edit_, EL_CLIENTDATA, this);
    el_set(edit_, EL_PROMPT, &show_prompt);
    el_set(edit_, EL_EDITOR, "emacs");
    el_set(edit_, EL_HIST, &history, history_);
    el_set(edit_, EL_SIGNAL, 1);  // a resized or resumed terminal is drawn again
    el_source(edit_, nullptr);    // ~/.editrc
    // Ctrl-C arrives as a key, since a signal would not tell what was being typed.
    el_set(edit_, EL_SETTY, "-d", "-isig", nullptr);
    el_set(edit_, EL_ADDFN, "flash-moe-interrupt", "Drop the line", &on_interrupt);
    el_set(edit_, EL_ADDFN, "flash-moe-suspend", "Return to the shell", &on_suspend);
    el_set(edit_, EL_BIND, "^C", "flash-moe-interrupt", nullptr);
    el_set(edit_, EL_BIND, "^Z", "flash-moe-suspend", nullptr);
    el_set(edit_, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    if (ctrl_d != CtrlD::kEndsText) return;
    el_set(edit_, EL_ADDFN, "flash-moe-end", "End the text", &on_end);
    el_set(edit_, EL_BIND, "^D", "flash-moe-end", nullptr);
  }
  ~EditLineReader() override {
    el_end(edit_);
    history_end(history_);
  }
  EditLineReader(const EditLineReader&) = delete;
  EditLineReader& operator=(const EditLineReader&) = delete;

  Input read_line(const char* prompt) override {
    prompt_ = prompt;
    is_interrupted_ = false;
    is_last_ = false;
    int count = 0;
    const char* line = el_gets(edit_, &count);
    if (is_interrupted_) {
      std::fputs("^C\n", stdout);
      std::fflush(stdout);
      return {Input::Kind::kInterrupted, interrupted_text_};
    }
    if (line == nullptr || count <= 0) {
      std::fputs("\n", stdout);
      return {Input::Kind::kEnd, ""};
    }
    Input input{Input::Kind::kText, line, is_last_};
    if (is_last_) std::fputs("\n", stdout);
    while (input.text.ends_with('\n') || input.text.ends_with('\r')) input.text.pop_back();
    if (input.text.size() > kInputSizeMax) return {Input::Kind::kTooLong, ""};
    remember(input.text);
    return input;
  }

 private:
  static EditLineReader& self(EditLine* edit) {
    void* data = nullptr;
    el_get(edit, EL_CLIENTDATA, &data);
    return *static_cast<EditLineReader*>(data);
  }

  static char* show_prompt(EditLine* edit) { return self(edit).prompt_.data(); }

  static unsigned char on_interrupt(EditLine* edit, int) {
    EditLineReader& reader = self(edit);
    const LineInfo* line = el_line(edit);
    reader.is_interrupted_ = true;
    reader.interrupted_text_.assign(line->buffer, line->lastchar);
    return CC_EOF;
  }

  static unsigned char on_suspend(EditLine*, int) {
    std::raise(SIGTSTP);  // libedit's handler gives the terminal back first
    return CC_REDISPLAY;
  }

  static unsigned char on_end(EditLine* edit, int) {
    self(edit).is_last_ = true;
    return CC_NEWLINE;
  }

  void load_history() {
    std::error_code ignored;
    // A pipe would block, and a huge file would be no history.
    if (!std::filesystem::is_regular_file(history_path_, ignored)) return;
    if (std::filesystem::file_size(history_path_, ignored) > kHistoryFileSizeMax) return;
    HistEvent event;
    history(history_, &event, H_LOAD, history_path_.c_str());
  }

  /// Saves after every line: whatever ends the chat then loses none.
  void remember(const std::string& line) {
    if (line.find_first_not_of(" \t") == std::string::npos) return;
    HistEvent event;
    history(history_, &event, H_ENTER, line.c_str());
    if (history_path_.empty()) return;
    std::error_code ignored;
    std::filesystem::create_directories(history_path_.parent_path(), ignored);
    if (std::filesystem::exists(history_path_, ignored) &&
        !std::filesystem::is_regular_file(history_path_, ignored)) {
      return;
    }
    history(history_, &event, H_SAVE, history_path_.c_str());
  }

  std::filesystem::path history_path_;
  History* history_;
  EditLine* edit_;
  std::string prompt_;
  bool is_interrupted_ = false;
  bool is_last_ = false;
  std::string interrupted_text_;
};

}  // namespace

std::unique_ptr<LineReader> make_edit_line_reader(const std::filesystem::path& history_path,
                                                  CtrlD ctrl_d) {
  use_utf8_locale();
  History* lines = history_init();
  if (lines == nullptr) return nullptr;
  EditLine* edit = el_init("flash-moe", stdin, stdout, stderr);
  if (edit == nullptr) {
    history_end(lines);
    return nullptr;
  }
  return std::make_unique<EditLineReader>(edit, lines, history_path, ctrl_d);
}

}  // namespace flashmoe::cli
