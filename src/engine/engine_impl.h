#ifndef FLASHMOE_ENGINE_ENGINE_IMPL_H_
#define FLASHMOE_ENGINE_ENGINE_IMPL_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/aligned_buffer.h"
#include "base/thread_pool.h"
#include "engine/expert_residency.h"
#include "engine/model_files.h"
#include "engine/pressure_watch.h"
#include "engine/session_impl.h"
#include "engine/trace_routing.h"
#include "experts/expert_cache.h"
#include "experts/resident_set_keeper.h"
#include "flashmoe/engine.h"
#include "kernels/ops.h"
#include "model/model.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace flashmoe {

/// The Engine: owns everything that a loaded model consists of. Members are destroyed in reverse
/// order, users before used.
class EngineImpl : public Engine {
 public:
  static Result<std::unique_ptr<EngineImpl>> open(const EngineOptions& options);

  const ModelInfo& info() const override { return info_; }
  const MemoryPlan& memory_plan() const override { return plan_; }
  EngineStatistics statistics() const override;
  std::string_view cpu_target() const override { return ops_->target(); }
  std::string_view io_backend() const override { return to_string(io_backend_); }
  std::uint64_t huge_page_bytes() const override;

  Result<std::vector<std::int32_t>> tokenize(std::string_view text,
                                             std::size_t token_max) const override;
  Result<std::vector<std::int32_t>> tokenize_raw(std::string_view text,
                                                 std::size_t token_max) const override;
  Result<std::vector<std::int32_t>> tokenize(const ChatPrompt& prompt,
                                             std::size_t token_max) const override;
  Result<std::string> detokenize(std::span<const std::int32_t> ids) const override;
  std::string token_bytes(std::int32_t id) const override;
  bool is_special_token(std::int32_t id) const override;
  Result<ChatPrompt> render_chat(std::string_view messages_json,
                                 const ChatRenderOptions& options) const override;
  SamplingOptions recommended_sampling() const override { return recommended_sampling_; }
  Status set_residency(const ResidencyOptions& options) override;
  const ResidencyOptions& residency() const override { return residency_options_; }
  Result<std::unique_ptr<Session>> new_session() override;
  Result<std::unique_ptr<Scheduler>> new_scheduler(const SchedulerOptions& options) override;
  Status finish_trace() override;
  Status finish_profile() override;

 private:
  EngineImpl() = default;
  Status load(const EngineOptions& options);
  Status load_experts(const EngineOptions& options, std::unique_ptr<ReadQueue> queue,
                      ModelFiles& files);
  ExpertResidency::Parts parts();
  SessionResources session_resources();

  ModelInfo info_;
  MemoryPlan plan_;
  SamplingOptions recommended_sampling_;
  std::unique_ptr<Tokenizer> tokenizer_;  // null where the model folder has none
  Status tokenizer_status_;
  std::optional<ChatTemplate> chat_template_;
  Status chat_template_status_;
  std::unique_ptr<ThreadPool> threads_;
  std::unique_ptr<Ops> ops_;
  std::unique_ptr<RowTables> tables_;  // null: the model has none
  std::unique_ptr<ExpertStore> store_;
  std::unique_ptr<ExpertCache> cache_;
  std::optional<PressureWatch> pressure_;            // none: nothing to watch
  std::unique_ptr<ResidentSetKeeper> resident_set_;  // null: nothing is kept
  AlignedBuffer dense_;
  std::unique_ptr<TraceRouting> trace_routing_;      // null: the routers decide
  std::unique_ptr<TraceRecording> trace_recording_;  // null: nothing is recorded
  std::unique_ptr<RoutingCounter> profile_counter_;  // null: no profile is recorded
  std::filesystem::path profile_path_;
  RoutingObservers observers_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<ExpertResidency> residency_;  // null: the model has no routed experts
  ResidencyOptions residency_options_;
  bool speculation_ = true;
  std::size_t snapshots_ = 0;  // of each session's recurrent state, that the budget has room for
  std::string identity_;       // of the model's files
  IoBackend io_backend_ = IoBackend::kAuto;
  double load_seconds_ = 0;
  std::uint64_t bytes_read_loading_ = 0;
  std::size_t sessions_max_ = 1;
  std::size_t sessions_open_ = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_ENGINE_IMPL_H_
