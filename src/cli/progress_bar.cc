#include "cli/progress_bar.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace flashmoe::cli {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kSilence(1000);  // shorter work shows nothing
constexpr std::chrono::milliseconds kInterval(100);  // between two drawings
constexpr std::size_t kWidth = 30;

}  // namespace

ProgressBar::ProgressBar(std::string label)
    : label_(std::move(label)),
      is_terminal_(isatty(STDERR_FILENO) != 0),
      start_(steady_clock::now()),
      last_drawn_(start_) {}

ProgressBar::~ProgressBar() { clear(); }

void ProgressBar::update(std::uint64_t done, std::uint64_t total) {
  if (!is_terminal_ || total == 0) return;
  const steady_clock::time_point now = steady_clock::now();
  if (now - start_ < kSilence || now - last_drawn_ < kInterval) return;
  const double share = std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  const auto filled = static_cast<std::size_t>(share * static_cast<double>(kWidth));
  const std::string line =
      fmt::format("\r\033[K{} [{}{}] {:3.0f} %", label_, std::string(filled, '#'),
                  std::string(kWidth - filled, ' '), 100 * share);
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
  is_shown_ = true;
  last_drawn_ = now;
}

void ProgressBar::clear() {
  if (!is_shown_) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  is_shown_ = false;
}

}  // namespace flashmoe::cli
