#include "experts/expert_profile.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "base/check.h"
#include "base/units.h"
#include "experts/model_bound_file.h"
#include "format/safetensors_file.h"
#include "format/safetensors_writer.h"

namespace flashmoe {
namespace {

constexpr ModelBoundFormat kFormat = {"flash-moe.expert_profile", "1", "expert profile"};
constexpr const char* kTokens = "tokens";              // [1]
constexpr const char* kExperts = "experts_per_layer";  // [layers]
constexpr const char* kCounts = "counts";              // layer after layer

// Sums of counts must not overflow, nor lose much as doubles.
constexpr std::int64_t kCountMax = std::int64_t{1} << 48;
constexpr std::int64_t kExpertsMax = kNobody.value;

Result<std::vector<std::int64_t>> read_counts(const SafetensorsFile& file, const char* name,
                                              std::uint64_t size, std::int64_t max) {
  FM_RETURN_IF_ERROR(check_vector(file, name, DType::kI64, size));
  FM_ASSIGN_OR_RETURN(std::vector<std::int64_t> values, file.read_integers(name));
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] >= 0 && values[i] <= max) continue;
    return error(StatusCode::kCorrupt, "{}[{}] is {}; 0 to {} make sense", name, i, values[i], max);
  }
  return values;
}

Result<ExpertProfile> read_counts(const SafetensorsFile& file) {
  const SafetensorsEntry* const entry = file.find(kExperts);
  if (entry == nullptr || entry->shape.size() != 1) {
    return error(StatusCode::kCorrupt, "no tensor {} of one dimension", kExperts);
  }
  FM_ASSIGN_OR_RETURN(
      const std::vector<std::int64_t> experts,
      read_counts(file, kExperts, static_cast<std::uint64_t>(entry->shape[0]), kExpertsMax));
  std::vector<std::size_t> expert_counts(experts.begin(), experts.end());
  std::uint64_t total = 0;
  for (const std::size_t count : expert_counts) total += count;
  FM_ASSIGN_OR_RETURN(const std::vector<std::int64_t> tokens,
                      read_counts(file, kTokens, 1, kCountMax));
  FM_ASSIGN_OR_RETURN(const std::vector<std::int64_t> counts,
                      read_counts(file, kCounts, total, kCountMax));
  ExpertProfile profile(expert_counts);
  profile.token_count = static_cast<std::uint64_t>(tokens[0]);
  auto next = counts.begin();
  for (std::vector<std::uint64_t>& layer : profile.layers) {
    for (std::uint64_t& count : layer) count = static_cast<std::uint64_t>(*next++);
  }
  return profile;
}

double dot(std::span<const std::uint64_t> a, std::span<const std::uint64_t> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  }
  return sum;
}

}  // namespace

ExpertProfile::ExpertProfile(std::span<const std::size_t> expert_counts) {
  for (const std::size_t count : expert_counts) layers.emplace_back(count);
}

std::vector<std::size_t> ExpertProfile::expert_counts() const {
  std::vector<std::size_t> counts;
  for (const std::vector<std::uint64_t>& layer : layers) counts.push_back(layer.size());
  return counts;
}

void ExpertProfile::add(const ExpertProfile& other) {
  FM_CHECK(expert_counts() == other.expert_counts());
  for (std::size_t l = 0; l < layers.size(); ++l) {
    for (std::size_t e = 0; e < layers[l].size(); ++e) layers[l][e] += other.layers[l][e];
  }
  token_count += other.token_count;
}

std::vector<ExpertId> ExpertProfile::ranked(LayerId layer) const {
  const std::vector<std::uint64_t>& counts = layers[layer.value];
  std::vector<ExpertId> ids;
  for (std::size_t e = 0; e < counts.size(); ++e) {
    if (counts[e] > 0) ids.push_back({static_cast<std::uint16_t>(e)});
  }
  std::ranges::stable_sort(
      ids, [&](ExpertId a, ExpertId b) { return counts[a.value] > counts[b.value]; });
  return ids;
}

Result<ExpertProfile> count_trace(const RoutingTrace& trace,
                                  std::span<const std::size_t> expert_counts) {
  ExpertProfile profile(expert_counts);
  std::vector<std::size_t> moe_layers;  // of the model, in the order of the trace's
  for (std::size_t l = 0; l < expert_counts.size(); ++l) {
    if (expert_counts[l] > 0) moe_layers.push_back(l);
  }
  if (moe_layers.size() != trace.layer_count()) {
    return error(StatusCode::kInvalidArgument, "the trace has {} layers, the model {} with experts",
                 trace.layer_count(), moe_layers.size());
  }
  for (std::size_t i = 0; i < moe_layers.size(); ++i) {
    std::vector<std::uint64_t>& counts = profile.layers[moe_layers[i]];
    if (trace.num_experts()[i] > counts.size()) {
      return error(StatusCode::kInvalidArgument,
                   "layer {} of the trace has {} experts or more, of the model {}", i,
                   trace.num_experts()[i], counts.size());
    }
    for (std::size_t t = 0; t < trace.token_count(); ++t) {
      for (const ExpertId id : trace.routed(i, t)) ++counts[id.value];
    }
  }
  profile.token_count = trace.token_count();
  return profile;
}

ProfileSimilarity compare_profiles(const ExpertProfile& a, const ExpertProfile& b,
                                   std::size_t top) {
  FM_CHECK(a.expert_counts() == b.expert_counts());
  ProfileSimilarity result;
  std::size_t layer_count = 0;
  for (std::uint32_t l = 0; l < a.layers.size(); ++l) {
    const std::vector<std::uint64_t>& counts_b = b.layers[l];
    if (counts_b.empty()) continue;
    ++layer_count;
    result.cosine += ratio(dot(a.layers[l], counts_b),
                           std::sqrt(dot(a.layers[l], a.layers[l]) * dot(counts_b, counts_b)));
    const auto best = [&](const ExpertProfile& profile) {
      std::vector<ExpertId> ids = profile.ranked(LayerId{l});
      ids.resize(std::min(ids.size(), top));
      return ids;
    };
    const std::vector<ExpertId> best_a = best(a);
    const std::vector<ExpertId> best_b = best(b);
    double shared = 0;
    double served = 0;
    for (const ExpertId id : best_a) {
      if (std::ranges::find(best_b, id) != best_b.end()) shared += 1;
      served += static_cast<double>(counts_b[id.value]);
    }
    double total = 0;
    for (const std::uint64_t count : counts_b) total += static_cast<double>(count);
    result.overlap += ratio(shared, static_cast<double>(std::max(best_a.size(), best_b.size())));
    result.coverage += ratio(served, total);
  }
  const auto layers = static_cast<double>(layer_count);
  return {.cosine = ratio(result.cosine, layers),
          .overlap = ratio(result.overlap, layers),
          .coverage = ratio(result.coverage, layers)};
}

Result<ProfileFile> read_profile(const std::filesystem::path& path) {
  FM_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::open(path));
  Result<std::string> identity = read_model_identity(file, kFormat);
  if (!identity.ok()) return identity.status().with_prefix(path.string());
  Result<ExpertProfile> profile = read_counts(file);
  if (!profile.ok()) return profile.status().with_prefix(path.string());
  return ProfileFile{.profile = std::move(*profile), .identity = std::move(*identity)};
}

Result<ExpertProfile> read_profile_of(const std::filesystem::path& path, std::string_view identity,
                                      std::span<const std::size_t> expert_counts) {
  FM_ASSIGN_OR_RETURN(ProfileFile file, read_profile(path));
  if (const Status same = check_model_identity(kFormat, file.identity, identity); !same.ok()) {
    return same.with_prefix(path.string());
  }
  if (!std::ranges::equal(file.profile.expert_counts(), expert_counts)) {
    return error(StatusCode::kCorrupt, "{}: the layers' experts are not the model's",
                 path.string());
  }
  return std::move(file.profile);
}

Status write_profile(const std::filesystem::path& path, std::string_view identity,
                     const ExpertProfile& profile) {
  std::vector<std::int64_t> experts;
  std::vector<std::int64_t> counts;
  for (const std::vector<std::uint64_t>& layer : profile.layers) {
    experts.push_back(static_cast<std::int64_t>(layer.size()));
    for (const std::uint64_t count : layer) counts.push_back(static_cast<std::int64_t>(count));
  }
  const std::int64_t tokens[] = {static_cast<std::int64_t>(profile.token_count)};
  FM_ASSIGN_OR_RETURN(SafetensorsWriter writer,
                      SafetensorsWriter::create(path,
                                                {{kTokens, DType::kI64, {1}},
                                                 {kExperts, DType::kI64, {experts.size()}},
                                                 {kCounts, DType::kI64, {counts.size()}}},
                                                model_bound_metadata(kFormat, identity)));
  FM_RETURN_IF_ERROR(writer.write(kTokens, 0, std::span<const std::int64_t>(tokens)));
  FM_RETURN_IF_ERROR(writer.write(kExperts, 0, std::span<const std::int64_t>(experts)));
  FM_RETURN_IF_ERROR(writer.write(kCounts, 0, std::span<const std::int64_t>(counts)));
  return writer.finish();
}

ResidentSet members_by_use(const FixedSet& set, const ExpertProfile& used) {
  ResidentSet members;
  for (std::uint32_t l = 0; l < set.layer_count(); ++l) {
    const std::span<const ExpertId> places = set.members(LayerId{l});
    std::vector<ExpertId>& ids = members.layers.emplace_back(places.begin(), places.end());
    std::erase(ids, kNobody);
    std::ranges::stable_sort(ids, std::ranges::greater(),
                             [&](ExpertId id) { return used.layers[l][id.value]; });
  }
  return members;
}

ResidentSet choose_experts(const ExpertProfile& routed, const ResidentSet& stay,
                           const ExpertProfile* profile, std::span<const std::size_t> sizes) {
  FM_CHECK(sizes.size() == routed.layers.size());
  ResidentSet chosen;
  for (std::uint32_t l = 0; l < sizes.size(); ++l) {
    FM_CHECK(sizes[l] <= routed.layers[l].size());
    std::vector<ExpertId>& ids = chosen.layers.emplace_back();
    std::vector<bool> has(routed.layers[l].size());
    const auto add = [&](std::span<const ExpertId> candidates) {
      for (const ExpertId id : candidates) {
        if (ids.size() == sizes[l]) return;
        if (!has[id.value]) ids.push_back(id);
        has[id.value] = true;
      }
    };
    add(routed.ranked(LayerId{l}));
    if (l < stay.layers.size()) add(stay.layers[l]);
    if (profile != nullptr) add(profile->ranked(LayerId{l}));
    for (std::size_t e = 0; ids.size() < sizes[l]; ++e) {
      const ExpertId id{static_cast<std::uint16_t>(e)};
      add({&id, 1});
    }
  }
  return chosen;
}

}  // namespace flashmoe
