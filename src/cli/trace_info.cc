#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "base/counts.h"
#include "base/result.h"
#include "cli/option_values.h"
#include "cli/output.h"
#include "cli/trace.h"
#include "cli/trace_replays.h"
#include "experts/residency_replay.h"
#include "experts/routing_trace_file.h"
#include "experts/trace_statistics.h"
#include "format/printable.h"

namespace flashmoe::cli {
namespace {

struct InfoOptions {
  std::string trace;
  std::size_t switch_at = 0;
  bool json = false;
};

constexpr const char* kTraceInfoExamples = R"(
Examples:
  flash-moe trace info once.safetensors
  flash-moe trace info traces.safetensors:english,python --json
  flash-moe trace info traces.safetensors:python_to_poetry_zh --switch-at 512)";

nlohmann::ordered_json curve_json(const std::vector<LruHitRate>& curve) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const LruHitRate& point : curve) {
    json.push_back({{"slots_per_layer", point.slots}, {"hit_rate", point.hit_rate}});
  }
  return json;
}

nlohmann::ordered_json to_json(const NamedRoutingTrace& named, const TraceStatistics& statistics) {
  const RoutingTrace& trace = named.trace;
  nlohmann::ordered_json json = {{"name", printable(named.name)},
                                 {"layers", trace.layer_count()},
                                 {"tokens", trace.token_count()},
                                 {"experts_per_token", trace.experts_per_token()},
                                 {"num_experts", trace.num_experts()},
                                 {"num_experts_declared", trace.declares_num_experts()},
                                 {"weights", trace.has_weights()},
                                 {"sequences", trace.starts().size()},
                                 {"lru_hit_rate_steady", curve_json(statistics.steady_lru)},
                                 {"lru_hit_rate_cold", curve_json(statistics.cold_lru)},
                                 {"reused_by_next_token", statistics.reused_by_next},
                                 {"reused_within_8_tokens", statistics.reused_within_8},
                                 {"reuse_distance_tokens_median", nullptr},
                                 {"experts_touched", nullptr},
                                 {"most_used_count", statistics.most_used_count},
                                 {"most_used_share", nullptr},
                                 {"missing_after_switch", nullptr}};
  if (statistics.median_reuse_distance) {
    json["reuse_distance_tokens_median"] = *statistics.median_reuse_distance;
  }
  if (statistics.touched) json["experts_touched"] = *statistics.touched;
  if (statistics.share_of_most_used) json["most_used_share"] = *statistics.share_of_most_used;
  if (statistics.missing_after_switch) {
    nlohmann::ordered_json& missing = json["missing_after_switch"] =
        nlohmann::ordered_json::array();
    for (std::size_t i = 0; i < kSwitchTokens.size(); ++i) {
      missing.push_back(
          {{"tokens", kSwitchTokens[i]}, {"experts", (*statistics.missing_after_switch)[i]}});
    }
  }
  return json;
}

std::string curve_text(const std::vector<LruHitRate>& curve) {
  if (curve.empty()) return "the trace is too short";
  std::vector<std::string> points;
  for (const LruHitRate& point : curve) {
    points.push_back(fmt::format("{:.1f} % at {}", 100 * point.hit_rate, point.slots));
  }
  return fmt::format("{}", fmt::join(points, ", "));
}

std::string to_text(const NamedRoutingTrace& named, const TraceStatistics& statistics) {
  const RoutingTrace& trace = named.trace;
  std::string text = fmt::format(
      "{}: {} x {} x {}{}, in {}{}\n", printable(named.name), counted(trace.layer_count(), "layer"),
      counted(trace.token_count(), "token"), counted(trace.experts_per_token(), "expert"),
      trace.declares_num_experts() ? fmt::format(" of {}", trace.num_experts().front()) : "",
      counted(trace.starts().size(), "sequence"), trace.has_weights() ? ", with weights" : "");
  text += fmt::format("  LRU, from token {} on, slots a layer: {}\n", kSteadyFrom,
                      curve_text(statistics.steady_lru));
  text += fmt::format("  LRU, first {} tokens from cold: {}\n", kColdTokens,
                      curve_text(statistics.cold_lru));
  text += fmt::format("  routed again by the next token: {:.1f} %, within 8 tokens: {:.1f} %",
                      100 * statistics.reused_by_next, 100 * statistics.reused_within_8);
  if (statistics.median_reuse_distance) {
    text +=
        fmt::format("; median reuse distance: {:.0f} tokens", *statistics.median_reuse_distance);
  }
  text += "\n";
  if (statistics.touched) {
    text +=
        fmt::format("  in {} tokens a layer uses {:.0f} experts; the {} used most carry {:.1f} %\n",
                    kColdTokens, *statistics.touched, statistics.most_used_count,
                    100 * *statistics.share_of_most_used);
  }
  if (statistics.missing_after_switch) {
    text += fmt::format(
        "  missing from the most used of the subject before, {} tokens after a change: {:.0f}\n",
        fmt::join(kSwitchTokens, ", "), fmt::join(*statistics.missing_after_switch, ", "));
  }
  return text;
}

Status print_info(const InfoOptions& options) {
  FM_ASSIGN_OR_RETURN(std::vector<NamedRoutingTrace> traces,
                      read_routing_traces(options.trace, /*all=*/true));
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (NamedRoutingTrace& named : traces) {
    if (options.switch_at > 0) {
      FM_ASSIGN_OR_RETURN(named.trace, with_switches_at(named.trace, options.switch_at));
    }
    const TraceStatistics statistics = trace_statistics(named.trace);
    if (options.json) {
      json.push_back(to_json(named, statistics));
    } else {
      FM_RETURN_IF_ERROR(print(to_text(named, statistics)));
    }
  }
  return options.json ? print_json({{"traces", json}}) : Status();
}

}  // namespace

void add_trace_info(CLI::App& trace, int& exit_code) {
  auto options = std::make_shared<InfoOptions>();
  CLI::App* command = trace.add_subcommand("info", "How local the routing in a trace is");
  add_trace_argument(*command, options->trace);
  add_whole_number(*command, "--switch-at", options->switch_at, {},
                   "The subject changes N tokens after each sequence begins, in a file that does "
                   "not say")
      ->default_str("");
  command->add_flag("--json", options->json, "Print one JSON object, shares of 1");
  command->footer(kTraceInfoExamples);
  command->callback([options, &exit_code] {
    const Status status = print_info(*options);
    exit_code = status.ok() ? kExitOk : report(status);
  });
}

}  // namespace flashmoe::cli
