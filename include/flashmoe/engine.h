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

#include "flashmoe/chat_prompt.h"
#include "flashmoe/engine_statistics.h"
#include "flashmoe/kv_precision.h"
#include "flashmoe/memory_plan.h"
#include "flashmoe/residency.h"
#include "flashmoe/result.h"
#include "flashmoe/scheduler.h"
#include "flashmoe/session.h"

namespace flashmoe {

/// "f32", "bf16", "int8".
std::string_view to_string(KvPrecision precision);

/// How experts are read from disk.
enum class IoChoice : std::uint8_t { kAuto, kIoUring, kPread };

inline constexpr std::size_t kDefaultContext = 8192;
inline constexpr std::uint64_t kPrefixCacheAuto = ~std::uint64_t{0};
inline constexpr std::uint64_t kRequestMemoryAuto = ~std::uint64_t{0};
inline constexpr std::size_t kNoTokenLimit = ~std::size_t{0};

struct EngineOptions {
  /// A model folder as downloaded: config.json, tokenizer.json, *.safetensors. Or a repository in
  /// the hub's cache (models--org--name), of which the snapshot of refs/main is taken. Each weight
  /// file stays open: many shards may need a higher limit on open files (RLIMIT_NOFILE), which is
  /// the program's to raise.
  std::filesystem::path model;
  /// Memory for the whole process, in bytes. 0: chosen from the machine's free memory and limits.
  std::uint64_t memory_bytes = 0;
  /// Threads that compute, the caller included. 0: as many as there are cores.
  std::size_t threads = 0;
  /// The most tokens of a sequence. 0: the model's own limit, at most context_default.
  std::size_t context = 0;
  std::size_t context_default = kDefaultContext;
  /// How keys and values of a sequence are kept. Less memory for them leaves more for experts; the
  /// output is then close to that of kF32, and as reproducible.
  KvPrecision kv_precision = KvPrecision::kF32;
  /// The most prompt tokens computed in one step. 0: chosen from the budget.
  std::size_t prefill_chunk = 0;
  /// Sessions that may be open at once, or sequences that a Scheduler computes at once; the budget
  /// reserves a sequence's memory for each.
  std::size_t sessions = 1;
  /// Memory for checkpoints of prompts, for a Scheduler. kPrefixCacheAuto: a share of the budget.
  std::uint64_t prefix_cache_bytes = 0;
  /// Memory that a server needs beside the engine: for requests while they are read, rendered and
  /// tokenized. kRequestMemoryAuto: what the context asks for, and a share of what is spare; less
  /// than the context asks for becomes that. 0: none.
  std::uint64_t request_bytes = 0;
  IoChoice io = IoChoice::kAuto;
  /// Which experts stay in memory, and what happens to one that is not there.
  ResidencyOptions residency;
  /// Whether set_residency() may choose modes with a fixed set later: the budget then reserves what
  /// they need.
  bool may_change_residency = false;
  /// A file to record every router's choices to, over all sessions (docs/traces.md). Empty: none.
  std::filesystem::path record_trace;
  /// A file to write how often each expert was routed to, over all sessions (docs/residency.md).
  /// Empty: none.
  std::filesystem::path record_profile;
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

/// What a chat template is given beside the messages.
struct ChatRenderOptions {
  bool add_generation_prompt = true;
  std::string_view tools_json = "null";  // a JSON array of tools as OpenAI's API has them, or null
  std::string_view kwargs_json = "{}";   // a JSON object of further variables
  /// Nothing is quoted: control tokens are read wherever their text stands. For those who trust all
  /// that gets into a conversation.
  bool allow_control_tokens = false;
};

/// What a loaded model is.
struct ModelInfo {
  /// Tells this model, and this state of its files, from any other.
  std::string identity;
  std::string model_type;
  std::string file_format;       // "safetensors" or "gguf"
  std::uint64_t file_bytes = 0;  // of the files with its weights
  std::size_t vocab_size = 0;
  std::size_t layer_count = 0;
  std::size_t hidden_size = 0;
  std::size_t residual_streams = 1;  // of hidden_size each; more with hyper-connections
  std::size_t num_experts = 0;
  std::size_t num_experts_per_tok = 0;
  std::size_t max_position_embeddings = 0;  // the longest context there is
  std::vector<std::int32_t> eos_token_ids;
  /// What was found wrong without harm when the model was opened, each naming the file or field and
  /// what was done about it; for people.
  std::vector<std::string> warnings;
};

/// A model, loaded to run within a memory budget: dense weights in memory, routed experts read from
/// disk as they are needed and kept while there is room. Its output does not depend on the budget
/// (docs/numerics.md).
///
/// Threads: one call at a time into an engine and its sessions together, except that what a caller
/// needs for text (info, memory_plan, tokenize, tokenize_raw, detokenize, render_chat,
/// recommended_sampling) may be called by any thread at any time.
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
  /// for invalid UTF-8; kOutOfBudget for more than `token_max` tokens, found before they take
  /// memory.
  virtual Result<std::vector<std::int32_t>> tokenize(
      std::string_view text, std::size_t token_max = kNoTokenLimit) const = 0;
  /// The same of a text that begins a sequence: with what the tokenizer's files put before one (a
  /// BOS), unless it stands there already.
  virtual Result<std::vector<std::int32_t>> tokenize_raw(
      std::string_view text, std::size_t token_max = kNoTokenLimit) const = 0;
  /// The ids of what render_chat() made. In quoted spans control tokens are text; else they are as
  /// those of `prompt.text`.
  virtual Result<std::vector<std::int32_t>> tokenize(
      const ChatPrompt& prompt, std::size_t token_max = kNoTokenLimit) const = 0;
  /// Token ids to text. Errors: kInvalidArgument for an id that is not in the vocabulary.
  virtual Result<std::string> detokenize(std::span<const std::int32_t> ids) const = 0;
  /// The bytes of one token, which need not be whole characters; none for an id that is no token.
  virtual std::string token_bytes(std::int32_t id) const = 0;
  /// Whether this is a control token, which decoding may leave out.
  virtual bool is_special_token(std::int32_t id) const = 0;
  /// The model's chat template applied to `messages`, a JSON array of {"role", "content", ...},
  /// ready for tokenize(). An assistant's content keeps the marks of reasoning and calls that the
  /// template itself writes (<think>, <tool_call>), and no other control token. Errors: kNotFound
  /// if the model has no template; kInvalidArgument for JSON or a conversation it cannot render,
  /// with the template's line.
  virtual Result<ChatPrompt> render_chat(std::string_view messages_json,
                                         const ChatRenderOptions& options) const = 0;
  /// The model's recommended sampling (generation_config.json); greedy where it recommends none.
  virtual SamplingOptions recommended_sampling() const = 0;

  /// Another mode from now on, for all sessions. Experts in memory stay, as far as the mode keeps
  /// them. Errors: as open() for such options, and kInvalidArgument for another capacity or a mode
  /// that the budget was not planned for (EngineOptions::may_change_residency); the mode then stays
  /// as it was, unless reads failed.
  virtual Status set_residency(const ResidencyOptions& options) = 0;
  virtual const ResidencyOptions& residency() const = 0;

  /// A new, empty sequence. The engine must outlive it. Errors: kOutOfBudget beyond
  /// EngineOptions::sessions.
  virtual Result<std::unique_ptr<Session>> new_session() = 0;

  /// Takes all sessions at once, to compute many sequences together in a thread of its own. As long
  /// as it exists, nobody else may call the engine but for text. The engine must outlive it.
  /// Errors: kInvalidArgument in modes with a fixed set of experts, which follow one subject;
  /// kOutOfBudget if sessions are open; kIo where the system has no thread left.
  virtual Result<std::unique_ptr<Scheduler>> new_scheduler(const SchedulerOptions& options) = 0;

  /// Writes the file of EngineOptions::record_trace and ends the recording: everything computed so
  /// far, also by a pass that was cancelled or a session that failed since. The file appears whole
  /// or not at all; without this call, or if nothing was computed, it does not appear. Errors:
  /// kInvalidArgument if nothing is being recorded; kIo.
  virtual Status finish_trace() = 0;
  /// Writes the file of EngineOptions::record_profile and ends the counting. Errors: as
  /// finish_trace().
  virtual Status finish_profile() = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_H_
