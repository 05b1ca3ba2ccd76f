// Experiments 3 and 7: the twelve prompts, and changes of subject without a change of experts.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "validation/lab.h"

namespace flashmoe {
namespace {

std::vector<Column> prompt_columns() {
  std::vector<Column> columns = {{"prompt", "prompt"},
                                 {"mode", "mode"},
                                 {"tokens_per_second", "tokens/s"},
                                 {"fallback", "fallback"},
                                 {"memory", "memory"},
                                 {"discovery_seconds", "discovery, s"},
                                 {"first_token_seconds", "first token, s"},
                                 {"swaps", "swaps"}};
  const std::vector<Column> quality = Lab::quality_columns();
  columns.insert(columns.end(), quality.begin(), quality.end());
  return columns;
}

Result<Row> prompt_row(Lab& lab, Experiment& experiment, const ValidationPrompt& prompt,
                       std::string_view mode, const Turn& turn, const TurnResult& answer) {
  const GenerateStatistics& run = answer.result.statistics;
  const bool is_predictive = mode == "predictive";
  const bool is_async = mode == "async-delta";
  Row row{.cells = {text_cell(std::string(prompt.name)), text_cell(std::string(mode)),
                    rate_cell(answer.tokens_per_second(),
                              std::string(is_predictive ? prompt.origin_predictive
                                          : is_async    ? prompt.origin_async
                                                        : std::string_view())),
                    percent_cell(answer.fallback_rate(), mode == "exact" ? "" : "0.0 %"),
                    size_cell(answer.rss_bytes, mode == "exact" ? "" : "17.7 GB"),
                    seconds_cell(run.subject_switch.discovery_seconds),
                    seconds_cell(run.time_to_first_token_seconds),
                    count_cell(run.subject_switch.swap_count, is_async ? "~1700" : "")}};
  FM_ASSIGN_OR_RETURN(const std::vector<Cell> quality,
                      lab.quality_cells(answer, prompt,
                                        is_predictive ? "Coherent"
                                        : is_async    ? std::string(prompt.origin_async_quality)
                                                      : ""));
  row.cells.insert(row.cells.end(), quality.begin(), quality.end());
  row.sample = Lab::add_sample(experiment, fmt::format("{}, {}", prompt.name, mode), turn, answer);
  return row;
}

/// Whether the exact mode gives the tokens of the resident model at capacities down to one token's
/// experts.
Result<Table> compare_exact(Lab& lab, std::span<const ValidationPrompt> prompts) {
  Table table{.title = "the exact mode beside the resident model",
              .columns = {{"capacity", "capacity"},
                          {"identical", "identical answers"},
                          {"prompts", "of"},
                          {"tokens_per_second", "tokens/s, median"}}};
  std::vector<Trial> residents;  // by prompt
  for (const ValidationPrompt& prompt : prompts) {
    FM_ASSIGN_OR_RETURN(
        residents.emplace_back(),
        lab.run(fmt::format("resident: {}", prompt.name), {.residency = Residency::kResident},
                lab.turns_of(prompt, /*after_base=*/false)));
  }
  bool all_identical = true;
  for (const std::size_t of_512 : {std::size_t{1}, std::size_t{96}, std::size_t{192}}) {
    std::size_t identical = 0;
    std::vector<double> rates;
    for (std::size_t p = 0; p < prompts.size(); ++p) {
      const ValidationPrompt& prompt = prompts[p];
      const std::vector<Turn> turns = lab.turns_of(prompt, /*after_base=*/false);
      FM_ASSIGN_OR_RETURN(const Trial exact,
                          lab.run(fmt::format("exact at {} of 512: {}", of_512, prompt.name),
                                  lab.mode(Residency::kExact, of_512), turns));
      bool same = true;
      for (std::size_t i = 0; i < turns.size(); ++i) {
        same &= exact.turns[i].result.token_ids == residents[p].turns[i].result.token_ids;
      }
      identical += same ? 1 : 0;
      rates.push_back(exact.turns.back().tokens_per_second());
    }
    all_identical &= identical == prompts.size();
    table.rows.push_back({.cells = {count_cell(lab.bench().capacity(of_512)), count_cell(identical),
                                    count_cell(prompts.size()), rate_cell(median(rates))}});
  }
  lab.figures().exact_is_resident = all_identical;
  return table;
}

}  // namespace

Result<Experiment> run_prompts(Lab& lab) {
  Experiment experiment{
      .number = 3,
      .title = "Twelve prompts",
      .question =
          "At 192 of 512: predictive, with a warm-up on each prompt; async-delta, from the "
          "A* prompt (which so is the same-domain control); and exact."};
  Table table{.columns = prompt_columns()};
  Figures& figures = lab.figures();
  const std::span<const ValidationPrompt> prompts =
      validation_prompts().first(lab.scale().prompt_count);
  std::vector<TokenQuality> first_tokens;
  std::size_t coherent_predictive = 0;
  std::size_t coherent_async = 0;
  for (const ValidationPrompt& prompt : prompts) {
    for (const auto& [mode, after_base] :
         {std::pair(Residency::kPredictive, false), std::pair(Residency::kAsyncDelta, true),
          std::pair(Residency::kExact, true)}) {
      const std::vector<Turn> turns = lab.turns_of(prompt, after_base);
      FM_ASSIGN_OR_RETURN(
          const Trial trial,
          lab.run(fmt::format("{}: {}", to_string(mode), prompt.name), lab.mode(mode, 192), turns));
      const TurnResult& answer = trial.turns.back();
      FM_ASSIGN_OR_RETURN(
          Row row, prompt_row(lab, experiment, prompt, to_string(mode), turns.back(), answer));
      table.rows.push_back(std::move(row));
      FM_ASSIGN_OR_RETURN(const bool coherent, lab.is_coherent(answer, prompt));
      if (mode == Residency::kPredictive) {
        const std::size_t count = std::min<std::size_t>(30, answer.quality.size());
        first_tokens.insert(first_tokens.end(), answer.quality.begin(),
                            answer.quality.begin() + static_cast<std::ptrdiff_t>(count));
        coherent_predictive += coherent ? 1 : 0;
      }
      if (mode == Residency::kAsyncDelta) coherent_async += coherent ? 1 : 0;
    }
  }
  figures.predictive_first_tokens = mean_quality(first_tokens);
  figures.predictive_coherent = coherent_predictive;
  figures.prompts_judged = prompts.size();
  experiment.tables.push_back(std::move(table));
  experiment.findings.push_back(fmt::format(
      "coherent by the threshold: predictive {} of {} (the origin: 12 of 12), async-delta {} (the "
      "origin says 8 of 11; its table has 7)",
      coherent_predictive, prompts.size(), coherent_async));
  if (lab.bench().can_be_resident()) {
    FM_ASSIGN_OR_RETURN(Table exact, compare_exact(lab, prompts));
    experiment.tables.push_back(std::move(exact));
    experiment.findings.push_back(
        *figures.exact_is_resident
            ? "The exact mode gave the tokens of the resident model for every prompt at every "
              "capacity, down to one token's experts."
            : "The exact mode differed from the resident model: that is a defect.");
  }
  return experiment;
}

Result<Experiment> run_stale_cache(Lab& lab) {
  Experiment experiment{
      .number = 7,
      .title = "A stale cache",
      .question =
          "A set found on A* in Python at 192 of 512, and then other subjects without a "
          "change of the set; beside them the same subjects with async-delta."};
  struct Case {
    std::size_t prompt;
    const char* origin_rate;
    const char* origin_quality;
  };
  static constexpr std::array<Case, 4> kCases = {{{6, "1.3", "degraded"},
                                                  {8, "17.3", "garbled"},
                                                  {1, "21.8", "partially coherent"},
                                                  {5, "21.4", "garbled"}}};
  Table table{.columns = {{"prompt", "prompt"},
                          {"mode", "mode"},
                          {"tokens_per_second", "tokens/s"},
                          {"fallback", "fallback"},
                          {"requests", "fallbacks of requests"},
                          {"replaced_weight", "weight replaced"}}};
  const std::vector<Column> quality_heads = Lab::quality_columns();
  table.columns.insert(table.columns.end(), quality_heads.begin(), quality_heads.end());
  std::vector<double> rates;
  std::vector<double> misses;
  std::vector<TokenQuality> stale_tokens;
  std::vector<TokenQuality> async_tokens;
  for (const Case& c : kCases) {
    const ValidationPrompt& prompt = validation_prompts()[c.prompt];
    const std::vector<Turn> turns = lab.turns_of(prompt, /*after_base=*/true);
    for (const Residency mode : {Residency::kPredictive, Residency::kAsyncDelta}) {
      const bool is_stale = mode == Residency::kPredictive;
      FM_ASSIGN_OR_RETURN(
          const Trial trial,
          lab.run(fmt::format("{}: {}", is_stale ? "stale" : "async-delta", prompt.name),
                  lab.mode(mode, 192), turns));
      const TurnResult& answer = trial.turns.back();
      const std::uint64_t requests = answer.after.routed_requests - answer.before.routed_requests;
      const std::uint64_t missed = answer.after.routed_fallbacks - answer.before.routed_fallbacks;
      Row row{.cells = {text_cell(std::string(prompt.name)),
                        text_cell(is_stale ? "stale" : "async-delta"),
                        rate_cell(answer.tokens_per_second(), is_stale ? c.origin_rate : ""),
                        percent_cell(answer.fallback_rate(), is_stale ? "0/0, counter reset" : ""),
                        text_cell(fmt::format("{}/{}", missed, requests)),
                        percent_cell(answer.replaced_weight_share())}};
      FM_ASSIGN_OR_RETURN(const std::vector<Cell> quality,
                          lab.quality_cells(answer, prompt, is_stale ? c.origin_quality : ""));
      row.cells.insert(row.cells.end(), quality.begin(), quality.end());
      row.sample = Lab::add_sample(
          experiment, fmt::format("{}, {}", prompt.name, is_stale ? "stale" : "async-delta"),
          turns.back(), answer);
      table.rows.push_back(std::move(row));
      std::vector<TokenQuality>& tokens = is_stale ? stale_tokens : async_tokens;
      tokens.insert(tokens.end(), answer.quality.begin(), answer.quality.end());
      if (!is_stale) continue;
      rates.push_back(answer.tokens_per_second());
      misses.push_back(answer.fallback_rate());
    }
  }
  experiment.tables.push_back(std::move(table));
  lab.figures().stale_divergence = mean_quality(stale_tokens).divergence;
  lab.figures().async_divergence = mean_quality(async_tokens).divergence;
  experiment.findings.push_back(fmt::format(
      "correlation of speed with misses over the {} stale answers: {:+.2f}. Speed says nothing of "
      "misses where a miss costs no read; the origin took slowness for misses.",
      rates.size(), correlation(rates, misses)));
  return experiment;
}

}  // namespace flashmoe
