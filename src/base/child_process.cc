#include "base/child_process.h"

#if defined(__linux__)
#include <sys/prctl.h>
#endif
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "base/result.h"

namespace flashmoe {
namespace {

Status system_error(std::string_view action) {
  return error(StatusCode::kIo, "{}: {}", action, std::strerror(errno));
}

void write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = write(descriptor, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;  // the parent died: nobody is left to tell
    text.remove_prefix(static_cast<std::size_t>(count));
  }
}

std::string read_all(int descriptor) {
  std::string text;
  std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t count = read(descriptor, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
}

/// Has this process, a child, end when its parent does, whatever ends that. Elsewhere than on Linux
/// it goes on until it has something to tell.
void end_with(pid_t parent) {
#if defined(__linux__)
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0);  // it has ended before
#else
  static_cast<void>(parent);
#endif
}

/// One byte for the StatusCode, then the value or the message.
[[noreturn]] void report_and_exit(int descriptor, const Result<std::string>& result) {
  const Status status = result.status();
  write_all(descriptor, std::string(1, static_cast<char>(status.code())) +
                            (result.ok() ? *result : status.message()));
  std::fflush(nullptr);
  _exit(0);  // what the parent has registered to do at exit is the parent's to do
}

}  // namespace

Result<std::string> run_in_child(const std::function<Result<std::string>()>& work) {
  std::array<int, 2> ends;
  if (pipe(ends.data()) != 0) return system_error("make a pipe");
  std::fflush(nullptr);  // or the child would print it again
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) {
    const Status status = system_error("start a process");
    close(ends[0]);
    close(ends[1]);
    return status;
  }
  if (child == 0) {
    end_with(parent);
    close(ends[0]);
    report_and_exit(ends[1], work());
  }
  close(ends[1]);
  const std::string text = read_all(ends[0]);
  close(ends[0]);
  int state = 0;
  while (waitpid(child, &state, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(state)) {
    const int signal = WTERMSIG(state);
    return error(StatusCode::kIo, "the process that measures was ended by signal {} ({}){}", signal,
                 strsignal(signal),
                 signal == SIGKILL ? "; perhaps for want of memory: lower --memory" : "");
  }
  if (text.empty() || !WIFEXITED(state) || WEXITSTATUS(state) != 0) {
    return error(StatusCode::kIo, "the process that measures ended without a result");
  }
  const auto code = static_cast<StatusCode>(text.front());
  if (code != StatusCode::kOk) return Status(code, text.substr(1));
  return text.substr(1);
}

}  // namespace flashmoe
