#ifndef FLASHMOE_ENGINE_H_
#define FLASHMOE_ENGINE_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "flashmoe/memory_plan.h"
#include "flashmoe/residency.h"
#include "flashmoe/result.h"
#include "flashmoe/session.h"

namespace flashmoe {

/// How experts are read from disk.
enum class IoChoice : std::uint8_t { kAuto, kIoUring, kPread };

struct EngineOptions {
  /// A model folder as downloaded: config.json, tokenizer.json, *.safetensors.
  std::filesystem::path model;
  /// Memory for the whole process, in bytes. 0: chosen from the machine's free memory and limits.
  std::uint64_t memory_bytes = 0;
  /// Threads that compute, the caller included. 0: as many as there are cores.
  std::size_t threads = 0;
  /// The most tokens of a sequence. 0: the model's own limit, at most kDefaultContext.
  std::size_t context = 0;
  /// The most prompt tokens computed in one step. 0: chosen from the budget.
  std::size_t prefill_chunk = 0;
  /// Sessions that may be open at once; the budget reserves a sequence's memory for each.
  std::size_t sessions = 1;
  IoChoice io = IoChoice::kAuto;
  /// Which experts stay in memory, and what happens to one that is not there.
  ResidencyOptions residency;
  /// A file to record every router's choices to, over all sessions (docs/traces.md). Empty: none.
  std::filesystem::path record_trace;
  /// Routing taken from recorded traces rather than from the routers, as FILE, FILE:ENTRY or
  /// FILE:ENTRY,ENTRY: for measurements under a known routing, where the text means nothing. All
  /// else is computed and read as ever. Empty: the routers decide.
  std::string routing_trace;
  /// Whether to guess, while a layer's mixer runs, what its router will pick, and to
  /// read what is missing of it when the disk would be idle: only where that is measured to pay,
  /// and never under a routing trace, which has nothing to guess from. Only speed depends on it.
  /// No effect unless ResidencyOptions::reads_ahead().
  bool speculation = true;
  /// A file that keeps which experts are in memory from one run to the next (docs/residency.md).
  /// open() reads it, and what it names is then read in the background, below what the computation
  /// waits for; it is written every few hundred steps and when the engine is destroyed. Only speed
  /// depends on it. Empty: none. Only with ResidencyOptions::reads_ahead().
  std::filesystem::path resident_set_file;
  /// Called with what went wrong without harm: why resident_set_file was not used, from open(), or
  /// not written, from the engine's destructor. What it refers to must outlive the engine.
  std::function<void(const Status& status)> on_warning;
  /// Called while weights are loaded, from the thread in open(), with bytes done and of how many.
  std::function<void(std::uint64_t done, std::uint64_t total)> on_progress;
};

inline constexpr std::size_t kDefaultContext = 8192;

/// What a loaded model is.
struct ModelInfo {
  std::string model_type;
  std::size_t vocab_size = 0;
  std::size_t layer_count = 0;
  std::size_t hidden_size = 0;
  std::size_t num_experts = 0;
  std::size_t num_experts_per_tok = 0;
  std::vector<std::int32_t> eos_token_ids;
};

/// What an engine has done since it was opened, over all its sessions.
struct EngineStatistics {
  std::uint64_t expert_hits = 0;
  std::uint64_t expert_misses = 0;
  std::uint64_t expert_evictions = 0;
  /// Those of them that gave memory back under memory pressure (docs/memory.md).
  std::uint64_t expert_limit_evictions = 0;
  /// How often the cache gave slots back, and took some again; how many it may use now, of
  /// MemoryPlan::expert_slots.
  std::uint64_t cache_shrinks = 0;
  std::uint64_t cache_growths = 0;
  std::size_t expert_slot_limit = 0;
  /// Experts that were read because resident_set_file named them: neither hits nor misses.
  std::uint64_t experts_restored = 0;
  /// Experts that were read on a guess of what the router would pick, and those of them that it did
  /// pick, which are hits.
  std::uint64_t speculative_reads = 0;
  std::uint64_t speculative_hits = 0;
  /// Bytes that the operating system delivered to our reads, from disk or its cache, loading
  /// included.
  std::uint64_t bytes_read = 0;
  /// Time the computation stood still, waiting for experts.
  double expert_wait_seconds = 0;
  /// Forward passes: chunks of prompts, and tokens decoded.
  std::uint64_t steps = 0;
  /// Where their time went, beside waiting: attention and DeltaNet; the router; routed, shared and
  /// dense MLPs; lm_head.
  double mixer_seconds = 0;
  double router_seconds = 0;
  double mlp_seconds = 0;
  double output_seconds = 0;
  /// What guessing took, for speculative reads.
  double guess_seconds = 0;
  /// Time with experts' reads in flight, as far as the computation looked: bytes_read over it is
  /// what the disk gives while it is asked.
  double expert_reading_seconds = 0;
  /// What layers could not have gone below with those reads: the longer of them and what could be
  /// computed meanwhile, then the expert that came last.
  double expert_bound_seconds = 0;
  double load_seconds = 0;
  /// Of generated tokens, where the output is approximate (ResidencyOptions::on_miss): experts that
  /// routers picked; those of them that were not in memory and were not read, and those that were
  /// read because threshold or budget wanted it; and of all routed weight the share of the former.
  std::uint64_t routed_requests = 0;
  std::uint64_t routed_fallbacks = 0;
  std::uint64_t routed_reads = 0;
  double replaced_weight_share = 0;
};

/// A model, loaded to run within a memory budget: dense weights in memory, routed experts read from
/// disk as they are needed and kept while there is room. Its output does not depend on the budget
/// (docs/numerics.md).
///
/// Threads: one call at a time into an engine and its sessions together.
class Engine {
 public:
  /// Loads a model. Errors name the file or field and the remedy: kOutOfBudget gives the smallest
  /// budget that works.
  static Result<std::unique_ptr<Engine>> open(const EngineOptions& options);

  virtual ~Engine() = default;

  virtual const ModelInfo& info() const = 0;
  virtual const MemoryPlan& memory_plan() const = 0;
  virtual EngineStatistics statistics() const = 0;
  /// The CPU target in use ("avx512vnni", "neon", ...) and the I/O backend ("io_uring", "pread").
  virtual std::string_view cpu_target() const = 0;
  virtual std::string_view io_backend() const = 0;
  /// Bytes of weights, expert slots included, that huge pages back at this moment: with small pages
  /// memory is read up to 1.4 times slower. 0 where the system does not tell. Takes milliseconds.
  virtual std::uint64_t huge_page_bytes() const = 0;

  /// Text to token ids; added tokens such as <|im_end|> become their ids. Errors: kInvalidArgument
  /// for invalid UTF-8.
  virtual Result<std::vector<std::int32_t>> tokenize(std::string_view text) const = 0;
  /// Token ids to text. Errors: kInvalidArgument for an id that is not in the vocabulary.
  virtual Result<std::string> detokenize(std::span<const std::int32_t> ids) const = 0;
  /// The model's chat template applied to `messages`, a JSON array of {"role", "content"}, ready
  /// for tokenize(). Errors: kNotFound if the model has no template; kInvalidArgument for JSON or a
  /// conversation it cannot render.
  virtual Result<std::string> render_chat(std::string_view messages_json,
                                          bool add_generation_prompt) const = 0;
  /// The model's recommended sampling (generation_config.json); greedy where it recommends none.
  virtual SamplingOptions recommended_sampling() const = 0;

  /// A new, empty sequence. The engine must outlive it. Errors: kOutOfBudget beyond
  /// EngineOptions::sessions.
  virtual Result<std::unique_ptr<Session>> new_session() = 0;

  /// Writes the file of EngineOptions::record_trace and ends the recording: everything computed so
  /// far, also by a pass that was cancelled or a session that failed since. The file appears whole
  /// or not at all; without this call, or if nothing was computed, it does not appear. Errors:
  /// kInvalidArgument if nothing is being recorded; kIo.
  virtual Status finish_trace() = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_H_
