#ifndef FLASHMOE_CLI_PROGRESS_BAR_H_
#define FLASHMOE_CLI_PROGRESS_BAR_H_

#include <chrono>
#include <cstdint>
#include <string>

namespace flashmoe::cli {

/// A progress bar on stderr, for work that turns out to take over a second; nothing unless stderr
/// is a terminal. Erases itself when destroyed.
class ProgressBar {
 public:
  explicit ProgressBar(std::string label);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void update(std::uint64_t done, std::uint64_t total);

  /// Erases the bar, so that other output can follow.
  void clear();

 private:
  std::string label_;
  bool is_terminal_;
  bool is_shown_ = false;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_drawn_;
};

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_PROGRESS_BAR_H_
