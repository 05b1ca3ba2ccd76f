#ifndef FLASHMOE_ENGINE_PREFIX_ARCHIVE_H_
#define FLASHMOE_ENGINE_PREFIX_ARCHIVE_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/result.h"
#include "engine/prefix_store.h"

namespace flashmoe {

/// Writes checkpoints to a PrefixStore in a thread of its own, while nothing is computed: experts
/// are read from the same disk. One that has waited for long is written all the same. What could
/// not be written is left out, with a warning now and then. The methods are one thread's.
class PrefixArchive {
 public:
  /// How long a checkpoint waits for a quiet moment at most, and how many do.
  static constexpr std::chrono::seconds kPatience{20};
  static constexpr std::size_t kWaitingMax = 4;

  PrefixArchive(std::unique_ptr<PrefixStore> store, std::function<void(const Status&)> on_warning);
  /// Writes what waits.
  ~PrefixArchive();
  PrefixArchive(const PrefixArchive&) = delete;
  PrefixArchive& operator=(const PrefixArchive&) = delete;

  std::vector<PrefixStore::Entry> entries() const;

  /// Will write a checkpoint, soon; `key` names it in Changes. Of too many that wait, the first is
  /// given up.
  void add(std::uint64_t key, std::vector<std::int32_t> tokens,
           std::shared_ptr<const RememberedSequence> sequence);
  Result<RememberedSequence> load(std::uint64_t number);
  void remove(std::uint64_t number);
  /// Whether something is being computed.
  void set_busy(bool is_busy);

  /// What has happened since the last call.
  struct Changes {
    struct Saved {
      std::uint64_t key = 0;
      std::uint64_t number = 0;
    };
    std::vector<Saved> saved;
    std::vector<std::uint64_t> given_up;  // keys of what was added and not written
    std::vector<std::uint64_t> removed;   // numbers
    bool empty() const { return saved.empty() && given_up.empty() && removed.empty(); }
  };
  Changes take_changes();

  struct Size {
    std::size_t count = 0;
    std::uint64_t bytes = 0;
  };
  Size size() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Waiting {
    std::uint64_t key = 0;
    std::vector<std::int32_t> tokens;
    std::shared_ptr<const RememberedSequence> sequence;
    Clock::time_point since;
  };

  void run();
  /// With store_mutex_ held.
  void note_size();
  void write(std::unique_lock<std::mutex>& lock);

  const std::function<void(const Status&)> on_warning_;
  mutable std::mutex store_mutex_;  // taken before mutex_
  std::unique_ptr<PrefixStore> store_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Waiting> waiting_;
  Changes changes_;
  Size size_;
  /// States are let go of by the thread that computes: it asks who else has their blocks.
  std::vector<std::shared_ptr<const RememberedSequence>> written_;
  Clock::time_point warned_;
  bool is_busy_ = false;
  bool is_ending_ = false;
  std::thread thread_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_PREFIX_ARCHIVE_H_
