#include "cli/output.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/result.h"

namespace flashmoe::cli {
namespace {

bool g_reader_is_gone = false;

}  // namespace

void occupy_standard_descriptors() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(descriptor, F_GETFD) >= 0 || errno != EBADF) continue;
    // The lowest number that is free is this one. Reading where output is meant makes writes fail.
    const int flags = descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY;
    if (open("/dev/null", flags) != descriptor) std::_Exit(kExitFailure);
  }
}

int report(const Status& status) {
  if (g_reader_is_gone) return kExitNoReader;
  print_note(fmt::format("flash-moe: {}\n", status.message()));
  return status.code() == StatusCode::kInvalidArgument ? kExitUsage : kExitFailure;
}

bool takes_colors(int descriptor) {
  return isatty(descriptor) != 0 && std::getenv("NO_COLOR") == nullptr;
}

void print_note(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);  // fmt::print() would throw
}

Status print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    g_reader_is_gone = errno == EPIPE;
    return error(StatusCode::kIo, "writing to standard output: {}", std::strerror(errno));
  }
  return Status();
}

Status print_json(const nlohmann::ordered_json& value) {
  return print(value.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

}  // namespace flashmoe::cli
