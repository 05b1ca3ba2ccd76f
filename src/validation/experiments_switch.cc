// Experiments 4 and 6: a change of subject token by token, and how much of it discovery has to see.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "validation/lab.h"

namespace flashmoe {
namespace {

/// From the request to the end of the first eight tokens in a row that took no longer than the last
/// quarter does on average, give or take a tenth.
double full_speed_seconds(const TurnResult& turn) {
  constexpr std::size_t kRun = 8;
  const std::vector<TokenReport>& tokens = turn.tokens;
  const auto seconds = [&](std::size_t begin, std::size_t end) {
    double sum = 0;
    for (std::size_t i = begin; i < end; ++i) sum += tokens[i].seconds;
    return sum;
  };
  const std::size_t late = tokens.size() - tokens.size() / 4;
  const double per_token = seconds(late, tokens.size()) /
                           static_cast<double>(std::max<std::size_t>(1, tokens.size() - late));
  // The first report's time is that of its own step; what came before it is the time to it.
  double elapsed = turn.result.statistics.time_to_first_token_seconds;
  for (std::size_t i = 1; i + kRun <= tokens.size(); ++i) {
    if (seconds(i, i + kRun) <= 1.1 * kRun * per_token) return elapsed + seconds(i, i + kRun);
    elapsed += tokens[i].seconds;
  }
  return elapsed;
}

}  // namespace

Result<Experiment> run_token_profile(Lab& lab) {
  Experiment experiment{
      .number = 4,
      .title = "An async switch, token by token",
      .question =
          "Python to a Chinese poem at 192 of 512: when are the swaps made, when is the "
          "answer on its subject, and does what was computed with the old experts matter?"};
  std::vector<Turn> turns = lab.change_to_poem();
  turns.back().max_tokens = lab.scale().profile_tokens;
  const ResidencyOptions mode = lab.mode(Residency::kAsyncDelta, 192);
  FM_ASSIGN_OR_RETURN(const Trial old, lab.run("async-delta, old context", mode, turns));
  turns.back().recomputes_after_swaps = true;
  FM_ASSIGN_OR_RETURN(const Trial fresh, lab.run("async-delta, context recomputed", mode, turns));

  const TurnResult& answer = old.turns.back();
  const std::size_t layers = lab.bench().info().layer_count;
  Table table{.title = "with the old context",
              .columns = {{"token", "token"},
                          {"ms", "ms"},
                          {"cumulative_seconds", "sum, s"},
                          {"layers_done", "layers swapped"},
                          {"divergence", "KL, nats"},
                          {"text", "text"}}};
  double sum = 0;
  std::size_t done = 0;
  std::size_t swaps_done = 0;
  for (std::size_t i = 0; i < answer.tokens.size(); ++i) {
    const TokenReport& token = answer.tokens[i];
    sum += token.seconds;
    done = layers - token.layers_pending;
    if (token.swaps_pending == 0 && swaps_done == 0) swaps_done = i + 1;
    table.rows.push_back(
        {.cells = {count_cell(i + 1), number_cell(1e3 * token.seconds, 2), seconds_cell(sum),
                   text_cell(token.swaps_pending == 0 ? "all" : fmt::format("{}/{}", done, layers)),
                   number_cell(i < answer.quality.size() ? answer.quality[i].divergence : 0, 3),
                   text_cell(i < answer.pieces.size() ? answer.pieces[i] : "")}});
  }
  experiment.tables.push_back(std::move(table));

  const auto part = [&](const Trial& trial, bool after) {
    const std::span<const TokenQuality> all = trial.turns.back().quality;
    const std::size_t cut = std::min(all.size(), swaps_done);
    return mean_quality(after ? all.subspan(cut) : all.first(cut));
  };
  // The same change of subject by a blocking switch, and by the exact mode.
  turns.back().recomputes_after_swaps = false;
  FM_ASSIGN_OR_RETURN(const Trial blocking,
                      lab.run("delta", lab.mode(Residency::kDelta, 192), turns));
  FM_ASSIGN_OR_RETURN(const Trial exact, lab.run("exact", lab.mode(Residency::kExact, 192), turns));
  Table summary{.title = "the same change of subject in each mode",
                .columns = {{"mode", "mode"},
                            {"during", "KL, first tokens"},
                            {"after", "KL afterwards"},
                            {"agreement_after", "top-1 afterwards"},
                            {"other_tokens", "of the first 30 not the exact model's"},
                            {"first_token_seconds", "first token, s"},
                            {"full_speed_seconds", "full speed after, s"},
                            {"tokens_per_second", "tokens/s"}}};
  for (const auto& [name, trial] :
       {std::pair("async-delta, old context", &old), std::pair("async-delta, recomputed", &fresh),
        std::pair("delta", &blocking), std::pair("exact", &exact)}) {
    const TurnResult& turn = trial->turns.back();
    const auto first =
        std::span(turn.quality).first(std::min<std::size_t>(30, turn.quality.size()));
    summary.rows.push_back(
        {.cells = {text_cell(name), number_cell(part(*trial, false).divergence, 3),
                   number_cell(part(*trial, true).divergence, 3),
                   percent_cell(part(*trial, true).agreement),
                   count_cell(static_cast<std::size_t>(
                                  std::ranges::count(first, false, &TokenQuality::agrees)),
                              trial == &old ? "23 off-topic" : ""),
                   seconds_cell(turn.result.statistics.time_to_first_token_seconds),
                   seconds_cell(full_speed_seconds(turn)), rate_cell(turn.tokens_per_second())},
         .sample = Lab::add_sample(experiment, name, turns.back(), turn)});
  }
  experiment.tables.push_back(std::move(summary));
  const auto series = [](const char* name, const Trial& trial) {
    Series line{.name = name};
    const std::vector<TokenQuality>& quality = trial.turns.back().quality;
    for (std::size_t i = 0; i < quality.size(); ++i) {
      line.points.emplace_back(static_cast<double>(i + 1), quality[i].divergence);
    }
    return line;
  };
  experiment.plots.push_back({.title = "Divergence from the exact model",
                              .x_label = "token",
                              .y_label = "KL, nats",
                              .series = {series("old context", old), series("recomputed", fresh)},
                              .marks = {{static_cast<double>(swaps_done), "last swap"}}});
  Figures& figures = lab.figures();
  figures.swaps_done = swaps_done;
  figures.divergence_during_swaps = part(old, false).divergence;
  figures.divergence_after_swaps = part(old, true).divergence;
  figures.divergence_after_recompute = part(fresh, true).divergence;
  experiment.findings.push_back(fmt::format(
      "Swaps were made by token {} (the origin: 24 of 48 layers' worth). From the request the "
      "first "
      "token took {}, discovery included; counted as the origin does, from the end of discovery, "
      "{}.",
      swaps_done, seconds_cell(answer.result.statistics.time_to_first_token_seconds).text,
      seconds_cell(answer.result.statistics.time_to_first_token_seconds -
                   answer.result.statistics.subject_switch.discovery_seconds)
          .text));
  return experiment;
}

Result<Experiment> run_discovery_depth(Lab& lab) {
  Experiment experiment{.number = 6,
                        .title = "How many tokens discovery needs",
                        .question = "Python to a Chinese poem by a blocking switch at 192 of 512."};
  static const std::map<std::size_t, std::array<const char*, 4>> kOrigin = {
      {5, {"38.6", "73.8", "1251", "5.4"}},
      {10, {"51.3", "103.1", "1645", "4.6"}},
      {20, {"48.2", "101.4", "2027", "5.0"}},
      {30, {"47.6", "91.6", "2315", "5.0"}},
      {50, {"62.8", "110.2", "2766", "4.2"}}};
  Table table{.columns = {{"discovery_tokens", "tokens"},
                          {"discovery_seconds", "discovery, s"},
                          {"total_seconds", "total, s"},
                          {"found", "found"},
                          {"missing", "missing"},
                          {"swaps", "swaps"},
                          {"tokens_per_second", "tokens/s"},
                          {"fallback", "fallback"},
                          {"held_out_divergence", "held-out KL, nats"},
                          {"held_out_perplexity", "held-out perplexity"}}};
  const std::vector<Column> quality_heads = Lab::quality_columns();
  table.columns.insert(table.columns.end(), quality_heads.begin(), quality_heads.end());
  Series answer_line{.name = "answer"};
  Series held_out_line{.name = "held-out text"};
  for (const std::size_t depth : lab.scale().depths) {
    ResidencyOptions mode = lab.mode(Residency::kDelta, 192);
    mode.discovery_tokens = depth;
    FM_ASSIGN_OR_RETURN(const Trial trial,
                        lab.run(fmt::format("discovery of {} tokens", depth), mode,
                                lab.change_to_poem(), {.held_out = poem_prompt().domain}));
    const HeldOut& held_out = trial.held_out;
    const TurnResult& answer = trial.turns.back();
    const SwitchReport& report = switch_of(trial);
    const auto known = kOrigin.find(depth);
    const std::array<const char*, 4> origin =
        known == kOrigin.end() ? std::array<const char*, 4>{"", "", "", ""} : known->second;
    const bool has_text = held_out.quality.token_count > 0;
    Row row{.cells = {count_cell(depth), seconds_cell(report.discovery_seconds, origin[0]),
                      seconds_cell(switch_seconds(report), origin[1]),
                      count_cell(report.experts_found),
                      count_cell(report.experts_missing, origin[2]),
                      count_cell(report.swap_count, origin[2]),
                      rate_cell(answer.tokens_per_second(), origin[3]),
                      percent_cell(answer.fallback_rate(), origin[0][0] == '\0' ? "" : "0.0 %"),
                      has_text ? number_cell(held_out.quality.divergence, 3) : text_cell("-"),
                      has_text ? number_cell(held_out.perplexity, 1) : text_cell("-")}};
    FM_ASSIGN_OR_RETURN(const std::vector<Cell> quality,
                        lab.quality_cells(answer, poem_prompt(), "coherent"));
    row.cells.insert(row.cells.end(), quality.begin(), quality.end());
    row.sample = Lab::add_sample(experiment, fmt::format("{} tokens", depth),
                                 lab.change_to_poem().back(), answer);
    table.rows.push_back(std::move(row));
    const double divergence = mean_quality(answer.quality).divergence;
    lab.figures().divergence_by_depth[depth] = divergence;
    answer_line.points.emplace_back(static_cast<double>(depth), divergence);
    if (!has_text) continue;
    lab.figures().held_out_divergence_by_depth[depth] = held_out.quality.divergence;
    held_out_line.points.emplace_back(static_cast<double>(depth), held_out.quality.divergence);
  }
  experiment.tables.push_back(std::move(table));
  Plot plot{.title = "Divergence from the exact model",
            .x_label = "tokens of discovery",
            .y_label = "KL, nats",
            .series = {answer_line}};
  if (!held_out_line.points.empty()) plot.series.push_back(held_out_line);
  experiment.plots.push_back(std::move(plot));
  return experiment;
}

}  // namespace flashmoe
