// Any bytes as a file of a resident set: an error, or a set that keeps what the interface promises.
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "base/check.h"
#include "experts/resident_set.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("resident_set_fuzz." + std::to_string(getpid()));
  static const std::vector<std::size_t> expert_counts = {8, 0, 300};
  std::FILE* const out = std::fopen(path.c_str(), "wb");
  FM_CHECK(out != nullptr);
  FM_CHECK(std::fwrite(data, 1, size, out) == size);
  FM_CHECK(std::fclose(out) == 0);
  const auto set = flashmoe::read_resident_set(path, "0123456789abcdef", expert_counts);
  std::filesystem::remove(path);  // nothing is left if a check fails
  if (!set.ok()) {
    FM_CHECK(!set.status().message().empty());
    return 0;
  }
  FM_CHECK(set->layers.size() == expert_counts.size());
  for (std::size_t l = 0; l < expert_counts.size(); ++l) {
    const std::set<flashmoe::ExpertId> ids(set->layers[l].begin(), set->layers[l].end());
    FM_CHECK(ids.size() == set->layers[l].size());
    FM_CHECK(ids.empty() || ids.rbegin()->value < expert_counts[l]);
  }
  return 0;
}
