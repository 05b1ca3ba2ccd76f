#ifndef FLASHMOE_CLI_INTERRUPT_H_
#define FLASHMOE_CLI_INTERRUPT_H_

#include <atomic>
#include <csignal>
#include <initializer_list>
#include <utility>
#include <vector>

namespace flashmoe::cli {

/// While one lives, the signals (Ctrl-C, if none are given) set a flag instead of ending the
/// process, so that work can stop, report and tidy up. The second one ends the process as usual, or
/// one later than that; one that the process was started to ignore stays ignored. One at a time.
class InterruptGuard {
 public:
  /// `noted`: how many signals set the flag before one ends the process.
  InterruptGuard(std::initializer_list<int> signals = {SIGINT}, int noted = 1);
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  /// True once a signal came.
  bool interrupted() const { return flag()->load(std::memory_order_relaxed); }
  /// The same, for GenerateOptions::cancel and its like.
  const std::atomic<bool>* flag() const;

  /// The exit code by which shells report a process that this signal ended: 130 for Ctrl-C.
  int exit_code() const;

 private:
  std::vector<std::pair<int, struct sigaction>> previous_;
};

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_INTERRUPT_H_
