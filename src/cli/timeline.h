#ifndef FLASHMOE_CLI_TIMELINE_H_
#define FLASHMOE_CLI_TIMELINE_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "flashmoe/engine.h"
#include "flashmoe/session.h"

namespace flashmoe::cli {

/// Tells on stderr what happens when, a line for each event: seconds since the start, and sizes.
/// Says nothing unless it is on.
class Timeline {
 public:
  explicit Timeline(bool is_on) : is_on_(is_on) {}

  void opening(std::string_view model);
  /// Of the weights: the first call tells how many there are, the last one that they are there.
  void reading(std::uint64_t done, std::uint64_t total);
  void opened(const Engine& engine);
  /// Prompt tokens that have been computed, and of how many: told when they begin and end, and
  /// twice a second between.
  void prefilled(std::size_t done, std::size_t total);
  void first_token();
  void answered(const GenerateResult& result);

 private:
  void tell(std::string_view event) const;

  bool is_on_;
  bool has_read_ = false;
  std::optional<std::chrono::steady_clock::time_point> prefill_told_;  // none: not in a prompt
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_TIMELINE_H_
