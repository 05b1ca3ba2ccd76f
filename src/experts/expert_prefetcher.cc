#include "experts/expert_prefetcher.h"

#include <chrono>
#include <span>
#include <system_error>
#include <utility>

namespace flashmoe {
namespace {

// Two experts of a large model, a few MB, are about what a fast disk reads in this time.
constexpr std::chrono::microseconds kInterval(500);

}  // namespace

ExpertPrefetcher::ExpertPrefetcher(ExpertCache& cache, std::vector<ExpertKey> wanted, Room room)
    : cache_(cache), wanted_(std::move(wanted)), room_(room) {
  if (wanted_.empty()) return;
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error&) {
    // Everything works without; only the first tokens take longer.
  }
}

ExpertPrefetcher::~ExpertPrefetcher() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopped_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void ExpertPrefetcher::run() {
  const std::span<const ExpertKey> kept =
      room_ == Room::kOfOthers ? wanted_ : std::span<const ExpertKey>();
  std::span<const ExpertKey> rest = wanted_;
  std::unique_lock lock(mutex_);
  for (;;) {
    if (stop_) rest = {};
    const Result<PrefetchProgress> progress = cache_.prefetch(rest, kept);
    if (progress.ok()) {
      rest = rest.subspan(progress->done_count);
      // Not before its reads have ended: Linux may cancel those of a thread that is gone.
      if ((rest.empty() || progress->is_full) && progress->reading_count == 0) return;
    } else {
      rest = {};
    }
    stopped_.wait_for(lock, kInterval);
  }
}

}  // namespace flashmoe
