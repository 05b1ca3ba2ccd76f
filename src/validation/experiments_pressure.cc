// The second part of experiment 2: what too large a capacity does where memory is short.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/child_process.h"
#include "base/limited_cgroup.h"
#include "base/memory_info.h"
#include "base/units.h"
#include "validation/lab.h"

namespace flashmoe {
namespace {

using Json = nlohmann::ordered_json;

/// The limit is what so many of 512 need: as on the origin's machine.
constexpr std::size_t kFits = 208;

/// What became of a change of subject in a process of its own.
struct Outcome {
  std::string what;  // "ran", "refused" before anything was read, "killed"
  double switch_seconds = 0;
  double tokens_per_second = 0;
  std::size_t slots_given_back = 0;
  std::uint64_t used_bytes = 0;  // of the group's memory, page cache apart
  std::string text;
};

/// The smallest budget, of a row of them, that so many experts in every layer fit into.
Result<std::uint64_t> budget_for(Lab& lab, std::size_t capacity) {
  constexpr std::uint64_t kSteps = 256;
  Workbench& bench = lab.bench();
  const std::uint64_t least = bench.budget_min();
  const std::uint64_t most = bench.budget_resident();
  std::vector<std::uint64_t> budgets;
  for (std::uint64_t i = 1; i <= kSteps; ++i) {
    budgets.push_back(least + (most - least) / kSteps * i);
  }
  FM_ASSIGN_OR_RETURN(const std::vector<MemoryPlan> plans, bench.plan(budgets));
  for (const MemoryPlan& plan : plans) {
    if (bench.fits_in(plan, capacity)) return plan.budget_bytes;
  }
  return most;
}

Result<std::string> change_subject(Workbench::Options options, const ResidencyOptions& mode,
                                   std::vector<Turn> turns, const LimitedCgroup& group) {
  FM_RETURN_IF_ERROR(group.enter());
  for (Turn& turn : turns) turn.wants_quality = false;
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Workbench> bench, Workbench::create(options));
  std::uint64_t used_bytes = 0;
  const auto look = [&](Session&, std::size_t) {
    if (const auto cgroup = read_memory_info().cgroup) {
      used_bytes = cgroup->limit_bytes - std::min(cgroup->limit_bytes, cgroup->headroom_bytes);
    }
    return Status();
  };
  FM_ASSIGN_OR_RETURN(const Trial trial, bench->run(mode, turns, {.before_turn = look}));
  const TurnResult& answer = trial.turns.back();
  return Json{{"switch_seconds", switch_seconds(switch_of(trial))},
              {"tokens_per_second", answer.tokens_per_second()},
              {"slots_given_back", answer.after.expert_limit_evictions},
              {"used_bytes", used_bytes},
              {"text", answer.result.text}}
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<Outcome> run_limited(Lab& lab, const ResidencyOptions& mode, std::uint64_t budget_bytes,
                            const LimitedCgroup& group) {
  Workbench::Options options = lab.bench().options();
  options.memory_bytes = budget_bytes;
  const Result<std::string> text =
      run_in_child([&] { return change_subject(options, mode, lab.change_to_poem(), group); });
  if (text.status().code() == StatusCode::kInvalidArgument ||
      text.status().code() == StatusCode::kOutOfBudget) {
    return Outcome{.what = "refused"};
  }
  if (text.status().code() == StatusCode::kIo &&
      text.status().message().find("signal 9") != std::string::npos) {
    return Outcome{.what = "killed"};
  }
  FM_RETURN_IF_ERROR(text.status());
  const Json json = Json::parse(*text);
  return Outcome{.what = "ran",
                 .switch_seconds = json["switch_seconds"],
                 .tokens_per_second = json["tokens_per_second"],
                 .slots_given_back = json["slots_given_back"],
                 .used_bytes = json["used_bytes"],
                 .text = json["text"]};
}

/// What a control group must hold for a change of subject with `budget_bytes`, which is less than
/// that: what a child process has of its parent's is the parent's. Nothing where there are none.
Result<std::uint64_t> group_limit_for(Lab& lab, const ResidencyOptions& mode,
                                      std::uint64_t budget_bytes) {
  FM_ASSIGN_OR_RETURN(const auto group, LimitedCgroup::create(2 * budget_bytes));
  FM_ASSIGN_OR_RETURN(const Outcome outcome, run_limited(lab, mode, budget_bytes, *group));
  if (outcome.what != "ran") {
    return error(StatusCode::kUnsupported, "a budget of {} was {}", format_size(budget_bytes),
                 outcome.what);
  }
  return outcome.used_bytes + outcome.used_bytes / 32 + (1 << 20);
}

struct Setting {
  ResidencyOptions mode;
  std::string name;
  std::size_t of_512 = 0;  // 0: the exact mode
  bool heeds_limit = true;
};

std::vector<Setting> settings(const Lab& lab) {
  std::vector<std::size_t> capacities = lab.scale().sweep;
  for (const std::size_t of_512 : lab.scale().wide_sweep) {
    if (of_512 > capacities.back()) capacities.push_back(of_512);
  }
  std::vector<Setting> all;
  for (const bool heeds_limit : {true, false}) {
    for (const std::size_t of_512 : capacities) {
      all.push_back({.mode = lab.mode(Residency::kDelta, of_512),
                     .name = fmt::format("delta at {} of 512", of_512),
                     .of_512 = of_512,
                     .heeds_limit = heeds_limit});
    }
    all.push_back({.mode = {}, .name = "exact", .heeds_limit = heeds_limit});
  }
  return all;
}

}  // namespace

Status add_memory_pressure(Lab& lab, Experiment& experiment) {
  if (lab.fitting({kFits}, experiment).empty()) return Status();
  lab.bench().close_engines();  // a child process would have their memory, but not their threads
  FM_ASSIGN_OR_RETURN(const std::uint64_t budget, budget_for(lab, lab.bench().capacity(kFits)));
  FM_RETURN_IF_ERROR(lab.announce(fmt::format("what {} of 512 need", kFits)));
  const auto limit = group_limit_for(lab, lab.mode(Residency::kDelta, kFits), budget);
  const auto group = limit.ok() ? LimitedCgroup::create(*limit) : limit.status();
  if (group.status().code() == StatusCode::kUnsupported) {
    experiment.findings.push_back("Memory pressure was not provoked: " + group.status().message());
    return Status();
  }
  FM_RETURN_IF_ERROR(group.status());
  Table table{.title = fmt::format("under a control group's limit of {}, what {} of 512 need",
                                   format_size(*limit), kFits),
              .columns = {{"mode", "mode"},
                          {"budget", "budget"},
                          {"outcome", "outcome"},
                          {"switch_seconds", "switch, s"},
                          {"tokens_per_second", "tokens/s"},
                          {"slots_given_back", "slots given back"},
                          {"memory", "memory of the group"}}};
  Series heeding{.name = "budget for 208"};
  Series unheeding{.name = "budget for all experts"};
  std::vector<Mark> marks;
  for (const Setting& setting : settings(lab)) {
    const char* const name = setting.heeds_limit ? "for 208 of 512" : "for all experts";
    FM_RETURN_IF_ERROR(lab.announce(fmt::format("{}, limited, budget {}", setting.name, name)));
    FM_ASSIGN_OR_RETURN(
        const Outcome outcome,
        run_limited(lab, setting.mode, setting.heeds_limit ? budget : lab.bench().budget_resident(),
                    **group));
    Row row{.cells = {text_cell(setting.name), text_cell(name), text_cell(outcome.what)}};
    if (outcome.what == "ran") {
      for (Cell& cell : std::vector<Cell>{
               seconds_cell(outcome.switch_seconds), rate_cell(outcome.tokens_per_second),
               count_cell(outcome.slots_given_back), size_cell(outcome.used_bytes)}) {
        row.cells.push_back(std::move(cell));
      }
      row.sample = experiment.samples.size();
      experiment.samples.push_back({fmt::format("{}, limited, budget {}", setting.name, name),
                                    lab.change_to_poem().back().prompt, outcome.text});
    } else {
      row.cells.resize(table.columns.size());
    }
    Series& line = setting.heeds_limit ? heeding : unheeding;
    if (setting.of_512 != 0) {
      line.points.emplace_back(static_cast<double>(setting.of_512), outcome.tokens_per_second);
    }
    if (outcome.what == "killed" && marks.empty() && setting.of_512 != 0) {
      marks.push_back({static_cast<double>(setting.of_512), "killed from here"});
    }
    table.rows.push_back(std::move(row));
    lab.figures().pressure.push_back({.of_512 = setting.of_512,
                                      .heeds_limit = setting.heeds_limit,
                                      .outcome = outcome.what,
                                      .tokens_per_second = outcome.tokens_per_second});
  }
  experiment.tables.push_back(std::move(table));
  experiment.plots.push_back({.title = "Speed after the switch under the limit; 0: did not run",
                              .x_label = "capacity, of 512",
                              .y_label = "tokens/s",
                              .series = {std::move(heeding), std::move(unheeding)},
                              .marks = std::move(marks)});
  experiment.findings.push_back(
      "Memory pressure: a budget is planned before anything is read, so what does not fit is "
      "refused at once; only a budget that promises more than there is gets to the cliff.");
  return Status();
}

}  // namespace flashmoe
