#ifndef FLASHMOE_ENGINE_MODEL_FILES_H_
#define FLASHMOE_ENGINE_MODEL_FILES_H_

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/dense_loader.h"
#include "engine/memory_planner.h"
#include "experts/expert_store.h"
#include "flashmoe/engine.h"
#include "format/model_package.h"
#include "model/expert_layout.h"
#include "model/model_family.h"
#include "model/network.h"

namespace flashmoe {

/// Everything about a model folder that its headers tell: what there is, where it lies, and what
/// loading it will take. Not movable: the loader refers to its neighbours.
class ModelFiles {
 public:
  /// Opens and checks the folder; reads no weights but a second head of a model with a tied one.
  /// `precision`: of the network's keys and values. Errors name the file, the field or tensor, and
  /// the remedy.
  static Result<std::unique_ptr<ModelFiles>> open(const std::filesystem::path& folder,
                                                  KvPrecision precision = KvPrecision::kF32);

  const ModelPackage& package() const { return package_; }
  /// How the model's tensors are called here.
  const TensorTable& names() const { return names_; }
  const ModelSpec& spec() const { return network_->spec(); }
  const Network& network() const { return *network_; }
  /// The tokens that end a text.
  const std::vector<std::int32_t>& eos_token_ids() const { return eos_token_ids_; }
  const std::vector<ExpertLayout>& layouts() const { return layouts_; }
  const ExpertStore& store() const { return *store_; }
  const ModelFootprint& footprint() const { return footprint_; }
  /// What is wrong with the files without harm.
  const std::vector<std::string>& warnings() const { return warnings_; }

  /// Counts `id` among the tokens that end a text, if the model can pick it.
  void add_end_token(std::int32_t id);

  /// A short text that tells this model and state of its files from any other: of the config, the
  /// experts, and the shards' names, sizes and times. Cheap: reads no weights. Call it before
  /// take_store().
  std::string identity() const;

  /// Reads the network's dense weights through `queue`. Call once. The buffer must outlive it.
  Result<AlignedBuffer> load_dense(
      ReadQueue& queue, const std::function<void(std::uint64_t, std::uint64_t)>& on_progress);

  /// What stays on disk of tables whose rows the model reads, where it has any.
  Result<std::unique_ptr<RowTables>> open_tables(std::unique_ptr<ReadQueue> queue) const;
  bool has_tables() const { return !loader_.tables().empty(); }

  /// Give up the network, loaded, and the store, for the engine that goes on without the rest.
  std::unique_ptr<Network> take_network() { return std::move(network_); }
  std::unique_ptr<ExpertStore> take_store() { return std::move(store_); }

 private:
  explicit ModelFiles(ModelPackage package);
  Result<ModelSpec> read_spec();
  Status find_weights(ModelSpec spec, KvPrecision precision);

  ModelPackage package_;
  TensorTable names_;
  std::vector<ExpertLayout> layouts_;
  std::unique_ptr<ExpertStore> store_;
  std::unique_ptr<Network> network_;
  std::vector<std::int32_t> eos_token_ids_;
  DenseLoader loader_;
  ModelFootprint footprint_;
  std::vector<std::string> warnings_;
};

/// The part of a config that callers see, and what is odd about the files.
ModelInfo model_info(const ModelFiles& files);

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_MODEL_FILES_H_
