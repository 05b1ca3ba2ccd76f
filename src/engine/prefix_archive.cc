#include "engine/prefix_archive.h"

#include <system_error>
#include <utility>

namespace flashmoe {
namespace {

/// A full disk is told of once in a while, not for every checkpoint.
constexpr std::chrono::minutes kWarningInterval{5};

}  // namespace

PrefixArchive::PrefixArchive(std::unique_ptr<PrefixStore> store,
                             std::function<void(const Status&)> on_warning)
    : on_warning_(std::move(on_warning)), store_(std::move(store)) {
  size_ = {store_->count(), store_->size()};
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error&) {
    // Where the system has no thread left, what there is can still be read.
  }
}

PrefixArchive::~PrefixArchive() {
  {
    const std::lock_guard lock(mutex_);
    is_ending_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

std::vector<PrefixStore::Entry> PrefixArchive::entries() const {
  const std::lock_guard lock(store_mutex_);
  return store_->entries();
}

void PrefixArchive::add(std::uint64_t key, std::vector<std::int32_t> tokens,
                        std::shared_ptr<const RememberedSequence> sequence) {
  const std::lock_guard lock(mutex_);
  if (!thread_.joinable()) {
    changes_.given_up.push_back(key);
    return;
  }
  if (waiting_.size() >= kWaitingMax) {
    changes_.given_up.push_back(waiting_.front().key);
    waiting_.pop_front();
  }
  waiting_.push_back({key, std::move(tokens), std::move(sequence), Clock::now()});
  changed_.notify_all();
}

Result<RememberedSequence> PrefixArchive::load(std::uint64_t number) {
  const std::lock_guard lock(store_mutex_);
  Result<RememberedSequence> sequence = store_->load(number);
  note_size();
  return sequence;
}

void PrefixArchive::remove(std::uint64_t number) {
  const std::lock_guard lock(store_mutex_);
  store_->remove(number);
  note_size();
}

void PrefixArchive::note_size() {
  const std::lock_guard lock(mutex_);
  size_ = {store_->count(), store_->size()};
}

void PrefixArchive::set_busy(bool is_busy) {
  const std::lock_guard lock(mutex_);
  if (is_busy == is_busy_) return;
  is_busy_ = is_busy;
  changed_.notify_all();
}

PrefixArchive::Changes PrefixArchive::take_changes() {
  std::vector<std::shared_ptr<const RememberedSequence>> written;
  const std::lock_guard lock(mutex_);
  written.swap(written_);
  return std::exchange(changes_, {});
}

PrefixArchive::Size PrefixArchive::size() const {
  const std::lock_guard lock(mutex_);
  return size_;
}

void PrefixArchive::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return is_ending_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    const Clock::time_point last_moment = waiting_.front().since + kPatience;
    changed_.wait_until(lock, last_moment, [this] { return is_ending_ || !is_busy_; });
    if (!waiting_.empty()) write(lock);
  }
}

void PrefixArchive::write(std::unique_lock<std::mutex>& lock) {
  const Waiting next = std::move(waiting_.front());
  waiting_.pop_front();
  lock.unlock();
  std::vector<std::uint64_t> removed;
  const Result<std::uint64_t> number = [&] {
    const std::lock_guard store_lock(store_mutex_);
    Result<std::uint64_t> saved = store_->save(next.tokens, *next.sequence, removed);
    note_size();
    return saved;
  }();
  lock.lock();
  changes_.removed.insert(changes_.removed.end(), removed.begin(), removed.end());
  written_.push_back(next.sequence);
  if (number.ok()) {
    changes_.saved.push_back({next.key, *number});
    return;
  }
  changes_.given_up.push_back(next.key);
  if (on_warning_ &&
      (warned_ == Clock::time_point() || Clock::now() - warned_ > kWarningInterval)) {
    warned_ = Clock::now();
    on_warning_(number.status().with_prefix("the prefix cache was not written to disk"));
  }
}

}  // namespace flashmoe
