#ifndef FLASHMOE_TESTS_SUPPORT_COMMAND_H_
#define FLASHMOE_TESTS_SUPPORT_COMMAND_H_

#include <string>
#include <vector>

namespace flashmoe::testing {

struct CommandResult {
  int exit_code = -1;  // -1: ended by a signal
  std::string output;
  std::string errors;
};

/// Runs the flash-moe of this build with `arguments`, empty standard input, no cache folder and
/// none of the defaults that whoever runs the tests may have set. `environment`: one NAME=value
/// more, or empty.
CommandResult run_flash_moe(const std::vector<std::string>& arguments,
                            const std::string& environment = {});

}  // namespace flashmoe::testing

#endif  // FLASHMOE_TESTS_SUPPORT_COMMAND_H_
