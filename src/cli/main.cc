#include <csignal>
#include <string>
#include <vector>

#include "base/file_limit.h"
#include "cli/command_line.h"
#include "cli/output.h"

int main(int argc, char** argv) {
  flashmoe::cli::occupy_standard_descriptors();
  // A reader that went away (| head) is an error that print() tells of, so that files get closed.
  std::signal(SIGPIPE, SIG_IGN);
  flashmoe::raise_file_limit();
  return flashmoe::cli::run_command_line(std::vector<std::string>(argv + 1, argv + argc));
}
