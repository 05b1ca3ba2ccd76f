#include "engine/model_files.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "base/model_download.h"
#include "base/name_hash.h"
#include "base/thread_pool.h"
#include "engine/expert_index.h"
#include "engine/tied_head.h"
#include "kernels/cpu/cpu_targets.h"

namespace flashmoe {
namespace {

// Each is what was measured and a margin (docs/memory.md).

/// Code, libraries, thread stacks, the tokenizer's cache of pieces, the allocator's slack.
constexpr std::uint64_t kProcessBytes = std::uint64_t{16} << 20;

/// Memory of half a byte of tokenizer.json while it is parsed and after.
constexpr std::uint64_t kTokenizerHalfFactor = 5;

/// Memory of one entry of the package's tensor table, with its name and its part in the header
/// and in the index while those are parsed.
constexpr std::uint64_t kTensorEntryBytes = 400;

/// The books of the cache and its policy for one expert, and for its slot.
constexpr std::uint64_t kExpertEntryBytes = 256;

std::uint64_t process_bytes(const ModelPackage& package, const ExpertStore& store) {
  std::uint64_t bytes = kProcessBytes + package.tensors().size() * kTensorEntryBytes +
                        ThreadPool::available_core_count() * linear_scratch_size();
  bytes += kTokenizerHalfFactor * package.tokenizer_size() / 2;
  for (std::uint32_t i = 0; i < store.layer_count(); ++i) {
    const LayerId layer{i};
    if (store.expert_count(layer) == 0) continue;
    const std::size_t segments = store.segments({layer, ExpertId{0}}).size();
    bytes += store.expert_count(layer) * (segments * sizeof(ExpertSegment) + kExpertEntryBytes);
  }
  return bytes;
}

}  // namespace

ModelInfo model_info(const ModelFiles& files) {
  const ModelSpec& spec = files.spec();
  const RouterSpec& router = spec.moe().router;
  std::uint64_t file_bytes = 0;
  for (const std::filesystem::path& file : files.package().files()) {
    std::error_code failure;
    const std::uintmax_t size = std::filesystem::file_size(file, failure);
    if (!failure) file_bytes += size;
  }
  const bool is_gguf = files.package().spelling() == TensorSpelling::kGguf;
  return {.model_type = spec.model_type,
          .file_format = is_gguf ? "gguf" : "safetensors",
          .file_bytes = file_bytes,
          .vocab_size = spec.vocab_size,
          .layer_count = spec.layers.size(),
          .hidden_size = spec.hidden_size,
          .residual_streams = spec.streams(),
          .num_experts = router.num_experts,
          .num_experts_per_tok = router.num_experts_per_tok,
          .max_position_embeddings = spec.max_position_embeddings,
          .eos_token_ids = files.eos_token_ids(),
          .warnings = files.warnings()};
}

ModelFiles::ModelFiles(ModelPackage package) : package_(std::move(package)), loader_(package_) {}

Result<std::unique_ptr<ModelFiles>> ModelFiles::open(const std::filesystem::path& folder,
                                                     KvPrecision precision) {
  std::string remark;
  FM_ASSIGN_OR_RETURN(const std::filesystem::path found, find_model_folder(folder, &remark));
  FM_ASSIGN_OR_RETURN(ModelPackage package, ModelPackage::open(found));
  std::unique_ptr<ModelFiles> files(new ModelFiles(std::move(package)));
  if (!remark.empty()) files->warnings_.push_back(std::move(remark));
  FM_ASSIGN_OR_RETURN(ModelSpec spec, files->read_spec());
  const std::string& complaint = files->package_.complaint();
  const Status status = files->find_weights(std::move(spec), precision);
  if (complaint.empty() || status.ok()) {
    FM_RETURN_IF_ERROR(status);
    return files;
  }
  return error(StatusCode::kNotFound,
               "{}; download the model again, or what it lacks. The weight files that are there do "
               "not do: {}",
               complaint, status.message());
}

Result<ModelSpec> ModelFiles::read_spec() {
  FM_ASSIGN_OR_RETURN(const ModelFamily* const family, find_model_family(package_));
  FM_ASSIGN_OR_RETURN(ModelSpec spec, read_model_spec(*family, package_));
  names_ = find_tensor_names(*family, package_);
  FM_ASSIGN_OR_RETURN(eos_token_ids_, read_eos_token_ids(package_, spec.vocab_size));
  return spec;
}

Status ModelFiles::find_weights(ModelSpec spec, KvPrecision precision) {
  if (spec.tie_word_embeddings) {
    FM_ASSIGN_OR_RETURN(const bool has_own, has_own_head(package_, names_));
    spec.tie_word_embeddings = !has_own;
    if (has_own) {
      warnings_.push_back(fmt::format(
          "{}: tie_word_embeddings says that {} is the embedding, but the files hold another, "
          "which is used; if it is wrong, remove it from the files",
          package_.config_file(), names_.name(TensorId::kLmHead)));
    }
  }
  network_ = std::make_unique<Network>(std::move(spec), precision);
  if (!package_.complaint().empty()) {
    warnings_.push_back(
        fmt::format("{}; the weight files that are there hold all that the model needs, and are "
                    "used",
                    package_.complaint()));
  }
  FM_RETURN_IF_ERROR(network_->declare(names_, loader_));
  FM_ASSIGN_OR_RETURN(ExpertIndex index, build_expert_index(package_, names_, network_->spec()));
  layouts_ = std::move(index.layouts);
  network_->set_expert_layouts(layouts_);
  FM_ASSIGN_OR_RETURN(ExpertStore store,
                      ExpertStore::open(package_.files(), std::move(index.layers)));
  store_ = std::make_unique<ExpertStore>(std::move(store));

  footprint_.process_bytes = process_bytes(package_, *store_);
  footprint_.dense_bytes = loader_.size() + network_->derived_bytes();
  footprint_.io_bytes = kReadQueueBufferBytesMax + RowTables::buffer_bytes(loader_.tables());
  footprint_.expert_slots = slot_classes(*store_);
  return Status();
}

void ModelFiles::add_end_token(std::int32_t id) {
  if (id < 0 || static_cast<std::size_t>(id) >= spec().vocab_size) return;
  std::vector<std::int32_t>& ids = eos_token_ids_;
  if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
}

std::string ModelFiles::identity() const {
  const nlohmann::json& config = package_.config();
  std::string text = config.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  text += fmt::format("\n{}\n{}\n", store_->slot_size(), fmt::join(store_->expert_counts(), " "));
  for (const std::filesystem::path& path : package_.files()) {
    std::error_code ignored;
    const std::uintmax_t size = std::filesystem::file_size(path, ignored);
    const auto time = std::filesystem::last_write_time(path, ignored).time_since_epoch();
    text += fmt::format("{}\n{} {}\n", path.filename().string(), size, time.count());
  }
  return fmt::format("{:016x}", name_hash(text));
}

Result<AlignedBuffer> ModelFiles::load_dense(
    ReadQueue& queue, const std::function<void(std::uint64_t, std::uint64_t)>& on_progress) {
  std::vector<File> files;
  for (const std::filesystem::path& path : package_.files()) {
    FM_ASSIGN_OR_RETURN(File file, File::open(path, File::Mode::kDirect));
    files.push_back(std::move(file));
  }
  FM_ASSIGN_OR_RETURN(AlignedBuffer buffer, loader_.load(files, queue, on_progress));
  FM_RETURN_IF_ERROR(network_->finish().with_prefix(package_.path().string()));
  return buffer;
}

Result<std::unique_ptr<RowTables>> ModelFiles::open_tables(std::unique_ptr<ReadQueue> queue) const {
  return RowTables::open(loader_.tables(), package_.files(), std::move(queue));
}

}  // namespace flashmoe
