#ifndef FLASHMOE_TESTS_SUPPORT_BARE_MODEL_H_
#define FLASHMOE_TESTS_SUPPORT_BARE_MODEL_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <utility>

#include "base/aligned_buffer.h"
#include "base/thread_pool.h"
#include "engine/model_files.h"
#include "experts/expert_cache.h"
#include "experts/policies/lru.h"
#include "kernels/cpu/cpu_ops.h"
#include "model/model.h"
#include "support/test_files.h"

namespace flashmoe::testing {

/// The shipped model without an engine around it: whatever a test wants between it and the disk.
class BareModel {
 public:
  struct Options {
    std::size_t slot_count = 0;
    std::size_t rows_max = 0;
    std::function<std::unique_ptr<ResidencyPolicy>(std::span<const std::size_t> expert_counts)>
        policy = make_lru_policy;
    std::unique_ptr<ReadQueue> queue = make_read_queue({}).value();
    std::function<std::unique_ptr<Ops>(ThreadPool&)> ops = [](ThreadPool& pool) {
      return make_cpu_ops(pool, {}).value();
    };
  };

  explicit BareModel(Options options) : ops_(options.ops(threads_)) {
    buffer_ = files_->load_dense(*options.queue, {}).value();
    const ExpertStore& store = files_->store();
    experts_ =
        ExpertCache::create(store, options.policy(store.expert_counts()), std::move(options.queue),
                            {.budget_bytes = options.slot_count * store.slot_size()})
            .value();
    model_ = Model::create(files_->take_network(), *ops_, experts_.get(), nullptr, options.rows_max)
                 .value();
  }

  Model& model() { return *model_; }
  ExpertCache& experts() { return *experts_; }
  const ExpertStore& store() const { return files_->store(); }

 private:
  std::unique_ptr<ModelFiles> files_ = ModelFiles::open(sprout_folder()).value();
  ThreadPool threads_{2};
  std::unique_ptr<Ops> ops_;
  AlignedBuffer buffer_;
  std::unique_ptr<ExpertCache> experts_;
  std::unique_ptr<Model> model_;
};

}  // namespace flashmoe::testing

#endif  // FLASHMOE_TESTS_SUPPORT_BARE_MODEL_H_
