#ifndef FLASHMOE_EXPERTS_EXPERT_PROFILE_H_
#define FLASHMOE_EXPERTS_EXPERT_PROFILE_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "experts/expert_id.h"
#include "experts/fixed_set.h"
#include "experts/resident_set.h"
#include "experts/routing_trace.h"

namespace flashmoe {

/// How often each expert was routed: what is known of a subject's use of a model.
struct ExpertProfile {
  std::vector<std::vector<std::uint64_t>> layers;  // [layer][expert]; a dense layer's is empty
  std::uint64_t token_count = 0;                   // whose routing was counted

  explicit ExpertProfile(std::span<const std::size_t> expert_counts = {});

  /// Experts of each layer.
  std::vector<std::size_t> expert_counts() const;
  /// Adds the counts of `other`, of the same model.
  void add(const ExpertProfile& other);
  /// The experts of `layer` that were routed at all, the most often routed first (ties: the smaller
  /// id).
  std::vector<ExpertId> ranked(LayerId layer) const;
  friend bool operator==(const ExpertProfile&, const ExpertProfile&) = default;
};

/// Counts the tokens of a trace. `expert_counts`: of the model's layers, dense ones included, which
/// a trace leaves out. Errors: kInvalidArgument if the trace is of another shape of model.
Result<ExpertProfile> count_trace(const RoutingTrace& trace,
                                  std::span<const std::size_t> expert_counts);

/// How alike two profiles of a model are.
struct ProfileSimilarity {
  /// Mean over layers of the cosine of the angle between their counts, 0 to 1.
  double cosine = 0;
  /// Of the `top` most routed experts of each layer, the share that both have.
  double overlap = 0;
  /// Of what `b` routed, the share that the `top` experts of `a` would have served.
  double coverage = 0;
};
ProfileSimilarity compare_profiles(const ExpertProfile& a, const ExpertProfile& b, std::size_t top);

/// A profile and the model that it is of.
struct ProfileFile {
  ExpertProfile profile;
  std::string identity;
};

/// Reads a profile (docs/residency.md) and trusts no byte of it. Errors: kNotFound if there is no
/// file; those of SafetensorsFile; kUnsupported for another version; kCorrupt for anything else.
Result<ProfileFile> read_profile(const std::filesystem::path& path);

/// As above, of a model whose identity and experts are known. Errors: also kInvalidArgument for
/// another model's profile.
Result<ExpertProfile> read_profile_of(const std::filesystem::path& path, std::string_view identity,
                                      std::span<const std::size_t> expert_counts);

/// Writes a file that appears whole or not at all; one that was there stays until then. Errors:
/// kInvalidArgument if `path` is no regular file; kIo, naming the remedy.
Status write_profile(const std::filesystem::path& path, std::string_view identity,
                     const ExpertProfile& profile);

/// Who has a place in `set`, those most used so far first: who may stay when it changes.
ResidentSet members_by_use(const FixedSet& set, const ExpertProfile& used);

/// What a fixed set is chosen from, the strongest claim first: what was routed on this subject, who
/// is to stay if there is room, what the profile knows (null: nothing), and then anybody by id.
/// `sizes`: how many of each layer are wanted.
ResidentSet choose_experts(const ExpertProfile& routed, const ResidentSet& stay,
                           const ExpertProfile* profile, std::span<const std::size_t> sizes);

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_EXPERT_PROFILE_H_
