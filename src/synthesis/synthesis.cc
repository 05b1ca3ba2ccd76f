#include "flashmoe/synthesis.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <functional>
#include <memory>
#include <system_error>
#include <utility>

#include "base/thread_pool.h"
#include "base/units.h"
#include "format/gguf_config_writer.h"
#include "format/gguf_writer.h"
#include "format/model_package.h"
#include "format/shard_plan.h"
#include "model/model_family.h"
#include "synthesis/geometries.h"
#include "synthesis/gguf_mixture.h"
#include "synthesis/gguf_modules.h"
#include "synthesis/gguf_words.h"
#include "synthesis/model_texts.h"
#include "synthesis/module_list.h"
#include "synthesis/shard_writer.h"

namespace flashmoe {
namespace {

namespace fs = std::filesystem;

/// Everything that will be written, but for the random bytes.
struct Plan {
  SynthesisSummary summary;
  std::vector<SyntheticModule> modules;
  std::vector<Shard> shards;    // of a folder
  std::vector<TextFile> texts;  // of a folder
  GgufValues gguf_values;       // of a GGUF file
};

/// The GGUF file's part of a plan, but for its sizes.
Status plan_gguf(const SynthesisOptions& options, const ModelFamily& family, const ModelSpec& spec,
                 std::span<const std::int32_t> eos_token_ids, Plan& plan) {
  FM_ASSIGN_OR_RETURN(const GgufMixture* mixture, find_gguf_mixture(options.gguf));
  FM_RETURN_IF_ERROR(check_gguf_holds(spec.model_type));
  FM_ASSIGN_OR_RETURN(plan.modules, list_gguf_modules(gguf_tensor_names(family), spec, *mixture));
  FM_ASSIGN_OR_RETURN(plan.gguf_values,
                      gguf_values(options.folder, spec, plan.modules, *mixture, eos_token_ids));
  return Status();
}

Result<Plan> make_plan(const SynthesisOptions& options) {
  if (options.shard_bytes_max == 0) {
    return error(StatusCode::kInvalidArgument, "shards must be above 0 bytes");
  }
  FM_ASSIGN_OR_RETURN(const nlohmann::json json, geometry_config(options));
  // Messages about fields name the file they come from.
  const ModelPackage planned = ModelPackage::planned(
      options.config.empty() ? fs::path(options.like) : options.config.parent_path(), json,
      generation_config(json));
  FM_ASSIGN_OR_RETURN(const ModelFamily* family, find_model_family(planned));
  FM_ASSIGN_OR_RETURN(const ModelSpec spec, read_model_spec(*family, planned));

  Plan plan;
  FM_ASSIGN_OR_RETURN(const std::vector<std::int32_t> eos_token_ids,
                      read_eos_token_ids(planned, spec.vocab_size));
  const bool is_gguf = !options.gguf.empty();
  if (is_gguf) {
    FM_RETURN_IF_ERROR(plan_gguf(options, *family, spec, eos_token_ids, plan));
  } else {
    FM_ASSIGN_OR_RETURN(plan.modules, list_modules(mlx_tensor_names(*family, planned), spec));
  }
  plan.summary = {.model_type = spec.model_type,
                  .layer_count = spec.layers.size(),
                  .num_experts = spec.moe().router.num_experts};
  std::vector<std::uint64_t> sizes;
  for (const SyntheticModule& module : plan.modules) {
    sizes.push_back(module.size());
    plan.summary.tensor_count += module.tensors.size();
    if (__builtin_add_overflow(plan.summary.tensor_bytes, module.size(),
                               &plan.summary.tensor_bytes)) {
      return error(StatusCode::kInvalidArgument, "no disk holds a model of this geometry");
    }
  }
  plan.summary.file_count = 1;
  if (is_gguf) return plan;
  plan.shards = plan_shards(sizes, options.shard_bytes_max);
  plan.summary.file_count = plan.shards.size();
  FM_ASSIGN_OR_RETURN(plan.texts,
                      model_texts(json, plan.modules, plan.shards, spec.vocab_size, eos_token_ids));
  return plan;
}

/// `folder`, through symbolic links, if it may become the model: absent, or there and empty.
Result<fs::path> check_target(const fs::path& folder) {
  std::error_code failure;
  const fs::file_status status = fs::status(folder, failure);
  if (status.type() == fs::file_type::not_found) {
    // Without the separator that may end it, since a sibling's name is made of it.
    const fs::path plain = folder.has_filename() ? folder : folder.parent_path();
    return plain;
  }
  if (!failure && fs::is_directory(status) && fs::is_empty(folder, failure) && !failure) {
    return fs::canonical(folder, failure);
  }
  return error(StatusCode::kInvalidArgument,
               "{}: exists and is not an empty folder; give another name, or remove it",
               folder.string());
}

/// The GGUF file, if it may be written: its name is one that models are found by, and free.
Status check_file(const fs::path& file) {
  if (file.extension() != ".gguf") {
    return error(StatusCode::kInvalidArgument,
                 "{}: a GGUF file is written; give it a name that ends in .gguf", file.string());
  }
  std::error_code failure;
  if (fs::symlink_status(file, failure).type() == fs::file_type::not_found) return Status();
  return error(StatusCode::kInvalidArgument, "{}: exists; give another name, or remove it",
               file.string());
}

Status check_room(const fs::path& folder, std::uint64_t size) {
  const fs::path parent = folder.has_parent_path() ? folder.parent_path() : fs::path(".");
  std::error_code failure;
  const fs::space_info space = fs::space(parent, failure);
  if (failure) {
    return error(StatusCode::kIo, "{}: look for room: {}; check that the folder exists",
                 parent.string(), failure.message());
  }
  constexpr std::uint64_t kSlack = std::uint64_t{64} << 20;  // headers, texts, blocks not full
  if (space.available >= kSlack && space.available - kSlack >= size) return Status();
  return error(StatusCode::kIo,
               "{}: the weights take {}, the disk has room for {}; make room, write to another "
               "disk, or ask for fewer layers or experts",
               folder.string(), format_size(size), format_size(space.available));
}

/// A folder beside the target that is removed with all it holds unless it takes the target's place.
class PartialFolder {
 public:
  explicit PartialFolder(const fs::path& target)
      : target_(target), path_(fmt::format("{}.partial-{}", target.string(), getpid())) {}
  PartialFolder(const PartialFolder&) = delete;
  PartialFolder& operator=(const PartialFolder&) = delete;
  ~PartialFolder() {
    std::error_code ignored;
    if (is_made_) fs::remove_all(path_, ignored);
  }

  const fs::path& path() const { return path_; }

  Status make() {
    std::error_code failure;
    is_made_ = fs::create_directory(path_, failure);
    if (is_made_) return Status();
    return error(StatusCode::kIo, "{}: make the folder: {}", path_.string(),
                 failure ? failure.message() : "it exists; remove it");
  }

  Status take_name() {
    std::error_code failure;
    fs::rename(path_, target_, failure);  // onto an empty folder, if there is one
    if (failure) {
      return error(StatusCode::kIo, "{}: put the finished folder in its place: {}",
                   target_.string(), failure.message());
    }
    is_made_ = false;
    return Status();
  }

 private:
  fs::path target_;
  fs::path path_;
  bool is_made_ = false;
};

Status write_text(const fs::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (file.good()) return Status();
  return error(StatusCode::kIo, "{}: write {}: {}; make room, or write to another disk",
               path.string(), format_size(text.size()), std::generic_category().message(errno));
}

Status write_folder(const fs::path& target, const Plan& plan, ShardWriter& writer,
                    const std::function<bool(std::uint64_t)>& on_written) {
  PartialFolder partial(target);
  FM_RETURN_IF_ERROR(partial.make());
  for (const auto& [name, text] : plan.texts) {
    FM_RETURN_IF_ERROR(write_text(partial.path() / name, text));
  }
  const std::span<const SyntheticModule> modules = plan.modules;
  for (const Shard& shard : plan.shards) {
    FM_RETURN_IF_ERROR(writer.write(partial.path() / shard.file_name,
                                    modules.subspan(shard.begin, shard.end - shard.begin),
                                    on_written));
  }
  return partial.take_name();
}

}  // namespace

Result<SynthesisSummary> plan_synthesis(const SynthesisOptions& options) {
  FM_ASSIGN_OR_RETURN(const Plan plan, make_plan(options));
  return plan.summary;
}

Result<SynthesisSummary> synthesize_checkpoint(const SynthesisOptions& options) {
  FM_ASSIGN_OR_RETURN(const Plan plan, make_plan(options));
  const bool is_gguf = !options.gguf.empty();
  fs::path target = options.folder;
  if (is_gguf) {
    FM_RETURN_IF_ERROR(check_file(target));
  } else {
    FM_ASSIGN_OR_RETURN(target, check_target(target));
  }
  FM_RETURN_IF_ERROR(check_room(target, plan.summary.tensor_bytes));
  FM_ASSIGN_OR_RETURN(
      const std::unique_ptr<ThreadPool> threads,
      ThreadPool::create(options.threads != 0 ? options.threads
                                              : ThreadPool::available_core_count()));
  FM_ASSIGN_OR_RETURN(ShardWriter writer, ShardWriter::create(*threads, options.seed));
  std::uint64_t done = 0;
  const auto on_written = [&](std::uint64_t written) {
    done += written;
    return !options.on_progress || options.on_progress(done, plan.summary.tensor_bytes);
  };
  FM_RETURN_IF_ERROR(is_gguf ? writer.write_gguf(target, plan.gguf_values, plan.modules, on_written)
                             : write_folder(target, plan, writer, on_written));
  return plan.summary;
}

}  // namespace flashmoe
