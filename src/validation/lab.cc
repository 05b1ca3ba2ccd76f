#include "validation/lab.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/units.h"

namespace flashmoe {
namespace {

// What "coherent" is held to be.
constexpr double kDistinctShare = 0.5;   // of the exact answer's
constexpr double kScriptShare = 0.8;     // of the exact answer's
constexpr std::size_t kDistinctRun = 3;  // tokens
constexpr std::size_t kFirstTokens = 30;

std::span<const TokenQuality> first_tokens(const TurnResult& turn) {
  return std::span(turn.quality).first(std::min(turn.quality.size(), kFirstTokens));
}

}  // namespace

ResidencyOptions Lab::mode(Residency residency, std::size_t of_512) const {
  ResidencyOptions options{.residency = residency};
  if (of_512 != 0) options.capacity = bench_.capacity(of_512);
  return options;
}

std::vector<std::size_t> Lab::fitting(const std::vector<std::size_t>& of_512,
                                      Experiment& experiment) const {
  std::vector<std::size_t> here, elsewhere;
  for (const std::size_t capacity : of_512) {
    (bench_.fits(bench_.capacity(capacity)) ? here : elsewhere).push_back(capacity);
  }
  if (!elsewhere.empty()) {
    experiment.findings.push_back(fmt::format("{} of 512 do not fit in {}: refused.",
                                              fmt::join(elsewhere, ", "),
                                              format_size(bench_.memory_bytes())));
  }
  return here;
}

Row Lab::refused_row(const std::string& mode, std::size_t column_count) const {
  Row row{.cells = {text_cell(mode)}};
  row.cells.push_back(
      {.value = {}, .text = "does not fit in " + format_size(bench_.memory_bytes()), .origin = {}});
  row.cells.resize(column_count);
  return row;
}

Status Lab::announce(const std::string& trial) const {
  if (on_trial && !on_trial(trial)) return error(StatusCode::kCancelled, "interrupted");
  return Status();
}

Result<Trial> Lab::run(const std::string& what, const ResidencyOptions& residency,
                       const std::vector<Turn>& turns, const TrialOptions& options) {
  FM_RETURN_IF_ERROR(announce(what));
  Result<Trial> trial = bench_.run(residency, turns, options);
  return trial.ok() ? std::move(trial) : Result<Trial>(trial.status().with_prefix(what));
}

std::vector<Turn> Lab::turns_of(const ValidationPrompt& prompt, bool after_base) const {
  std::vector<Turn> turns;
  if (after_base) {
    turns.push_back({.prompt = std::string(validation_prompts()[kBasePrompt].turns[0]),
                     .max_tokens = scale_.tokens,
                     .wants_quality = false});
  }
  for (std::size_t i = 0; i < prompt.turns.size(); ++i) {
    turns.push_back({.prompt = std::string(prompt.turns[i]),
                     .max_tokens = scale_.tokens,
                     .is_new_subject = after_base || i > 0,
                     .keeps_context = i > 0});
  }
  return turns;
}

std::vector<Turn> Lab::change_to_poem() const {
  return turns_of(validation_prompts()[kPoemPrompt], /*after_base=*/true);
}

Result<const TurnResult*> Lab::exact_answer(const ValidationPrompt& prompt) {
  const auto found = exact_answers_.find(prompt.name);
  if (found != exact_answers_.end()) return &found->second;
  FM_ASSIGN_OR_RETURN(Trial trial, run(fmt::format("exact: {}", prompt.name), {},
                                       turns_of(prompt, /*after_base=*/false)));
  return &exact_answers_.emplace(prompt.name, std::move(trial.turns.back())).first->second;
}

Result<bool> Lab::is_coherent(const TurnResult& turn, const ValidationPrompt& prompt) {
  FM_ASSIGN_OR_RETURN(const TurnResult* const exact, exact_answer(prompt));
  const double distinct = distinct_share(turn.result.token_ids, kDistinctRun);
  const double exact_distinct = distinct_share(exact->result.token_ids, kDistinctRun);
  return mean_quality(turn.quality).divergence <= kCoherentDivergence &&
         distinct >= kDistinctShare * exact_distinct &&
         script_share(turn.result.text, prompt.script) >=
             kScriptShare * script_share(exact->result.text, prompt.script);
}

Result<std::vector<Cell>> Lab::quality_cells(const TurnResult& turn, const ValidationPrompt& prompt,
                                             const std::string& origin) {
  const Quality all = mean_quality(turn.quality);
  const Quality first = mean_quality(first_tokens(turn));
  FM_ASSIGN_OR_RETURN(const bool coherent, is_coherent(turn, prompt));
  return std::vector<Cell>{
      number_cell(all.divergence, 3),
      percent_cell(all.agreement),
      number_cell(first.divergence, 3),
      percent_cell(first.agreement),
      percent_cell(distinct_share(turn.result.token_ids, kDistinctRun)),
      percent_cell(script_share(turn.result.text, prompt.script)),
      yes_cell(coherent, origin),
  };
}

std::vector<Column> Lab::quality_columns() {
  return {{"divergence", "KL, nats"},
          {"agreement", "top-1"},
          {"divergence_first_30", "KL, tokens 1-30"},
          {"agreement_first_30", "top-1, tokens 1-30"},
          {"distinct_3", "distinct-3"},
          {"script_share", "script"},
          {"coherent", "coherent"}};
}

std::vector<std::string> Lab::definitions() {
  return {
      "KL: the mean over the answer's tokens of the Kullback-Leibler divergence of what the mode "
      "predicts from what the resident model predicts after the same tokens, in nats; top-1: how "
      "often both would pick the same token. Both are 0 and 100 % for the exact mode.",
      fmt::format("distinct-3: different runs of {} tokens over all runs. script: letters in the "
                  "script that the prompt asks for.",
                  kDistinctRun),
      fmt::format("coherent: KL of at most {} nats, at least {:.0f} % of the exact answer's "
                  "distinct-3 and at least {:.0f} % of its share of script. A threshold, not a "
                  "judgement.",
                  kCoherentDivergence, 100 * kDistinctShare, 100 * kScriptShare),
      "fallback: experts that routers picked for answers and that were not in memory, over all "
      "they picked, counted from the first token and never reset.",
      "Capacities are the origin's of 512 experts a layer, as the same share of this model's.",
  };
}

std::size_t Lab::add_sample(Experiment& experiment, std::string title, const Turn& turn,
                            const TurnResult& result) {
  experiment.samples.push_back({std::move(title), turn.prompt, result.result.text});
  return experiment.samples.size() - 1;
}

Cell text_cell(std::string text, std::string origin) { return {text, text, std::move(origin)}; }
Cell count_cell(std::size_t count, std::string origin) {
  return {count, fmt::format("{}", count), std::move(origin)};
}
Cell seconds_cell(double seconds, std::string origin) {
  return {seconds, format_seconds(seconds), std::move(origin)};
}
Cell rate_cell(double per_second, std::string origin) {
  return {per_second, fmt::format("{:.1f}", per_second), std::move(origin)};
}
Cell percent_cell(double share, std::string origin) {
  return {share, fmt::format("{:.1f} %", 100 * share), std::move(origin)};
}
Cell size_cell(std::uint64_t bytes, std::string origin) {
  return {bytes, format_size(bytes), std::move(origin)};
}
Cell number_cell(double value, int digits, std::string origin) {
  return {value, fmt::format("{:.{}f}", value, digits), std::move(origin)};
}
Cell yes_cell(bool value, std::string origin) {
  return {value, value ? "yes" : "no", std::move(origin)};
}

const SwitchReport& switch_of(const Trial& trial) {
  return trial.turns.back().result.statistics.subject_switch;
}

double switch_seconds(const SwitchReport& report) {
  return report.discovery_seconds + report.swap_seconds + report.prompt_seconds;
}

}  // namespace flashmoe
