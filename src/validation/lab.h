#ifndef FLASHMOE_VALIDATION_LAB_H_
#define FLASHMOE_VALIDATION_LAB_H_

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "validation/prompts.h"
#include "validation/quality.h"
#include "validation/report.h"
#include "validation/workbench.h"

namespace flashmoe {

/// The most, in nats a token, that coherent output may diverge from the exact model's.
inline constexpr double kCoherentDivergence = 0.5;

/// How much of everything is done.
struct ValidationScale {
  std::size_t tokens = 50;          // of an answer
  std::size_t profile_tokens = 80;  // of the per-token profile
  std::size_t repeats = 3;          // of timed trials, interleaved
  std::size_t cycles = 5;
  std::size_t prompt_count = 12;
  std::vector<std::size_t> long_tokens = {500, 1000};
  std::vector<std::size_t> sweep = {160, 176, 192, 208, 224, 240, 256};  // of 512 experts
  std::vector<std::size_t> wide_sweep = {32, 64, 96, 128, 320, 384, 448};
  std::vector<std::size_t> depths = {5, 10, 20, 30, 50};
};

/// What the verdicts rest on; absent where the experiment was not run.
struct Figures {
  std::vector<std::pair<std::size_t, double>> fallback_by_capacity;  // of 512: share of 1
  std::vector<std::pair<std::size_t, bool>> coherent_by_capacity;
  std::vector<std::pair<std::size_t, double>> seconds_by_capacity;  // of a blocking switch
  std::optional<Slope> discovery_slope;
  std::optional<Slope> speed_slope;
  std::map<std::size_t, double> held_out_divergence_by_depth;
  std::map<std::size_t, double> divergence_by_depth;
  std::optional<Quality> predictive_first_tokens;
  std::optional<std::size_t> predictive_coherent;
  std::size_t prompts_judged = 0;
  std::optional<std::size_t> swaps_done;          // after this token, counted from 1
  std::optional<double> divergence_during_swaps;  // of an async change of subject
  std::optional<double> divergence_after_swaps;   // with the old context
  std::optional<double> divergence_after_recompute;
  std::optional<double> resident_distinct_late;  // of long texts, the last quarter
  std::optional<double> predictive_distinct_late;
  std::optional<double> stale_divergence;
  std::optional<double> async_divergence;  // on the same prompts
  std::vector<double> drop_ratios;         // kept over dropped, of a switch's time
  std::optional<bool> exact_is_resident;
  /// A change of subject under a limit that 208 of 512 fit into and 224 don't.
  struct Pressure {
    std::size_t of_512 = 0;   // 0: the exact mode
    bool heeds_limit = true;  // whether the budget is the limit
    std::string outcome;      // "ran", "refused", "killed"
    double tokens_per_second = 0;
  };
  std::vector<Pressure> pressure;
};

/// A workbench with what several experiments share.
class Lab {
 public:
  Lab(Workbench& bench, ValidationScale scale) : bench_(bench), scale_(std::move(scale)) {}

  Workbench& bench() { return bench_; }
  const ValidationScale& scale() const { return scale_; }
  Figures& figures() { return figures_; }

  /// Called before each trial with what it is. Returning false cancels.
  std::function<bool(const std::string& trial)> on_trial;

  /// A mode at so many of 512 experts; 0: without a capacity.
  ResidencyOptions mode(Residency residency, std::size_t of_512) const;
  /// Those of `of_512` that fit in memory; a finding names the others.
  std::vector<std::size_t> fitting(const std::vector<std::size_t>& of_512,
                                   Experiment& experiment) const;
  /// The row of a mode that was refused, for `column_count` columns.
  Row refused_row(const std::string& mode, std::size_t column_count) const;

  /// Says what trial comes. Errors: kCancelled.
  Status announce(const std::string& trial) const;
  Result<Trial> run(const std::string& what, const ResidencyOptions& residency,
                    const std::vector<Turn>& turns, const TrialOptions& options = {});

  /// The turns of a prompt. With `after_base`, the base prompt comes first and the prompt changes
  /// the subject.
  std::vector<Turn> turns_of(const ValidationPrompt& prompt, bool after_base) const;
  /// From the base prompt to the poem: what most of the origin's experiments do.
  std::vector<Turn> change_to_poem() const;

  /// The exact model's answer to a prompt: what answers are judged by.
  Result<const TurnResult*> exact_answer(const ValidationPrompt& prompt);

  /// Near enough to the exact model's own answer (definitions() says how near).
  Result<bool> is_coherent(const TurnResult& turn, const ValidationPrompt& prompt);

  /// Cells of quality: divergence, agreement, both of the first 30 tokens, distinct-3, script,
  /// coherent. quality_columns() has their heads.
  Result<std::vector<Cell>> quality_cells(const TurnResult& turn, const ValidationPrompt& prompt,
                                          const std::string& origin);
  static std::vector<Column> quality_columns();
  static std::vector<std::string> definitions();

  static std::size_t add_sample(Experiment& experiment, std::string title, const Turn& turn,
                                const TurnResult& result);

 private:
  Workbench& bench_;
  const ValidationScale scale_;
  Figures figures_;
  std::map<std::string_view, TurnResult> exact_answers_;  // by the prompt's name
};

// Cells of one kind of figure; `origin` as in Cell.
Cell text_cell(std::string text, std::string origin = "");
Cell count_cell(std::size_t count, std::string origin = "");
Cell seconds_cell(double seconds, std::string origin = "");
Cell rate_cell(double per_second, std::string origin = "");
Cell percent_cell(double share, std::string origin = "");
Cell size_cell(std::uint64_t bytes, std::string origin = "");
Cell number_cell(double value, int digits, std::string origin = "");
Cell yes_cell(bool value, std::string origin = "");

/// What the change of subject of a trial's last turn took.
const SwitchReport& switch_of(const Trial& trial);
/// The time of a blocking change of subject, in all.
double switch_seconds(const SwitchReport& report);

// The experiments, by the report's numbers.
Result<Experiment> run_drop_caches(Lab& lab);                  // 1
Result<Experiment> run_capacity_sweep(Lab& lab);               // 2
Status add_memory_pressure(Lab& lab, Experiment& experiment);  // 2, its second cliff
Result<Experiment> run_prompts(Lab& lab);                      // 3
Result<Experiment> run_token_profile(Lab& lab);                // 4
Result<Experiment> run_cycles(Lab& lab);                       // 5
Result<Experiment> run_discovery_depth(Lab& lab);              // 6
Result<Experiment> run_stale_cache(Lab& lab);                  // 7
Result<Experiment> run_cold_start(Lab& lab);                   // 8
Result<Experiment> run_long_generation(Lab& lab);              // 9
Result<Experiment> run_end_to_end(Lab& lab);                   // 10

/// What the figures say of each claim of the origin's report.
std::vector<Claim> judge_claims(const Figures& figures);
/// The report's totals, recomputed from its own tables.
Table origin_arithmetic();

}  // namespace flashmoe

#endif  // FLASHMOE_VALIDATION_LAB_H_
