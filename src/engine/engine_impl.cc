#include "engine/engine_impl.h"

#include <chrono>
#include <utility>
#include <vector>

#include "base/memory_info.h"
#include "engine/model_files.h"
#include "engine/residency_modes.h"
#include "engine/session_impl.h"
#include "format/config_reader.h"
#include "kernels/cpu/cpu_ops.h"

namespace flashmoe {
namespace {

using Clock = std::chrono::steady_clock;

IoBackend backend_of(IoChoice choice) {
  switch (choice) {
    case IoChoice::kIoUring:
      return IoBackend::kIoUring;
    case IoChoice::kPread:
      return IoBackend::kPread;
    case IoChoice::kAuto:
      break;
  }
  return IoBackend::kAuto;
}

Result<SamplingOptions> read_recommended_sampling(const Checkpoint& checkpoint) {
  const ConfigReader reader = checkpoint.generation_config_reader();
  SamplingOptions sampling;
  FM_ASSIGN_OR_RETURN(const bool do_sample, reader.boolean_or("do_sample", false));
  if (!do_sample) return sampling;
  FM_ASSIGN_OR_RETURN(sampling.temperature, reader.number_or("temperature", 1.0, 0.0, 100.0));
  FM_ASSIGN_OR_RETURN(sampling.top_p, reader.number_or("top_p", 1.0, 0.0, 1.0));
  FM_ASSIGN_OR_RETURN(sampling.min_p, reader.number_or("min_p", 0.0, 0.0, 1.0));
  FM_ASSIGN_OR_RETURN(sampling.top_k, reader.uint_or("top_k", 0, 0, 1u << 24));
  return sampling;
}

/// A plan for the budget that the caller gives, or else for what is free.
Result<MemoryPlan> plan(const ModelFiles& files, const EngineOptions& options) {
  const bool is_given = options.memory_bytes != 0;
  Result<MemoryPlan> plan = plan_memory(
      files.config(), files.footprint(),
      {.budget_bytes = is_given ? options.memory_bytes : default_budget_bytes(read_memory_info()),
       .context = options.context,
       .prefill_chunk = options.prefill_chunk,
       .sessions = options.sessions,
       .capacity = options.residency.capacity});
  if (is_given || plan.ok() || plan.status().code() != StatusCode::kOutOfBudget) return plan;
  return plan.status().with_prefix(
      "no --memory is given, and four fifths of what is free are little");
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::open(const EngineOptions& options) {
  FM_ASSIGN_OR_RETURN(std::unique_ptr<EngineImpl> engine, EngineImpl::open(options));
  return std::unique_ptr<Engine>(std::move(engine));
}

Result<std::unique_ptr<EngineImpl>> EngineImpl::open(const EngineOptions& options) {
  std::unique_ptr<EngineImpl> engine(new EngineImpl());
  FM_RETURN_IF_ERROR(engine->load(options));
  return engine;
}

Status EngineImpl::load(const EngineOptions& options) {
  const Clock::time_point start = Clock::now();
  FM_RETURN_IF_ERROR(check_residency(options.residency));
  const bool is_resident = options.residency.residency == Residency::kResident;
  if (!options.resident_set_file.empty() && !options.residency.reads_ahead()) {
    return error(StatusCode::kInvalidArgument,
                 "--resident-set: nothing can be restored with --residency {} --on-miss {}",
                 to_string(options.residency.residency), to_string(options.residency.on_miss));
  }
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<ModelFiles> files, ModelFiles::open(options.model));
  const ModelConfig& config = files->config();
  info_ = model_info(config);
  sessions_max_ = options.sessions;
  FM_ASSIGN_OR_RETURN(recommended_sampling_, read_recommended_sampling(files->checkpoint()));
  FM_ASSIGN_OR_RETURN(plan_, plan(*files, options));
  FM_RETURN_IF_ERROR(check_residency_fits(options.residency, plan_));

  if (!options.routing_trace.empty()) {
    FM_ASSIGN_OR_RETURN(trace_routing_, TraceRouting::create(options.routing_trace, config));
  }
  if (!options.record_trace.empty()) {
    FM_ASSIGN_OR_RETURN(trace_recording_, TraceRecording::create(options.record_trace, config));
  }

  // Ids alone can do without a tokenizer; whoever asks for text then hears why there is none.
  Result<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::load(options.model);
  if (tokenizer.ok()) {
    tokenizer_ = std::move(tokenizer).value();
  } else if (tokenizer.status().code() == StatusCode::kNotFound) {
    tokenizer_status_ = tokenizer.status();
  } else {
    return tokenizer.status();
  }
  Result<ChatTemplate> chat_template = ChatTemplate::load(options.model);
  if (chat_template.ok()) {
    chat_template_ = std::move(chat_template).value();
  } else {
    chat_template_status_ = chat_template.status();
  }

  FM_ASSIGN_OR_RETURN(
      threads_, ThreadPool::create(options.threads != 0 ? options.threads
                                                        : ThreadPool::available_core_count()));
  FM_ASSIGN_OR_RETURN(ops_, make_cpu_ops(*threads_, {}));
  FM_ASSIGN_OR_RETURN(std::unique_ptr<ReadQueue> queue,
                      make_read_queue({.backend = backend_of(options.io)}));
  io_backend_ = queue->backend();
  FM_ASSIGN_OR_RETURN(ModelFiles::DenseWeights dense,
                      files->load_dense(*queue, options.on_progress));
  dense_ = std::move(dense.buffer);
  bytes_read_loading_ = queue->statistics().bytes_read;
  if (plan_.expert_count > 0) {
    const bool keeps_residents = !options.resident_set_file.empty();
    std::string identity = keeps_residents ? files->identity() : std::string();
    store_ = files->take_store();
    FM_ASSIGN_OR_RETURN(
        cache_, ExpertCache::create(
                    *store_, make_policy(options.residency.residency, store_->expert_counts()),
                    std::move(queue), {.budget_bytes = plan_.expert_bytes}));
    if (keeps_residents) {
      resident_set_ = std::make_unique<ResidentSetKeeper>(
          ResidentSetKeeper::Options{.path = options.resident_set_file,
                                     .identity = std::move(identity),
                                     .on_warning = options.on_warning},
          *store_, *cache_);
    }
    if (MemoryPressureProbe probe; probe.available()) {
      pressure_.emplace(std::move(probe), *cache_, config.moe.num_experts_per_tok);
    }
  }
  FM_ASSIGN_OR_RETURN(model_, Model::create(config, std::move(dense.weights), files->layouts(),
                                            *ops_, cache_.get(), plan_.prefill_chunk));
  model_->set_routing(trace_recording_.get(), trace_routing_.get());
  model_->set_speculation(options.speculation && options.residency.reads_ahead());
  if (const std::optional<MissOptions> misses = miss_options(options.residency);
      misses && cache_ != nullptr) {
    miss_handler_ = std::make_unique<MissHandler>(*cache_, config.moe.num_experts,
                                                  config.moe.num_experts_per_tok, *misses);
    model_->set_miss_handler(miss_handler_.get());
  }
  if (is_resident && cache_ != nullptr) FM_RETURN_IF_ERROR(read_every_expert(options.on_progress));
  load_seconds_ = std::chrono::duration<double>(Clock::now() - start).count();
  return Status();
}

/// Leaves all experts in their slots.
Status EngineImpl::read_every_expert(
    const std::function<void(std::uint64_t done, std::uint64_t total)>& on_progress) {
  const std::vector<std::size_t> counts = store_->expert_counts();
  std::uint64_t done = 0;
  for (std::uint32_t l = 0; l < counts.size(); ++l) {
    std::vector<ExpertId> ids;
    for (std::size_t e = 0; e < counts[l]; ++e) ids.push_back({static_cast<std::uint16_t>(e)});
    std::vector<ExpertLease> leases(ids.size());
    FM_RETURN_IF_ERROR(cache_->acquire(/*step=*/0, LayerId{l}, ids, leases));
    for (const ExpertLease& lease : leases) {
      FM_RETURN_IF_ERROR(lease.wait().status());
      if (on_progress) on_progress(++done, plan_.expert_count);
    }
  }
  return Status();
}

EngineStatistics EngineImpl::statistics() const {
  EngineStatistics statistics;
  statistics.load_seconds = load_seconds_;
  statistics.bytes_read = bytes_read_loading_;
  const StepTimes& times = model_->times();
  statistics.steps = times.step_count;
  statistics.mixer_seconds = times.mixer_seconds;
  statistics.router_seconds = times.router_seconds;
  statistics.mlp_seconds = times.mlp_seconds - times.router_seconds;
  statistics.output_seconds = times.output_seconds;
  statistics.guess_seconds = times.guess_seconds;
  statistics.expert_bound_seconds = times.expert_bound_seconds;
  if (cache_ == nullptr) return statistics;
  if (miss_handler_ != nullptr) {
    const MissStatistics& misses = miss_handler_->statistics();
    statistics.routed_requests = misses.routed_count;
    statistics.routed_fallbacks = misses.miss_count;
    statistics.routed_reads = misses.read_count;
    statistics.replaced_weight_share =
        misses.routed_weight > 0 ? misses.replaced_weight / misses.routed_weight : 0;
  }
  const ExpertCacheStatistics experts = cache_->statistics();
  statistics.expert_hits = experts.hit_count;
  statistics.expert_misses = experts.miss_count;
  statistics.expert_evictions = experts.eviction_count;
  statistics.expert_limit_evictions = experts.limit_eviction_count;
  statistics.expert_slot_limit = cache_->slot_limit();
  if (pressure_) {
    statistics.cache_shrinks = pressure_->shrink_count();
    statistics.cache_growths = pressure_->growth_count();
  }
  statistics.experts_restored = experts.prefetch_count;
  statistics.speculative_reads = experts.speculative_read_count;
  statistics.speculative_hits = experts.speculative_hit_count;
  statistics.expert_reading_seconds = experts.reading_seconds;
  statistics.expert_wait_seconds = experts.wait_seconds;
  statistics.mlp_seconds -= experts.wait_seconds;
  statistics.bytes_read = cache_->read_statistics().bytes_read;
  return statistics;
}

std::uint64_t EngineImpl::huge_page_bytes() const {
  return dense_.huge_page_bytes() + (cache_ == nullptr ? 0 : cache_->huge_page_bytes());
}

Result<std::vector<std::int32_t>> EngineImpl::tokenize(std::string_view text) const {
  FM_RETURN_IF_ERROR(tokenizer_status_);
  return tokenizer_->encode(text);
}

Result<std::string> EngineImpl::detokenize(std::span<const std::int32_t> ids) const {
  FM_RETURN_IF_ERROR(tokenizer_status_);
  return tokenizer_->decode(ids);
}

Result<std::string> EngineImpl::render_chat(std::string_view messages_json,
                                            bool add_generation_prompt) const {
  FM_RETURN_IF_ERROR(chat_template_status_);
  const auto messages = nlohmann::ordered_json::parse(messages_json, nullptr, false);
  if (!messages.is_array()) {
    return error(StatusCode::kInvalidArgument, "the messages are not a JSON array");
  }
  return chat_template_->render(messages, nullptr, add_generation_prompt,
                                nlohmann::ordered_json::object());
}

Result<std::unique_ptr<Session>> EngineImpl::new_session() {
  if (sessions_open_ >= sessions_max_) {
    return error(StatusCode::kOutOfBudget,
                 "{} sessions are open already, as many as the budget was planned for",
                 sessions_open_);
  }
  FM_ASSIGN_OR_RETURN(SequenceState state, SequenceState::create(model_->config()));
  ++sessions_open_;
  const SessionResources resources = {.model = model_.get(),
                                      .experts = cache_.get(),
                                      .pressure = pressure_ ? &*pressure_ : nullptr,
                                      .resident_set = resident_set_.get(),
                                      .tokenizer = tokenizer_.get(),
                                      .context = plan_.context};
  return std::unique_ptr<Session>(
      std::make_unique<SessionImpl>(resources, std::move(state), [this] { --sessions_open_; }));
}

Status EngineImpl::finish_trace() {
  if (trace_recording_ == nullptr) {
    return error(StatusCode::kInvalidArgument, "no routing trace is being recorded");
  }
  model_->set_routing(nullptr, trace_routing_.get());
  Status status = trace_recording_->finish();
  trace_recording_ = nullptr;
  return status;
}

}  // namespace flashmoe
