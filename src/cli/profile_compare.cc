// The subcommands of `flash-moe profile` that need profiles alone.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/counts.h"
#include "base/result.h"
#include "cli/option_values.h"
#include "cli/output.h"
#include "cli/profile.h"
#include "experts/expert_profile.h"

namespace flashmoe::cli {
namespace {

/// Shares of a layer's experts at which `inspect` says how much of the routing they take.
constexpr double kShares[] = {0.125, 0.25, 0.375, 0.5, 0.75};

/// Profiles of one model.
Result<std::vector<ProfileFile>> read_alike(const std::vector<std::string>& paths) {
  std::vector<ProfileFile> files;
  for (const std::string& path : paths) {
    FM_ASSIGN_OR_RETURN(files.emplace_back(), read_profile(path));
    const ProfileFile& first = files.front();
    const ProfileFile& last = files.back();
    if (last.identity == first.identity &&
        last.profile.expert_counts() == first.profile.expert_counts()) {
      continue;
    }
    return error(StatusCode::kInvalidArgument, "{} is of another model than {}", path, paths[0]);
  }
  return files;
}

Status merge(const std::vector<std::string>& inputs, const std::string& output) {
  FM_ASSIGN_OR_RETURN(std::vector<ProfileFile> files, read_alike(inputs));
  for (std::size_t i = 1; i < files.size(); ++i) files[0].profile.add(files[i].profile);
  FM_RETURN_IF_ERROR(write_profile(output, files[0].identity, files[0].profile));
  return print(fmt::format("{}: the routing of {}, from {}\n", output,
                           counted(files[0].profile.token_count, "token"),
                           counted(files.size(), "profile")));
}

/// What share of the routing of all layers the `share` most routed experts of each take.
double coverage(const ExpertProfile& profile, double share) {
  double served = 0;
  double total = 0;
  for (std::uint32_t l = 0; l < profile.layers.size(); ++l) {
    const std::vector<std::uint64_t>& counts = profile.layers[l];
    const auto top = static_cast<std::size_t>(share * static_cast<double>(counts.size()));
    const std::vector<ExpertId> ranked = profile.ranked(LayerId{l});
    for (std::size_t i = 0; i < ranked.size(); ++i) {
      const auto count = static_cast<double>(counts[ranked[i].value]);
      total += count;
      if (i < top) served += count;
    }
  }
  return total > 0 ? served / total : 0;
}

Status inspect(const std::string& path, bool json) {
  FM_ASSIGN_OR_RETURN(const ProfileFile file, read_profile(path));
  const ExpertProfile& profile = file.profile;
  nlohmann::ordered_json layers = nlohmann::ordered_json::array();
  std::string table;
  for (std::uint32_t l = 0; l < profile.layers.size(); ++l) {
    const std::size_t experts = profile.layers[l].size();
    if (experts == 0) continue;
    const std::vector<ExpertId> ranked = profile.ranked(LayerId{l});
    nlohmann::ordered_json hottest = nlohmann::ordered_json::array();
    std::string names;
    for (std::size_t i = 0; i < std::min<std::size_t>(8, ranked.size()); ++i) {
      hottest.push_back(ranked[i].value);
      names += fmt::format(" {}", ranked[i].value);
    }
    layers.push_back(
        {{"layer", l}, {"experts", experts}, {"routed", ranked.size()}, {"hottest", hottest}});
    table += fmt::format("{:>5} {:>8} {:>8}  {}\n", l, experts, ranked.size(), names);
  }
  nlohmann::ordered_json curve = nlohmann::ordered_json::array();
  std::string shares;
  for (const double share : kShares) {
    curve.push_back({{"share_of_experts", share}, {"coverage", coverage(profile, share)}});
    shares += fmt::format("{}{:.1f} % by {:.1f} %", shares.empty() ? "" : ", ",
                          100 * coverage(profile, share), 100 * share);
  }
  if (json) {
    return print_json({{"model", file.identity},
                       {"tokens", profile.token_count},
                       {"coverage", curve},
                       {"layers", layers}});
  }
  return print(
      fmt::format("model {}, {}\nrouting served by the most routed experts: {}\n"
                  "layer  experts   routed   hottest\n{}",
                  file.identity, counted(profile.token_count, "token"), shares, table));
}

Status compare(const std::string& a, const std::string& b, std::size_t top, bool json) {
  FM_ASSIGN_OR_RETURN(const std::vector<ProfileFile> files, read_alike({a, b}));
  std::size_t most = 0;
  for (const std::size_t count : files[0].profile.expert_counts()) most = std::max(most, count);
  if (top == 0) top = most * 3 / 8;  // the capacity of the system that flash-moe starts from
  const ProfileSimilarity ab = compare_profiles(files[0].profile, files[1].profile, top);
  const ProfileSimilarity ba = compare_profiles(files[1].profile, files[0].profile, top);
  if (json) {
    return print_json({{"top", top},
                       {"cosine", ab.cosine},
                       {"overlap", ab.overlap},
                       {"second_served_by_first", ab.coverage},
                       {"first_served_by_second", ba.coverage}});
  }
  return print(fmt::format(
      "counts alike (cosine): {:.3f}\nof the {} most routed of a layer both have: {:.1f} %\n"
      "routing of the second that those of the first serve: {:.1f} %; the other way round: {:.1f} "
      "%\n",
      ab.cosine, top, 100 * ab.overlap, 100 * ab.coverage, 100 * ba.coverage));
}

}  // namespace

void add_profile_merge(CLI::App& profile, int& exit_code) {
  struct Options {
    std::vector<std::string> inputs;
    std::string output;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = profile.add_subcommand("merge", "Add profiles of one model up");
  command->add_option("FILE", options->inputs, "Profiles")->required()->type_name("FILE");
  command->add_option("-o,--output", options->output, "The profile to write")
      ->required()
      ->type_name("FILE");
  command->callback([options, &exit_code] {
    const Status status = merge(options->inputs, options->output);
    exit_code = status.ok() ? kExitOk : report(status);
  });
}

void add_profile_inspect(CLI::App& profile, int& exit_code) {
  struct Options {
    std::string path;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = profile.add_subcommand("inspect", "What a profile holds, layer by layer");
  command->add_option("FILE", options->path, "A profile")->required()->type_name("FILE");
  command->add_flag("--json", options->json, "Print one JSON object, shares of 1");
  command->callback([options, &exit_code] {
    const Status status = inspect(options->path, options->json);
    exit_code = status.ok() ? kExitOk : report(status);
  });
}

void add_profile_compare(CLI::App& profile, int& exit_code) {
  struct Options {
    std::string a;
    std::string b;
    std::size_t top = 0;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = profile.add_subcommand("compare", "How alike two subjects' routing is");
  command->add_option("FIRST", options->a, "A profile")->required()->type_name("FILE");
  command->add_option("SECOND", options->b, "Another of the same model")
      ->required()
      ->type_name("FILE");
  add_whole_number(*command, "--top", options->top, {1, 65535},
                   "Experts of a layer that are in memory; default: three eighths of them")
      ->default_str("");
  command->add_flag("--json", options->json, "Print one JSON object, shares of 1");
  command->callback([options, &exit_code] {
    const Status status = compare(options->a, options->b, options->top, options->json);
    exit_code = status.ok() ? kExitOk : report(status);
  });
}

}  // namespace flashmoe::cli
