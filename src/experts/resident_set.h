#ifndef FLASHMOE_EXPERTS_RESIDENT_SET_H_
#define FLASHMOE_EXPERTS_RESIDENT_SET_H_

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "experts/expert_id.h"
#include "experts/expert_store.h"

namespace flashmoe {

/// Which experts of each layer are worth having in memory, the most wanted first, each at most
/// once. A hint: whatever it says, only speed depends on it.
struct ResidentSet {
  std::vector<std::vector<ExpertId>> layers;
  friend bool operator==(const ResidentSet&, const ResidentSet&) = default;
};

/// Reads a set from a file (docs/residency.md) and trusts no byte of it. `identity` is that of the
/// model, `expert_counts` those of its layers. Errors: kNotFound if there is no file; those of
/// SafetensorsFile; kUnsupported for another version; kInvalidArgument for another model's set;
/// kCorrupt for anything that is not a set of these experts.
Result<ResidentSet> read_resident_set(const std::filesystem::path& path, std::string_view identity,
                                      std::span<const std::size_t> expert_counts);

/// Writes `set` to a file that appears whole or not at all: one that was there stays until then.
/// Errors: kInvalidArgument if `path` is no regular file; kIo, naming the remedy.
Status write_resident_set(const std::filesystem::path& path, std::string_view identity,
                          const ResidentSet& set);

/// Puts at the end of each layer of `set` what `older` has and it lacks.
void append_missing(ResidentSet& set, const ResidentSet& older);

/// The experts of `set`, every layer's first before every layer's second: what comes first fits
/// into fewer slots.
std::vector<ExpertKey> by_rank(const ResidentSet& set);

/// Sorts `keys` as their bytes follow each other in the files of `store`.
void sort_in_file_order(const ExpertStore& store, std::span<ExpertKey> keys);

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_RESIDENT_SET_H_
