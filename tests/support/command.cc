#include "support/command.h"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/check.h"
#include "base/testing/repository.h"

namespace flashmoe::testing {
namespace {

/// `text` as one word of a shell command.
std::string shell_word(const std::string& text) {
  std::string word = "'";
  for (const char c : text) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return word + "'";
}

}  // namespace

CommandResult run_flash_moe(const std::vector<std::string>& arguments,
                            const std::string& environment) {
  std::string errors_path = std::filesystem::temp_directory_path() / "flashmoe_errors_XXXXXX";
  const int descriptor = mkstemp(errors_path.data());
  FM_CHECK(descriptor >= 0);
  close(descriptor);
  std::string line =
      fmt::format("env FLASHMOE_PRESETS=off XDG_CACHE_HOME=/dev/null {} {}",
                  environment.empty() ? "" : shell_word(environment), shell_word(program_path()));
  for (const std::string& argument : arguments) line += fmt::format(" {}", shell_word(argument));
  line += fmt::format(" < /dev/null 2> {}", shell_word(errors_path));

  CommandResult result;
  std::FILE* pipe = popen(line.c_str(), "r");
  FM_CHECK(pipe != nullptr);
  char buffer[4096];
  while (const std::size_t count = std::fread(buffer, 1, sizeof(buffer), pipe)) {
    result.output.append(buffer, count);
  }
  const int status = pclose(pipe);
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  std::ifstream errors(errors_path);
  result.errors.assign(std::istreambuf_iterator<char>(errors), {});
  std::filesystem::remove(errors_path);
  return result;
}

}  // namespace flashmoe::testing
