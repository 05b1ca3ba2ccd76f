#ifndef FLASHMOE_EXPERTS_RESIDENT_SET_KEEPER_H_
#define FLASHMOE_EXPERTS_RESIDENT_SET_KEEPER_H_

#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "base/result.h"
#include "experts/expert_cache.h"
#include "experts/expert_prefetcher.h"
#include "experts/expert_store.h"
#include "experts/resident_set.h"

namespace flashmoe {

/// Brings the experts back that an earlier run left in a file, and writes down those of this one:
/// every kSaveInterval steps and at the end. Experts of the file that never came to memory stay in
/// it, behind the others, so that a short run or a small budget forgets nothing. May be used by one
/// thread at a time.
class ResidentSetKeeper {
 public:
  static constexpr std::size_t kSaveInterval = 512;

  struct Options {
    std::filesystem::path path;
    /// Of the model: a file with another one is not used, but replaced.
    std::string identity;
    /// Hears why the file was not used, or not written at the end. May be empty.
    std::function<void(const Status&)> on_warning;
  };

  /// Reads the file and starts to read its experts; does not wait for them. A file that is no
  /// resident set is left as it is. `store` and `cache` must outlive this.
  ResidentSetKeeper(Options options, const ExpertStore& store, ExpertCache& cache);
  ~ResidentSetKeeper();
  ResidentSetKeeper(const ResidentSetKeeper&) = delete;
  ResidentSetKeeper& operator=(const ResidentSetKeeper&) = delete;

  /// To be called after every forward pass.
  void after_step();

 private:
  void load(const ExpertStore& store);
  Status save();
  void warn(const Status& status) const;

  const Options options_;
  ExpertCache& cache_;
  ResidentSet known_;  // what the file says
  bool may_write_ = true;
  std::size_t step_count_ = 0;
  std::optional<ExpertPrefetcher> prefetcher_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_RESIDENT_SET_KEEPER_H_
