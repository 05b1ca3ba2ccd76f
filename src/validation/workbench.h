#ifndef FLASHMOE_VALIDATION_WORKBENCH_H_
#define FLASHMOE_VALIDATION_WORKBENCH_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "flashmoe/engine.h"
#include "validation/quality.h"

namespace flashmoe {

/// One prompt of a trial and its answer.
struct Turn {
  std::string prompt;
  std::size_t max_tokens = 50;
  bool is_new_subject = false;
  /// Whether it goes on in the context of the turn before; otherwise the sequence begins anew, and
  /// only the experts stay.
  bool keeps_context = false;
  bool wants_quality = true;
  /// Whether everything so far is read again when the last swap has been made, so that nothing of
  /// the context was computed with the old experts.
  bool recomputes_after_swaps = false;
};

/// What a turn gave.
struct TurnResult {
  GenerateResult result;
  std::vector<TokenReport> tokens;
  EngineStatistics before;
  EngineStatistics after;
  double seconds = 0;
  std::uint64_t rss_bytes = 0;        // when it was done
  std::vector<std::int32_t> context;  // all that came before the answer
  std::vector<TokenQuality> quality;  // of the tokens of the answer, against the exact model
  std::vector<std::string> pieces;    // the text of each token of the answer

  double tokens_per_second() const;
  /// Of what was routed for the answer.
  double fallback_rate() const;
  double replaced_weight_share() const { return after.replaced_weight_share; }
};

/// Text of a domain that the model was not trained on.
struct HeldOut {
  double perplexity = 0;
  Quality quality;  // against the exact model, on every token
};

/// A model opened in a mode, and turns in one session.
struct Trial {
  double load_seconds = 0;
  std::uint64_t base_rss_bytes = 0;  // opened, before the first turn
  MemoryPlan plan;
  std::vector<TurnResult> turns;
  HeldOut
      held_out;  // read with the experts as they are after the turns; of no tokens if not wanted
};

struct TrialOptions {
  /// Called between the turns, with the session and the turn that comes.
  std::function<Status(Session& session, std::size_t turn)> before_turn;
  /// Domain of a text to read when the turns are done; empty: none.
  std::string_view held_out;
};

/// Runs trials on one model, and judges them by the exact model on the same tokens. All greedy, and
/// past ends of text, so that every answer has its length.
class Workbench {
 public:
  struct Options {
    std::filesystem::path model;
    std::uint64_t memory_bytes = 0;  // of each engine; 0: what is free
    std::size_t threads = 0;
    std::size_t context = 2048;
  };

  /// Errors: those of Engine::open and inspect_model; kUnsupported for a model without routed
  /// experts.
  static Result<std::unique_ptr<Workbench>> create(const Options& options);

  std::size_t num_experts() const { return num_experts_; }
  /// So many of 512ths of a layer's experts, at least one token's.
  std::size_t capacity(std::size_t of_512) const;
  /// Whether every expert fits in the memory given.
  bool can_be_resident() const { return can_be_resident_; }
  /// Whether a fixed set of so many experts in every layer fits in the memory given.
  bool fits(std::size_t capacity) const { return fits_in(plan_, capacity); }
  /// As above, in the memory of `plan`: a change of subject keeps the state of its sequence twice.
  bool fits_in(const MemoryPlan& plan, std::size_t capacity) const;
  std::uint64_t memory_bytes() const { return plan_.budget_bytes; }
  const ModelInfo& info() const { return info_; }
  const Options& options() const { return options_; }
  /// The smallest budget that works, and the one that holds every expert.
  std::uint64_t budget_min() const { return budget_min_; }
  std::uint64_t budget_resident() const { return resident_bytes_; }
  /// What budgets hold, smallest first; some round ones are added.
  Result<std::vector<MemoryPlan>> plan(const std::vector<std::uint64_t>& budgets) const;
  /// Closes what stays open between trials, with its threads. It opens again when it is needed.
  void close_engines() { exact_ = nullptr; }

  /// Reads the model's headers, as opening it begins with.
  Status inspect() const;
  /// Makes the system forget what it has of the model's files, so that a trial begins cold.
  Status drop_page_cache() const;

  Result<Trial> run(const ResidencyOptions& residency, const std::vector<Turn>& turns,
                    const TrialOptions& options = {});

 private:
  explicit Workbench(Options options) : options_(std::move(options)) {}
  Result<std::unique_ptr<Engine>> open(const ResidencyOptions& residency);
  Result<Engine*> exact();
  /// Text of `domain` from the model's prompts.json, tokenized; empty where there is none.
  const std::vector<std::int32_t>& held_out_ids(std::string_view domain);
  Result<TurnResult> take_turn(Engine& engine, Session& session, const Turn& turn,
                               std::vector<std::vector<float>>& logits);
  static Status recompute(Session& session, const GenerateOptions& options, TurnResult& taken);
  Status judge(TurnResult& turn, const std::vector<std::vector<float>>& logits);
  Status read_rows(
      Session& session, const std::vector<std::int32_t>& ids,
      const std::function<void(std::size_t position, std::span<const float> row)>& on_row) const;
  Result<HeldOut> judge_text(const std::vector<std::int32_t>& ids, std::span<const float> logits);

  const Options options_;
  ModelInfo info_;
  std::size_t num_experts_ = 0;
  bool can_be_resident_ = false;
  MemoryPlan plan_;  // of the memory given
  std::uint64_t budget_min_ = 0;
  std::uint64_t resident_bytes_ = 0;
  std::unique_ptr<Engine> exact_;  // the judge; null: closed
  std::map<std::string, std::vector<std::int32_t>, std::less<>> held_out_;
  std::map<std::string, std::vector<std::string>, std::less<>> texts_;  // by domain
};

}  // namespace flashmoe

#endif  // FLASHMOE_VALIDATION_WORKBENCH_H_
