#ifndef FLASHMOE_SCHEDULER_H_
#define FLASHMOE_SCHEDULER_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "flashmoe/engine_statistics.h"
#include "flashmoe/result.h"
#include "flashmoe/session.h"

namespace flashmoe {

using GenerationId = std::uint64_t;

/// Says which tokens may come next, for output that must have a form. Called by the scheduler's
/// thread alone, for one generation.
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;
  /// Whether `id` may be picked now. Of all ids at least one may.
  virtual bool allows(std::int32_t id) = 0;
  /// `id` has been picked: one that may.
  virtual void accept(std::int32_t id) = 0;
};

/// A text to be continued.
struct GenerationRequest {
  std::vector<std::int32_t> prompt;  // at least one token
  /// Beginnings of the prompt, in tokens, that a later prompt will likely share, as all but its
  /// last turn, which clients like to send otherwise the next time. The sequence is remembered at
  /// the last two, and at as many of the others as the prefix cache has room for.
  std::vector<std::size_t> checkpoints;
  std::size_t max_tokens = 256;
  SamplingOptions sampling;
  std::vector<std::string> stop;  // text that ends the generation
  /// From one mark to the other, both included, stop strings are text like any other.
  struct Passage {
    std::string open;
    std::string close;
  };
  std::vector<Passage> stop_free;
  /// Special tokens that are a part of the text, as all others are not: marks that whoever reads
  /// the text needs. Those that end a sequence are none.
  std::vector<std::int32_t> markup;
  bool ignore_eos = false;
  /// Logarithms of probabilities, before penalties and temperature: of the picked token, and of so
  /// many of the likeliest. None: not wanted.
  std::optional<std::size_t> top_logprobs;
  /// Whether the same is wanted of the prompt's tokens. All of the prompt is computed then,
  /// whatever is remembered of it. Only with top_logprobs.
  bool scores_prompt = false;
  std::unique_ptr<TokenConstraint> constraint;  // null: any token may come
  /// An earlier generation of the same client's request, its first. Together they are one in the
  /// queue: places go to the request of which fewest run, and one of several gives way to a request
  /// of which none does. For a full queue only the first is refused.
  std::optional<GenerationId> companion;
  /// When to give up, finished or not.
  std::optional<std::chrono::steady_clock::time_point> deadline;
};

struct TokenLogprob {
  std::int32_t id = 0;
  float logprob = 0;
};

/// A token that was picked. Views are valid during the call that shows it.
struct GeneratedToken {
  std::int32_t id = 0;
  /// The text that became certain with it: whole characters, and nothing that may yet be part of a
  /// stop string.
  std::string_view text;
  /// Bytes that it adds to the text, certain or not; a character that several tokens spell is of
  /// the last of them. 0 for a token that stands for no text.
  std::size_t size = 0;
  std::optional<TokenLogprob> logprob;         // if wanted
  std::span<const TokenLogprob> top_logprobs;  // likeliest first
};

/// What a generation took. Steps are shared with other sequences: hits, misses, bytes and waiting
/// are those of all the steps that it took part in, whoever needed them.
struct GenerationStatistics {
  std::size_t prompt_tokens = 0;
  std::size_t cached_tokens = 0;  // of the prompt, that were not computed again
  std::size_t generated_tokens = 0;
  double queue_seconds = 0;    // before it had a place
  double prefill_seconds = 0;  // from then to the first token
  double decode_seconds = 0;   // from the first token to the last
  std::uint64_t expert_hits = 0;
  std::uint64_t expert_misses = 0;
  std::uint64_t bytes_read = 0;
  double expert_wait_seconds = 0;
};

/// How a generation ended.
struct GenerationEnd {
  /// If not ok, what failed: a read of experts, or kBusy where its deadline passed.
  Status status;
  FinishReason reason = FinishReason::kStop;
  std::optional<std::size_t> stop;  // which of the request's texts ended it
  std::string_view text;            // what was held back for them, after the last token's
  GenerationStatistics statistics;
};

/// Hears of one generation. Called by the scheduler's thread, which waits: hand things on. Nothing
/// but Scheduler::cancel() may be called from here.
class GenerationListener {
 public:
  virtual ~GenerationListener() = default;
  /// It has a place, and `cached` of `total` tokens are known; then after each chunk of the prompt.
  virtual void on_prompt(std::size_t /*done*/, std::size_t /*total*/) {}
  /// If GenerationRequest::scores_prompt: the prompt's tokens in order, each once, but for the
  /// first, which nothing predicts. `top` is valid during the call.
  virtual void on_prompt_token(const TokenLogprob& /*token*/,
                               std::span<const TokenLogprob> /*top*/) {}
  virtual void on_token(const GeneratedToken& token) = 0;
  /// The last call.
  virtual void on_end(const GenerationEnd& end) = 0;
};

struct SchedulerOptions {
  /// Requests that may wait for a place; more are refused with kBusy.
  std::size_t queue_max = 128;
  /// A folder to keep checkpoints of prompts in, for later runs, and the most bytes there. Empty:
  /// none are kept.
  std::filesystem::path cache_folder;
  std::uint64_t cache_folder_bytes = std::uint64_t{8} << 30;
  /// Called with what went wrong without harm, by a thread of the scheduler's: what could not be
  /// written there.
  std::function<void(const Status& status)> on_warning;
};

/// What a scheduler has done since it was made, and what it is doing.
struct SchedulerStatistics {
  std::size_t places = 0;  // sequences that may run at once
  std::size_t running = 0;
  std::size_t waiting = 0;
  std::uint64_t requests = 0;  // that have ended, however
  std::uint64_t failures = 0;
  std::uint64_t cancellations = 0;
  std::uint64_t prompt_tokens = 0;  // cached ones included
  std::uint64_t cached_tokens = 0;
  std::uint64_t generated_tokens = 0;
  double prefill_seconds = 0;  // of steps with rows of prompts
  double decode_seconds = 0;   // of other steps
  std::uint64_t decode_steps = 0;
  std::uint64_t decode_rows = 0;  // over decode_steps: how many streams a step served
  std::uint64_t checkpoints = 0;  // in the prefix cache
  std::uint64_t checkpoint_bytes = 0;
  std::uint64_t checkpoint_evictions = 0;
  std::uint64_t disk_checkpoints = 0;
  std::uint64_t disk_checkpoint_bytes = 0;
  std::uint64_t disk_checkpoint_loads = 0;
  EngineStatistics engine;
};

/// One expert at this moment.
struct ExpertState {
  bool is_resident = false;
  /// How often it was routed to of late, when it was in memory and when it was not: a use counts
  /// half after two seconds.
  float hits = 0;
  float misses = 0;
};

/// Computes many sequences together: a pass over the layers serves all, each expert that any needs
/// is fetched and traversed once. What a sequence gets does not depend on the others. Prompts that
/// begin as earlier ones did go on from there (docs/serving.md). Any thread may call it.
class Scheduler {
 public:
  /// Cancels what is left.
  virtual ~Scheduler() = default;

  /// Begins a generation, or lets it wait. Errors, before which the listener is not called:
  /// kInvalidArgument for what Session::generate() refuses; kBusy if the queue is full, or
  /// after stop().
  virtual Result<GenerationId> submit(GenerationRequest request,
                                      std::shared_ptr<GenerationListener> listener) = 0;

  /// Ends a generation before the next step; it still hears on_end(). Nothing if it has ended.
  virtual void cancel(GenerationId id) = 0;

  virtual SchedulerStatistics statistics() const = 0;
  /// By layer and expert; layers without experts are empty.
  virtual std::vector<std::vector<ExpertState>> expert_states() const = 0;

  /// Takes no more requests, waits up to `patience` for those there are, and cancels the rest.
  virtual void stop(std::chrono::milliseconds patience) = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_SCHEDULER_H_
