// Experiments 5, 8, 9 and 10: cycles, cold starts, long answers, and all modes end to end.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/stopwatch.h"
#include "flashmoe/inspection.h"
#include "validation/lab.h"

namespace flashmoe {
namespace {

const ValidationPrompt& base() { return validation_prompts()[kBasePrompt]; }

std::string slope_text(const Slope& slope, double scale, std::string_view unit) {
  return fmt::format("{:+.3g} {} a cycle, 95 % interval {:+.3g} to {:+.3g}", scale * slope.per_step,
                     unit, scale * (slope.per_step - slope.half_width),
                     scale * (slope.per_step + slope.half_width));
}

}  // namespace

Result<Experiment> run_cycles(Lab& lab) {
  Experiment experiment{
      .number = 5,
      .title = "Cycles of reset, warm-up, upgrade and switch",
      .question =
          "In one process at 192 of 512: a cold reset, A* in Python, then a blocking "
          "switch to a Chinese poem. Does anything drift?"};
  static constexpr std::array<std::array<const char*, 7>, 5> kOrigin = {
      {{"0.0", "78.6", "13.2", "33.3", "72.1", "5.6", "17.7"},
       {"0.1", "76.7", "13.1", "48.8", "88.7", "5.5", "17.7"},
       {"0.1", "81.3", "14.5", "37.9", "80.2", "5.8", "17.7"},
       {"0.1", "78.2", "13.8", "34.3", "108.4", "5.4", "17.7"},
       {"0.1", "82.3", "13.5", "36.9", "85.8", "5.8", "17.7"}}};
  const std::size_t cycles = lab.scale().cycles;
  std::vector<Turn> turns;
  for (std::size_t cycle = 0; cycle < cycles; ++cycle) {
    for (Turn turn : lab.change_to_poem()) {
      turn.wants_quality = false;
      turns.push_back(turn);
    }
  }
  const std::size_t repeats = lab.scale().repeats;
  std::vector<std::vector<double>> resets(cycles);
  std::vector<Trial> trials;
  for (std::size_t repeat = 0; repeat < repeats; ++repeat) {
    FM_ASSIGN_OR_RETURN(trials.emplace_back(),
                        lab.run("cycles of delta", lab.mode(Residency::kDelta, 192), turns,
                                {.before_turn = [&](Session& session, std::size_t turn) {
                                  if (turn % 2 != 0) return Status();
                                  Stopwatch watch;
                                  session.reset_experts(/*cold=*/true);
                                  resets[turn / 2].push_back(watch.lap());
                                  return Status();
                                }}));
  }
  // Of all repeats, in turn number `turn`.
  const auto middle = [&](std::size_t turn, const auto& value) {
    std::vector<double> values;
    for (const Trial& trial : trials) {
      values.push_back(static_cast<double>(value(trial.turns[turn])));
    }
    return median(values);
  };
  const auto switched = [](const TurnResult& turn) -> const SwitchReport& {
    return turn.result.statistics.subject_switch;
  };
  Table table{.columns = {{"cycle", "cycle"},
                          {"reset_seconds", "reset, s"},
                          {"warmup_seconds", "warm-up, s"},
                          {"upgrade_seconds", "upgrade, s"},
                          {"discovery_seconds", "discovery, s"},
                          {"total_seconds", "switch, s"},
                          {"swaps", "swaps"},
                          {"tokens_per_second", "tokens/s"},
                          {"memory", "memory"}}};
  std::vector<double> discovery;
  std::vector<double> rates;
  std::vector<double> memory;
  Series line{.name = "discovery, ms"};
  for (std::size_t cycle = 0; cycle < cycles; ++cycle) {
    const std::size_t warm = 2 * cycle;
    const std::size_t answer = warm + 1;
    const std::array<const char*, 7> origin =
        cycle < kOrigin.size() ? kOrigin[cycle]
                               : std::array<const char*, 7>{"", "", "", "", "", "", ""};
    discovery.push_back(
        middle(answer, [&](const TurnResult& t) { return switched(t).discovery_seconds; }));
    rates.push_back(middle(answer, [](const TurnResult& t) { return t.tokens_per_second(); }));
    memory.push_back(middle(answer, [](const TurnResult& t) { return t.rss_bytes; }));
    table.rows.push_back(
        {.cells =
             {count_cell(cycle + 1), seconds_cell(median(resets[cycle]), origin[0]),
              seconds_cell(
                  middle(warm, [&](const TurnResult& t) { return switched(t).discovery_seconds; }),
                  origin[1]),
              seconds_cell(
                  middle(warm, [&](const TurnResult& t) { return switched(t).swap_seconds; }),
                  origin[2]),
              seconds_cell(discovery.back(), origin[3]),
              seconds_cell(
                  middle(answer, [&](const TurnResult& t) { return switch_seconds(switched(t)); }),
                  origin[4]),
              count_cell(switched(trials[0].turns[answer]).swap_count, "1645"),
              rate_cell(rates.back(), origin[5]),
              size_cell(static_cast<std::uint64_t>(memory.back()), std::string(origin[6]) + " GB")},
         .sample = Lab::add_sample(experiment, fmt::format("cycle {}", cycle + 1), turns[answer],
                                   trials[0].turns[answer])});
    line.points.emplace_back(static_cast<double>(cycle + 1), 1e3 * discovery.back());
  }
  experiment.tables.push_back(std::move(table));
  experiment.plots.push_back({.title = "Discovery by cycle",
                              .x_label = "cycle",
                              .y_label = "ms",
                              .series = {line},
                              .marks = {}});
  lab.figures().discovery_slope = fit_slope(discovery);
  lab.figures().speed_slope = fit_slope(rates);
  experiment.findings = {"discovery: " + slope_text(fit_slope(discovery), 1e3, "ms"),
                         "speed: " + slope_text(fit_slope(rates), 1, "tokens/s"),
                         "memory: " + slope_text(fit_slope(memory), 1.0 / (1 << 20), "MiB")};
  return experiment;
}

Result<Experiment> run_cold_start(Lab& lab) {
  Experiment experiment{
      .number = 8,
      .title = "Cold start, step by step",
      .question =
          "From nothing in memory or in the system's file cache to the first token of A* in "
          "Python: predictive at 192 and 256 of 512, and exact."};
  Table table{.columns = {{"mode", "mode"},
                          {"headers_seconds", "headers and expert map, s"},
                          {"dense_seconds", "dense weights, s"},
                          {"warmup_seconds", "warm-up, s"},
                          {"fill_seconds", "fill, s"},
                          {"ready_seconds", "ready, s"},
                          {"first_token_seconds", "first token, s"},
                          {"base_memory", "base memory"},
                          {"final_memory", "final memory"}}};
  struct Case {
    std::size_t of_512;  // 0: the exact mode
    const char* name;
    ResidencyOptions mode;
    std::array<const char*, 7> origin;
  };
  const std::array<Case, 3> cases = {{{192,
                                       "predictive at 192",
                                       lab.mode(Residency::kPredictive, 192),
                                       {"1.8", "0.2", "75.0", "11.7", "88.7", "~75", "17.7 GB"}},
                                      {256,
                                       "predictive at 256",
                                       lab.mode(Residency::kPredictive, 256),
                                       {"1.4", "0.3", "75.2", "14.0", "90.9", "~75", "23.1 GB"}},
                                      {0, "exact", {}, {"", "", "", "", "", "", ""}}}};
  std::vector<Turn> turns = lab.turns_of(base(), /*after_base=*/false);
  turns[0].wants_quality = false;
  for (const Case& c : cases) {
    if (c.of_512 != 0 && !lab.bench().fits(lab.bench().capacity(c.of_512))) {
      table.rows.push_back(lab.refused_row(c.name, table.columns.size()));
      continue;
    }
    FM_RETURN_IF_ERROR(lab.bench().drop_page_cache());
    Stopwatch watch;
    FM_RETURN_IF_ERROR(lab.bench().inspect());
    const double headers = watch.lap();
    FM_RETURN_IF_ERROR(lab.bench().drop_page_cache());
    FM_ASSIGN_OR_RETURN(const Trial trial,
                        lab.run(fmt::format("cold start, {}", c.name), c.mode, turns));
    const TurnResult& answer = trial.turns.back();
    const GenerateStatistics& run = answer.result.statistics;
    const SwitchReport& report = run.subject_switch;
    const double ready = trial.load_seconds + report.discovery_seconds + report.swap_seconds;
    table.rows.push_back(
        {.cells = {text_cell(c.name), seconds_cell(headers, c.origin[0]),
                   seconds_cell(std::max(0.0, trial.load_seconds - headers), c.origin[1]),
                   seconds_cell(report.discovery_seconds, c.origin[2]),
                   seconds_cell(report.swap_seconds, c.origin[3]), seconds_cell(ready, c.origin[4]),
                   seconds_cell(trial.load_seconds + run.time_to_first_token_seconds, c.origin[5]),
                   size_cell(trial.base_rss_bytes, c.origin[0][0] == '\0' ? "" : "1.4 GB"),
                   size_cell(answer.rss_bytes, c.origin[6])},
         .sample = Lab::add_sample(experiment, c.name, turns.back(), answer)});
  }
  experiment.tables.push_back(std::move(table));
  experiment.findings.push_back(
      "The exact mode has neither warm-up nor fill: it is ready when its dense weights are read, "
      "and reads experts as its first prompt needs them.");
  return experiment;
}

Result<Experiment> run_long_generation(Lab& lab) {
  Experiment experiment{
      .number = 9,
      .title = "Long answers",
      .question =
          "A tutorial at 192 of 512, in quarters: does the text decline, and is it the "
          "capacity? The resident model on the same prompt is the control."};
  struct Mode {
    const char* name;
    ResidencyOptions options;
  };
  std::vector<Mode> modes = {{"predictive", lab.mode(Residency::kPredictive, 192)},
                             {"predictive, refreshed", lab.mode(Residency::kPredictive, 192)},
                             {"exact", lab.mode(Residency::kExact, 192)},
                             {"exact, one token's experts", lab.mode(Residency::kExact, 1)}};
  modes[1].options.refresh_every = 100;
  if (lab.bench().can_be_resident())
    modes.push_back({"resident", {.residency = Residency::kResident}});
  Table table{.columns = {{"mode", "mode"},
                          {"tokens", "tokens"},
                          {"quarter", "quarter"},
                          {"tokens_per_second", "tokens/s"},
                          {"distinct_3", "distinct-3"},
                          {"divergence", "KL, nats"},
                          {"agreement", "top-1"}}};
  Table totals{.title = "in all",
               .columns = {{"mode", "mode"},
                           {"tokens", "tokens"},
                           {"seconds", "time, s"},
                           {"tokens_per_second", "tokens/s"},
                           {"memory_growth", "memory growth"},
                           {"fallback", "fallback"},
                           {"identical", "as resident"}}};
  Plot plot{.title = "Repetition: distinct-3 by quarter of the longest answers",
            .x_label = "quarter",
            .y_label = "distinct-3",
            .series = {},
            .marks = {}};
  for (const std::size_t tokens : lab.scale().long_tokens) {
    std::vector<std::int32_t> reference;  // of the exact mode, compared with all others
    std::vector<std::pair<std::size_t, std::vector<std::int32_t>>> answers;  // by row of totals
    for (const Mode& mode : modes) {
      const Turn turn = {.prompt = std::string(kLongPrompt), .max_tokens = tokens};
      FM_ASSIGN_OR_RETURN(
          const Trial trial,
          lab.run(fmt::format("{}, {} tokens", mode.name, tokens), mode.options, {turn}));
      const TurnResult& answer = trial.turns.back();
      const std::span<const std::int32_t> ids = answer.result.token_ids;
      const std::size_t sample = Lab::add_sample(
          experiment, fmt::format("{}, {} tokens", mode.name, tokens), turn, answer);
      Series series{.name = mode.name};
      for (std::size_t quarter = 0; quarter < 4; ++quarter) {
        const std::size_t begin = quarter * tokens / 4;
        const std::size_t end = (quarter + 1) * tokens / 4;
        double seconds = 0;
        for (std::size_t i = std::max<std::size_t>(1, begin); i < end; ++i) {
          seconds += answer.tokens[i].seconds;
        }
        const double distinct = distinct_share(ids.subspan(begin, end - begin), 3);
        const std::size_t judged = answer.quality.size();
        const Quality quality = mean_quality(
            std::span(answer.quality)
                .subspan(quarter * judged / 4, (quarter + 1) * judged / 4 - quarter * judged / 4));
        const double count = static_cast<double>(end - std::max<std::size_t>(1, begin));
        table.rows.push_back(
            {.cells = {text_cell(mode.name), count_cell(tokens), count_cell(quarter + 1),
                       rate_cell(seconds > 0 ? count / seconds : 0), percent_cell(distinct),
                       number_cell(quality.divergence, 3), percent_cell(quality.agreement)},
             .sample = sample});
        series.points.emplace_back(static_cast<double>(quarter + 1), distinct);
        if (quarter == 3) {
          if (std::string_view(mode.name) == "predictive") {
            lab.figures().predictive_distinct_late = distinct;
          }
          if (std::string_view(mode.name) == "exact") {
            lab.figures().resident_distinct_late = distinct;
          }
        }
      }
      if (tokens == lab.scale().long_tokens.back()) plot.series.push_back(std::move(series));
      const bool is_predictive = std::string_view(mode.name) == "predictive";
      const char* origin_rate = !is_predictive ? "" : tokens == 500 ? "6.9" : "10.6";
      const char* origin_growth = !is_predictive ? "" : tokens == 500 ? "-0.01 GB" : "+0.04 GB";
      answers.emplace_back(totals.rows.size(), answer.result.token_ids);
      const double growth =
          static_cast<double>(answer.rss_bytes) - static_cast<double>(trial.base_rss_bytes);
      totals.rows.push_back(
          {.cells = {text_cell(mode.name),
                     count_cell(tokens),
                     seconds_cell(answer.seconds),
                     rate_cell(answer.tokens_per_second(), origin_rate),
                     {growth, fmt::format("{:+.1f} MiB", growth / (1 << 20)), origin_growth},
                     percent_cell(answer.fallback_rate(), is_predictive ? "0.0 %" : ""),
                     text_cell("")},
           .sample = sample});
      if (std::string_view(mode.name) == "exact") reference = answer.result.token_ids;
    }
    // Of the resident model where it fits; else of the exact mode at the larger capacity.
    if (lab.bench().can_be_resident()) reference = answers.back().second;
    for (const auto& [row, ids_of] : answers) {
      totals.rows[row].cells.back() = yes_cell(ids_of == reference);
    }
  }
  experiment.tables.push_back(std::move(totals));
  experiment.tables.push_back(std::move(table));
  experiment.plots.push_back(std::move(plot));
  experiment.findings.push_back(
      "Memory growth is from the opened model to the end: it holds the experts that came in. "
      "Rates leave the first token out.");
  return experiment;
}

Result<Experiment> run_end_to_end(Lab& lab) {
  Experiment experiment{.number = 10,
                        .title = "All modes, end to end",
                        .question =
                            "Each mode opened, a first and a later answer to A* in Python, "
                            "then a change of subject to a Chinese poem."};
  struct Mode {
    const char* name;
    ResidencyOptions options;
    std::array<const char*, 5> origin;  // memory, cold start, first token, later, switch
  };
  std::vector<Mode> modes = {
      {"lazy", lab.mode(Residency::kLazy, 0), {"", "", "", "0.15", ""}},
      {"lcp at 192", lab.mode(Residency::kLcp, 192), {"", "", "", "0.17", ""}},
      {"predictive at 192",
       lab.mode(Residency::kPredictive, 192),
       {"17.7 GB", "~89", "~75", "2-7", "60-110"}},
      {"predictive at 208",
       lab.mode(Residency::kPredictive, 208),
       {"19.1 GB", "~89", "~75", "6-8", "58-65"}},
      {"predictive at 256", lab.mode(Residency::kPredictive, 256), {"23.1 GB", "90.9", "", "", ""}},
      {"delta at 192", lab.mode(Residency::kDelta, 192), {"17.7 GB", "~89", "", "5-7", "60-110"}},
      {"async-delta at 192",
       lab.mode(Residency::kAsyncDelta, 192),
       {"17.7 GB", "~89", "<1, without discovery", "13", "7.5, without discovery"}},
      {"exact at 192", lab.mode(Residency::kExact, 192), {"", "", "", "", ""}},
      {"exact", {}, {"", "", "", "", ""}}};
  if (lab.bench().can_be_resident()) {
    modes.insert(modes.begin(), {"stock (resident)",
                                 {.residency = Residency::kResident},
                                 {"46 GB (OOM)", "n/a", "n/a", "n/a", "n/a"}});
  }
  Table table{.columns = {{"mode", "mode"},
                          {"dense_memory", "dense"},
                          {"expert_memory", "experts"},
                          {"cold_start_seconds", "ready, s"},
                          {"first_token_seconds", "first token, s"},
                          {"first_rate", "first answer, tokens/s"},
                          {"later_rate", "later answer, tokens/s"},
                          {"switch_first_token_seconds", "first token after switch, s"},
                          {"switch_rate", "tokens/s after"},
                          {"fallback", "fallback"}}};
  const std::vector<Column> quality_heads = Lab::quality_columns();
  table.columns.insert(table.columns.end(), quality_heads.begin(), quality_heads.end());
  std::vector<Turn> turns = lab.turns_of(base(), /*after_base=*/false);
  turns.push_back(turns[0]);
  turns.push_back(lab.change_to_poem().back());
  turns[0].wants_quality = turns[1].wants_quality = false;
  for (const Mode& mode : modes) {
    if (!lab.bench().fits(mode.options.capacity)) {
      table.rows.push_back(lab.refused_row(mode.name, table.columns.size()));
      continue;
    }
    FM_RETURN_IF_ERROR(lab.bench().drop_page_cache());
    FM_ASSIGN_OR_RETURN(const Trial trial, lab.run(mode.name, mode.options, turns));
    const GenerateStatistics& first = trial.turns[0].result.statistics;
    const TurnResult& answer = trial.turns[2];
    const SwitchReport& upgrade = first.subject_switch;
    Row row{
        .cells = {
            text_cell(mode.name), size_cell(trial.plan.dense_bytes),
            size_cell(trial.plan.expert_bytes, mode.origin[0]),
            seconds_cell(trial.load_seconds + upgrade.discovery_seconds + upgrade.swap_seconds,
                         mode.origin[1]),
            seconds_cell(trial.load_seconds + first.time_to_first_token_seconds, mode.origin[2]),
            rate_cell(trial.turns[0].tokens_per_second()),
            rate_cell(trial.turns[1].tokens_per_second(), mode.origin[3]),
            seconds_cell(answer.result.statistics.time_to_first_token_seconds, mode.origin[4]),
            rate_cell(answer.tokens_per_second()), percent_cell(answer.fallback_rate())}};
    FM_ASSIGN_OR_RETURN(const std::vector<Cell> quality,
                        lab.quality_cells(answer, poem_prompt(), ""));
    row.cells.insert(row.cells.end(), quality.begin(), quality.end());
    row.sample = Lab::add_sample(experiment, mode.name, turns[2], answer);
    table.rows.push_back(std::move(row));
  }
  experiment.tables.push_back(std::move(table));
  return experiment;
}

}  // namespace flashmoe
