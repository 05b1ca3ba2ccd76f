#ifndef FLASHMOE_ENGINE_SCHEDULER_IMPL_H_
#define FLASHMOE_ENGINE_SCHEDULER_IMPL_H_

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_set>
#include <vector>

#include "engine/expert_activity.h"
#include "engine/prefix_cache.h"
#include "engine/running_generation.h"
#include "engine/session_impl.h"
#include "engine/step_pacer.h"
#include "experts/expert_prefetcher.h"
#include "flashmoe/scheduler.h"

namespace flashmoe {

/// The Scheduler: a queue of requests under a lock, and a thread that takes them from there, forms
/// steps and calls the model. Whatever is not under the lock is that thread's alone.
class SchedulerImpl : public Scheduler {
 public:
  struct Parts {
    SessionResources resources;
    std::size_t places = 1;  // sequences at once
    std::uint64_t prefix_cache_bytes = 0;
    std::unique_ptr<PrefixStore> prefix_store;  // null: nothing is kept on disk
    std::unique_ptr<ExpertActivity> activity;   // null: the model has no routed experts
    std::vector<std::size_t> expert_counts;     // routed experts of each layer
    ExpertCache* cache = nullptr;               // null: experts are not read ahead
    RoutingObservers* observers = nullptr;      // those of the model; never null
    /// Called by the scheduler's thread, between steps.
    std::function<EngineStatistics()> statistics;
    std::function<void()> on_close;  // called by the destructor
  };

  /// Errors: kIo where the system has no thread left.
  static Result<std::unique_ptr<SchedulerImpl>> create(Parts parts,
                                                       const SchedulerOptions& options);
  ~SchedulerImpl() override;

  Result<GenerationId> submit(GenerationRequest request,
                              std::shared_ptr<GenerationListener> listener) override;
  void cancel(GenerationId id) override;
  SchedulerStatistics statistics() const override;
  std::vector<std::vector<ExpertState>> expert_states() const override {
    return parts_.activity != nullptr ? parts_.activity->states()
                                      : std::vector<std::vector<ExpertState>>();
  }
  void stop(std::chrono::milliseconds patience) override;

 private:
  using Clock = std::chrono::steady_clock;
  using GenerationPtr = std::unique_ptr<RunningGeneration>;

  SchedulerImpl(Parts parts, const SchedulerOptions& options);

  /// Tells each sequence of a step which experts it is routed to.
  class ExpertUseObserver final : public RoutingObserver {
   public:
    /// `members`: of the step that is being computed, in the order of its segments.
    explicit ExpertUseObserver(const std::vector<RunningGeneration*>& members)
        : members_(members) {}
    void on_routed(LayerId layer, std::span<const StepSegment> segments,
                   std::span<const std::uint16_t> ids, std::span<const float> weights) override;

   private:
    const std::vector<RunningGeneration*>& members_;
  };

  void run();
  /// Waits until there is something to do. False: the thread is to end.
  bool wait_for_work();
  /// Takes those that wait and of which `predicate` is true from the queue. With mutex_ held.
  template <typename Predicate>
  std::vector<GenerationPtr> take_waiting(Predicate predicate);
  void drop_cancelled();
  /// Whether nobody wants the step that is being computed any more. With mutex_ held.
  bool is_step_unwanted() const;
  void end_overdue();
  /// Gives places to those that wait: first to the request of which fewest run, in order of arrival
  /// where that is equal, but not to those that had better wait on.
  void admit();
  std::size_t running_of(GenerationId group) const;
  /// The place in the queue of who comes next, but for those `passed`. With mutex_ held.
  std::optional<std::size_t> next_waiting(const std::vector<GenerationId>& passed) const;
  /// If a request waits of which none runs, and all places are taken: one of another's several goes
  /// back into the queue.
  void make_way();
  /// Whether `waiting` begins like a prompt that is being read: its reader is then asked to
  /// remember where they part.
  bool should_wait(const RunningGeneration& waiting, std::size_t cached);
  Status start(RunningGeneration& generation);
  /// A sequence at the longest checkpoint that the tokens of `generation` begin with, or at their
  /// beginning where nothing else will do.
  Result<RememberedSequence> begin_sequence(const RunningGeneration& generation);
  /// Reads experts that a sequence used before it was remembered, beside whatever is computed.
  void bring_back(const ExpertUse& experts);
  void plan_checkpoints(RunningGeneration& generation, const PrefixCache::Match& match);
  std::size_t checkpoint_spacing(RunningGeneration& generation) const;

  /// One forward pass: over all that run, or over one that is suspected of having failed the last.
  void step();
  /// From here on cancel() knows who is in the step.
  void open_step();
  void close_step();
  /// Chooses rows_ and members_; how many of the rows are of sequences that are decoding.
  std::size_t form_step();
  Status forward(std::span<const SequenceRows> rows, std::span<RunningGeneration* const> members);
  void after_step(std::span<RunningGeneration* const> members);
  void after_failure(std::span<RunningGeneration* const> members, const Status& status);
  void remember(RunningGeneration& generation);
  /// Remembers all that it has computed.
  void remember_end(RunningGeneration& generation, RememberedSequence sequence);
  void retire_ended();
  void count_end(const RunningGeneration& generation);
  /// So many have ended, and their listeners know.
  void forget(std::size_t count);
  void publish_statistics();

  Parts parts_;
  const SchedulerOptions options_;
  RunningGeneration::Model model_;
  PrefixCache prefixes_;
  StepPacer pacer_;
  std::vector<GenerationPtr> running_;
  std::size_t turn_ = 0;  // which of the running ones has the next chunk of a prompt
  std::vector<SequenceRows> rows_;
  std::vector<RunningGeneration*> members_;  // of the step, in the order of rows_
  ExpertUseObserver use_observer_{members_};
  std::vector<std::vector<float>> logits_;  // of those members that have some
  std::vector<std::size_t> last_rows_;      // each member's last row in the step
  std::vector<std::size_t> counts_;         // each member's tokens up to that row
  std::unique_ptr<ExpertPrefetcher> returning_experts_;
  std::size_t returning_until_ = 0;  // the turn by which they are back, or no longer wanted

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable idle_;
  std::deque<GenerationPtr> waiting_;
  std::unordered_set<GenerationId> cancelled_;
  std::vector<GenerationId> step_ids_;   // those in the step that is being computed
  std::atomic<bool> stop_step_ = false;  // all of them are cancelled; written under mutex_
  SchedulerStatistics statistics_;
  GenerationId next_id_ = 1;
  std::size_t open_ = 0;        // submitted, and not ended
  std::size_t unfinished_ = 0;  // those, and those whose listeners have yet to hear of it
  bool refuses_ = false;        // stop() was called
  bool cancels_all_ = false;    // and its patience is at an end
  bool is_ending_ = false;      // the thread is to end
  std::thread thread_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_SCHEDULER_IMPL_H_
