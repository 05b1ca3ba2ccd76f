// Experiments 1 and 2: what a change of subject takes and gives, by capacity.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "validation/lab.h"

namespace flashmoe {
namespace {

/// What the origin measured at a capacity, with its cache limit at 0 or left alone.
struct OriginSwitch {
  const char* memory;
  const char* discovery;
  const char* read;
  const char* evaluation;
  const char* total;
  const char* rate;
  const char* quality;
};

/// Section 2 of the report.
const std::map<std::pair<std::size_t, bool>, OriginSwitch>& origin_sweep() {
  static const std::map<std::pair<std::size_t, bool>, OriginSwitch> figures = {
      {{160, false}, {"14.98 GB", "14.7", "13.6 + 0.050", "12.8", "41.2", "6.4", "garbled"}},
      {{176, false}, {"16.34 GB", "20.3", "13.6 + 0.036", "15.4", "49.4", "7.6", "garbled"}},
      {{192, false}, {"17.70 GB", "29.6", "13.1 + 0.024", "18.5", "61.2", "6.1", "coherent"}},
      {{208, false}, {"19.06 GB", "32.5", "13.5 + 0.028", "18.4", "64.6", "6.9", "coherent"}},
      {{224, false}, {"20.41 GB", "45.7", "13.8 + 0.057", "55.3", "115.0", "3.4", "coherent"}},
      {{240, false}, {"21.77 GB", "102.3", "16.6 + 0.153", "34.6", "153.8", "2.9", "garbled"}},
      {{256, false}, {"23.13 GB", "75.7", "15.5 + 0.076", "37.9", "129.6", "1.9", "coherent"}},
      {{160, true}, {"14.98 GB", "14.4", "12.1 + 0.050", "9.4", "36.6", "8.2", "coherent"}},
      {{176, true}, {"16.34 GB", "17.5", "12.2 + 0.046", "12.1", "42.7", "6.5", "coherent"}},
      {{192, true}, {"17.70 GB", "29.5", "13.8 + 0.102", "16.4", "60.3", "6.6", "coherent"}},
      {{208, true}, {"19.06 GB", "27.4", "13.6 + 0.117", "16.2", "58.0", "8.1", "coherent"}},
      {{224, true}, {"20.42 GB", "38.5", "13.8 + 0.119", "18.5", "71.3", "6.8", "coherent"}},
      {{240, true}, {"21.77 GB", "33.8", "15.6 + 0.084", "26.4", "77.0", "6.4", "coherent"}},
      {{256, true}, {"23.13 GB", "51.0", "15.9 + 0.120", "31.5", "99.2", "3.9", "coherent"}}};
  return figures;
}

/// Section 1.
const std::map<std::pair<std::size_t, bool>, OriginSwitch>& origin_drop() {
  static const std::map<std::pair<std::size_t, bool>, OriginSwitch> figures = {
      {{224, false}, {"20.38 GB", "53.92", "13.55 + 0.039", "18.31", "85.90", "4.4", ""}},
      {{224, true}, {"20.38 GB", "32.41", "14.31 + 0.084", "17.64", "65.07", "6.9", ""}},
      {{256, false}, {"23.10 GB", "62.70", "17.74 + 0.567", "28.31", "110.22", "5.6", ""}},
      {{256, true}, {"23.10 GB", "42.89", "15.88 + 0.178", "29.96", "89.98", "4.4", ""}}};
  return figures;
}

OriginSwitch find_origin(const std::map<std::pair<std::size_t, bool>, OriginSwitch>& figures,
                         std::size_t of_512, bool drops) {
  const auto found = figures.find({of_512, drops});
  return found == figures.end() ? OriginSwitch{"", "", "", "", "", "", ""} : found->second;
}

/// Repeated trials of one setting.
struct Repeated {
  std::vector<Trial> trials;

  template <typename Value>
  std::vector<double> all(const Value& value) const {
    std::vector<double> values;
    for (const Trial& trial : trials) values.push_back(static_cast<double>(value(trial)));
    return values;
  }
  template <typename Value>
  double middle(const Value& value) const {
    return median(all(value));
  }
};

std::string spread(const std::vector<double>& values) {
  const auto [low, high] = std::ranges::minmax(values);
  return values.size() > 1 ? fmt::format(" ({:.1f}-{:.1f})", low, high) : "";
}

/// The columns that experiments 1 and 2 share, after the capacity and whether caches were dropped.
std::vector<Column> switch_columns() {
  return {{"memory_upgrade", "memory, upgrade"},   {"memory_switch", "after switch"},
          {"discovery_seconds", "discovery, s"},   {"swap_seconds", "read and swap, s"},
          {"prompt_seconds", "prompt again, s"},   {"total_seconds", "total, s"},
          {"tokens_per_second", "tokens/s"},       {"fallback", "fallback"},
          {"slots_given_back", "slots given back"}};
}

std::vector<Cell> switch_cells(const Repeated& runs, const OriginSwitch& origin) {
  const auto rate = [](const Trial& t) { return t.turns.back().tokens_per_second(); };
  std::vector<Cell> cells = {
      size_cell(static_cast<std::uint64_t>(
          runs.middle([](const Trial& t) { return t.turns.front().rss_bytes; }))),
      size_cell(static_cast<std::uint64_t>(
                    runs.middle([](const Trial& t) { return t.turns.back().rss_bytes; })),
                origin.memory),
      seconds_cell(runs.middle([](const Trial& t) { return switch_of(t).discovery_seconds; }),
                   origin.discovery),
      seconds_cell(runs.middle([](const Trial& t) { return switch_of(t).swap_seconds; }),
                   origin.read),
      seconds_cell(runs.middle([](const Trial& t) { return switch_of(t).prompt_seconds; }),
                   origin.evaluation),
      seconds_cell(runs.middle([](const Trial& t) { return switch_seconds(switch_of(t)); }),
                   origin.total),
      rate_cell(runs.middle(rate), origin.rate),
      percent_cell(runs.middle([](const Trial& t) { return t.turns.back().fallback_rate(); }),
                   origin.rate[0] == '\0' ? "" : "0.0 %"),
      count_cell(static_cast<std::size_t>(runs.middle(
          [](const Trial& t) { return t.turns.back().after.expert_limit_evictions; })))};
  cells[6].text += spread(runs.all(rate));
  return cells;
}

/// A blocking change of subject at capacities, with caches kept and dropped, in turns.
Result<std::map<std::pair<std::size_t, bool>, Repeated>> run_switches(
    Lab& lab, const std::vector<std::size_t>& capacities, std::size_t repeats,
    bool wants_held_out) {
  std::map<std::pair<std::size_t, bool>, Repeated> runs;
  for (std::size_t repeat = 0; repeat < repeats; ++repeat) {
    for (const std::size_t of_512 : capacities) {
      // The first of a pair finds a colder disk: that is each one's turn.
      for (const bool is_second : {false, true}) {
        const bool drops = is_second != (repeat % 2 == 1);
        ResidencyOptions mode = lab.mode(Residency::kDelta, of_512);
        mode.drop_caches = drops ? DropCaches::kOn : DropCaches::kOff;
        const bool reads_text = wants_held_out && repeat == 0 && !drops;
        FM_ASSIGN_OR_RETURN(
            Trial trial,
            lab.run(
                fmt::format("delta at {} of 512, caches {}", of_512, drops ? "dropped" : "kept"),
                mode, lab.change_to_poem(),
                {.held_out = reads_text ? poem_prompt().domain : std::string_view()}));
        runs[{of_512, drops}].trials.push_back(std::move(trial));
      }
    }
  }
  return runs;
}

/// How often an approximate answer depended on anything but the capacity: never, or something is
/// wrong.
std::size_t count_differences(const std::map<std::pair<std::size_t, bool>, Repeated>& runs) {
  std::size_t count = 0;
  for (const auto& [setting, repeated] : runs) {
    const auto& first = runs.at({setting.first, false}).trials[0].turns.back().result.token_ids;
    for (const Trial& trial : repeated.trials) {
      if (trial.turns.back().result.token_ids != first) ++count;
    }
  }
  return count;
}

}  // namespace

Result<Experiment> run_drop_caches(Lab& lab) {
  Experiment experiment{
      .number = 1,
      .title = "Caches kept or dropped before a switch",
      .question =
          "Does giving memory back before a change of subject make the change faster? Reads "
          "go into the slots of who leaves, so reading and swapping are one step here."};
  const std::vector<std::size_t> capacities = lab.fitting({224, 256}, experiment);
  FM_ASSIGN_OR_RETURN(const auto runs, run_switches(lab, capacities, lab.scale().repeats,
                                                    /*wants_held_out=*/false));
  Table table{.columns = {{"capacity", "capacity"}, {"drop_caches", "caches"}}};
  const std::vector<Column> more = switch_columns();
  table.columns.insert(table.columns.end(), more.begin(), more.end());
  std::string ratios;
  for (const std::size_t of_512 : capacities) {
    double seconds[2] = {};
    for (const bool drops : {false, true}) {
      const Repeated& repeated = runs.at({of_512, drops});
      Row row{.cells = {count_cell(lab.bench().capacity(of_512), fmt::format("{}", of_512)),
                        text_cell(drops ? "dropped" : "kept")}};
      const std::vector<Cell> cells =
          switch_cells(repeated, find_origin(origin_drop(), of_512, drops));
      row.cells.insert(row.cells.end(), cells.begin(), cells.end());
      row.sample = Lab::add_sample(
          experiment, fmt::format("{} of 512, caches {}", of_512, drops ? "dropped" : "kept"),
          lab.change_to_poem().back(), repeated.trials[0].turns.back());
      table.rows.push_back(std::move(row));
      seconds[drops ? 1 : 0] =
          repeated.middle([](const Trial& t) { return switch_seconds(switch_of(t)); });
    }
    lab.figures().drop_ratios.push_back(seconds[0] / seconds[1]);
    std::vector<double> pairs;
    for (std::size_t i = 0; i < lab.scale().repeats; ++i) {
      pairs.push_back(switch_seconds(switch_of(runs.at({of_512, false}).trials[i])) /
                      switch_seconds(switch_of(runs.at({of_512, true}).trials[i])));
    }
    const auto [low, high] = std::ranges::minmax(pairs);
    ratios += fmt::format("{}{:.2f} at {} of 512 (pairs {:.2f} to {:.2f})",
                          ratios.empty() ? "" : ", ", seconds[0] / seconds[1], of_512, low, high);
  }
  experiment.tables.push_back(std::move(table));
  if (!ratios.empty()) {
    experiment.findings.push_back("time of a switch, kept over dropped: " + ratios +
                                  " (the origin: 1.32 and 1.22)");
  }
  return experiment;
}

Result<Experiment> run_capacity_sweep(Lab& lab) {
  Experiment experiment{.number = 2,
                        .title = "Capacity: quality and memory",
                        .question =
                            "Python to a Chinese poem by a blocking switch, at the origin's "
                            "capacities and far from them, with caches kept and dropped."};
  const std::vector<std::size_t> sweep = lab.fitting(lab.scale().sweep, experiment);
  FM_ASSIGN_OR_RETURN(auto runs, run_switches(lab, sweep, lab.scale().repeats,
                                              /*wants_held_out=*/true));
  const std::size_t differences = count_differences(runs);
  std::vector<std::size_t> all = sweep;
  for (const std::size_t of_512 : lab.fitting(lab.scale().wide_sweep, experiment)) {
    FM_ASSIGN_OR_RETURN(
        Trial trial,
        lab.run(fmt::format("delta at {} of 512", of_512), lab.mode(Residency::kDelta, of_512),
                lab.change_to_poem(), {.held_out = poem_prompt().domain}));
    runs[{of_512, false}].trials.push_back(std::move(trial));
    all.push_back(of_512);
  }
  std::ranges::sort(all);

  Table table{.columns = {{"capacity", "capacity"}, {"drop_caches", "caches"}}};
  for (const auto& columns : {switch_columns(), Lab::quality_columns()}) {
    table.columns.insert(table.columns.end(), columns.begin(), columns.end());
  }
  Table held_out_table{.title = "the subject's held-out text after the switch, every token",
                       .columns = {{"capacity", "capacity"},
                                   {"divergence", "KL, nats"},
                                   {"agreement", "top-1"},
                                   {"perplexity", "perplexity"}}};
  Series held_out_line{.name = "KL of held-out text"};
  std::size_t cliff = 0;  // the largest capacity whose held-out text is further away than coherent
  Series divergence{.name = "KL of the answer"};
  Series fallback{.name = "fallback, share"};
  Series rate{.name = "tokens/s"};
  for (const std::size_t of_512 : all) {
    for (const bool drops : {false, true}) {
      if (!runs.contains({of_512, drops})) continue;
      const Repeated& repeated = runs.at({of_512, drops});
      const TurnResult& answer = repeated.trials[0].turns.back();
      const OriginSwitch origin = find_origin(origin_sweep(), of_512, drops);
      Row row{.cells = {count_cell(lab.bench().capacity(of_512), fmt::format("{}", of_512)),
                        text_cell(drops ? "dropped" : "kept")}};
      const std::vector<Cell> cells = switch_cells(repeated, origin);
      row.cells.insert(row.cells.end(), cells.begin(), cells.end());
      FM_ASSIGN_OR_RETURN(const std::vector<Cell> quality,
                          lab.quality_cells(answer, poem_prompt(), origin.quality));
      row.cells.insert(row.cells.end(), quality.begin(), quality.end());
      row.sample = Lab::add_sample(
          experiment, fmt::format("{} of 512, caches {}", of_512, drops ? "dropped" : "kept"),
          lab.change_to_poem().back(), answer);
      table.rows.push_back(std::move(row));
      if (drops) continue;
      const auto x = static_cast<double>(of_512);
      const HeldOut& held_out = repeated.trials[0].held_out;
      if (held_out.quality.token_count > 0) {
        held_out_table.rows.push_back(
            {.cells = {count_cell(lab.bench().capacity(of_512), fmt::format("{}", of_512)),
                       number_cell(held_out.quality.divergence, 3),
                       percent_cell(held_out.quality.agreement),
                       number_cell(held_out.perplexity, 1)}});
        held_out_line.points.emplace_back(x, held_out.quality.divergence);
        if (held_out.quality.divergence > kCoherentDivergence) cliff = std::max(cliff, of_512);
      }
      divergence.points.emplace_back(x, mean_quality(answer.quality).divergence);
      fallback.points.emplace_back(x, answer.fallback_rate());
      rate.points.emplace_back(
          x, repeated.middle([](const Trial& t) { return t.turns.back().tokens_per_second(); }));
      lab.figures().fallback_by_capacity.emplace_back(of_512, answer.fallback_rate());
      FM_ASSIGN_OR_RETURN(const bool coherent, lab.is_coherent(answer, poem_prompt()));
      lab.figures().coherent_by_capacity.emplace_back(of_512, coherent);
      lab.figures().seconds_by_capacity.emplace_back(
          of_512, repeated.middle([](const Trial& t) { return switch_seconds(switch_of(t)); }));
    }
  }
  experiment.tables.push_back(std::move(table));
  std::vector<Mark> marks = {{192, "origin: coherent from here"}};
  if (!held_out_table.rows.empty()) {
    FM_ASSIGN_OR_RETURN(const Trial exact_trial, lab.run("exact, held-out text", {}, {},
                                                         {.held_out = poem_prompt().domain}));
    const HeldOut& exact = exact_trial.held_out;
    held_out_table.rows.push_back(
        {.cells = {text_cell("exact"), number_cell(exact.quality.divergence, 3),
                   percent_cell(exact.quality.agreement), number_cell(exact.perplexity, 1)}});
    experiment.tables.push_back(std::move(held_out_table));
    marks.push_back({static_cast<double>(cliff), "too few experts up to here"});
    experiment.findings.push_back(fmt::format(
        "Too few experts: on held-out text the divergence is above {} nats up to {} of 512.",
        kCoherentDivergence, cliff));
  }
  experiment.plots.push_back(
      {.title = "Quality by capacity (of 512 experts a layer)",
       .x_label = "capacity, of 512",
       .y_label = "",
       .series = held_out_line.points.empty()
                     ? std::vector<Series>{divergence, fallback}
                     : std::vector<Series>{divergence, fallback, held_out_line},
       .marks = std::move(marks)});
  experiment.plots.push_back({.title = "Speed after the switch by capacity",
                              .x_label = "capacity, of 512",
                              .y_label = "tokens/s",
                              .series = {rate},
                              .marks = {{224, "origin: memory cliff"}}});
  experiment.findings.push_back(
      differences == 0
          ? "At a capacity every repeat gave the same tokens, whether caches were kept or dropped: "
            "quality does not depend on memory controls."
          : fmt::format("{} trials gave other tokens than the first at their capacity: quality "
                        "depended on something but the capacity.",
                        differences));
  FM_RETURN_IF_ERROR(add_memory_pressure(lab, experiment));
  return experiment;
}

}  // namespace flashmoe
