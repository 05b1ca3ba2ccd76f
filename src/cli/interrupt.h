#ifndef FLASHMOE_CLI_INTERRUPT_H_
#define FLASHMOE_CLI_INTERRUPT_H_

#include <csignal>
#include <initializer_list>
#include <utility>
#include <vector>

namespace flashmoe::cli {

/// While one lives, the signals (Ctrl-C, if none are given) set a flag instead of ending the
/// process, so that work can stop at the next token, report and tidy up. A second one ends the
/// process as usual, and one that the process was started to ignore stays ignored. One at a time.
class InterruptGuard {
 public:
  InterruptGuard(std::initializer_list<int> signals = {SIGINT});
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  /// True once a signal came.
  bool interrupted() const;

  /// The exit code by which shells report a process that this signal ended: 130 for Ctrl-C.
  int exit_code() const;

 private:
  std::vector<std::pair<int, struct sigaction>> previous_;
};

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_INTERRUPT_H_
