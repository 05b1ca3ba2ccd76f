#include "engine/engine_impl.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>
#include <vector>

#include "base/memory_info.h"
#include "engine/model_files.h"
#include "engine/residency_modes.h"
#include "engine/scheduler_impl.h"
#include "engine/session_impl.h"
#include "engine/text_files.h"
#include "format/config_reader.h"
#include "kernels/cpu/cpu_ops.h"

namespace flashmoe {
namespace {

using Clock = std::chrono::steady_clock;

/// What a server's requests may take of their memory: a template that is rendered, and the pieces
/// of a long word while they are merged, beside each other in two threads.
constexpr std::uint64_t kRenderShare = 4;
constexpr std::uint64_t kRequestBytesPerWordByte = 400;

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

Result<SamplingOptions> read_recommended_sampling(const ModelPackage& package) {
  const ConfigReader reader = package.generation_config_reader();
  SamplingOptions sampling;
  FM_ASSIGN_OR_RETURN(sampling.repeat_penalty,
                      reader.number_or("repetition_penalty", 1.0, 0.01, 100.0));
  // Those who recommend one mean all tokens before, the prompt's included.
  if (sampling.repeat_penalty != 1) sampling.repeat_window = ~std::size_t{0};
  FM_ASSIGN_OR_RETURN(const bool do_sample, reader.boolean_or("do_sample", false));
  if (!do_sample) {
    // Nobody draws by them. What is no number at all is a slip, which nobody would notice.
    constexpr double kAny = std::numeric_limits<double>::max();
    for (const char* field : {"temperature", "top_p", "min_p", "top_k"}) {
      FM_RETURN_IF_ERROR(reader.number_or(field, 0, -kAny, kAny).status());
    }
    return sampling;
  }
  FM_ASSIGN_OR_RETURN(sampling.temperature, reader.number_or("temperature", 1.0, 0.0, 100.0));
  FM_ASSIGN_OR_RETURN(sampling.top_p, reader.number_or("top_p", 1.0, 0.0, 1.0));
  FM_ASSIGN_OR_RETURN(sampling.min_p, reader.number_or("min_p", 0.0, 0.0, 1.0));
  FM_ASSIGN_OR_RETURN(sampling.top_k, reader.uint_or("top_k", 0, 0, 1u << 24));
  return sampling;
}

/// Copies of a session's recurrent state that a mode needs beside it: discovery goes back to where
/// it began, a change of subject also to before the prompt.
std::size_t snapshots_of(const ResidencyOptions& options) {
  return options.changes_its_set() ? 2 : options.has_fixed_set() ? 1 : 0;
}

/// A plan for the budget that the caller gives, or else for what is free.
Result<MemoryPlan> plan(const ModelFiles& files, const EngineOptions& options,
                        std::size_t snapshots) {
  const bool is_given = options.memory_bytes != 0;
  Result<MemoryPlan> plan = plan_memory(
      files.network(), files.footprint(),
      {.budget_bytes = is_given ? options.memory_bytes : default_budget_bytes(read_memory_info()),
       .context = options.context != 0
                      ? options.context
                      : std::min(files.spec().max_position_embeddings, options.context_default),
       .prefill_chunk = options.prefill_chunk,
       .sessions = options.sessions,
       .prefix_cache_bytes = options.prefix_cache_bytes,
       .request_bytes = options.request_bytes,
       .snapshots = snapshots,
       .capacity = options.residency.capacity});
  if (is_given || plan.ok() || plan.status().code() != StatusCode::kOutOfBudget) return plan;
  return plan.status().with_prefix(
      "no --memory is given, and four fifths of what is free are little");
}

}  // namespace

std::string_view to_string(KvPrecision precision) {
  switch (precision) {
    case KvPrecision::kBF16:
      return "bf16";
    case KvPrecision::kInt8:
      return "int8";
    case KvPrecision::kF32:
      break;
  }
  return "f32";
}

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
  if (!options.resident_set_file.empty() && !options.residency.reads_ahead()) {
    return error(StatusCode::kInvalidArgument,
                 "--resident-set: nothing can be restored with --residency {} --on-miss {}",
                 to_string(options.residency.residency), to_string(options.residency.miss_rule()));
  }
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<ModelFiles> files,
                      ModelFiles::open(options.model, options.kv_precision));
  info_ = model_info(*files);
  sessions_max_ = options.sessions;
  FM_ASSIGN_OR_RETURN(recommended_sampling_, read_recommended_sampling(files->package()));
  residency_options_ = options.residency;
  speculation_ = options.speculation;
  snapshots_ = options.may_change_residency ? 2 : snapshots_of(options.residency);
  FM_ASSIGN_OR_RETURN(plan_, plan(*files, options, snapshots_));
  FM_RETURN_IF_ERROR(check_residency_fits(options.residency, plan_));
  if (options.memory_bytes != 0) {
    std::optional<std::string> warning = warn_of_machine(plan_, read_memory_info());
    if (warning) info_.warnings.push_back(std::move(*warning));
  }
  if (plan_.expert_count == 0 && options.residency.residency != Residency::kExact) {
    return error(StatusCode::kInvalidArgument, "--residency {}: this model has no routed experts",
                 to_string(options.residency.residency));
  }
  if (plan_.expert_count == 0 && !options.record_profile.empty()) {
    return error(StatusCode::kInvalidArgument, "this model has no routed experts to profile");
  }

  if (!options.routing_trace.empty()) {
    FM_ASSIGN_OR_RETURN(trace_routing_, TraceRouting::create(options.routing_trace, files->spec()));
  }
  if (!options.record_trace.empty()) {
    FM_ASSIGN_OR_RETURN(trace_recording_,
                        TraceRecording::create(options.record_trace, files->spec()));
  }

  FM_ASSIGN_OR_RETURN(TextFiles text, load_text_files(*files));
  info_.eos_token_ids = files->eos_token_ids();
  tokenizer_ = std::move(text.tokenizer);
  tokenizer_status_ = std::move(text.tokenizer_status);
  chat_template_ = std::move(text.chat_template);
  chat_template_status_ = std::move(text.chat_template_status);
  if (tokenizer_ != nullptr && plan_.request_bytes != 0) {
    tokenizer_->set_word_size_max(
        static_cast<std::size_t>(plan_.request_bytes / kRequestBytesPerWordByte));
  }
  if (tokenizer_ != nullptr && chat_template_.has_value()) {
    chat_template_->learn_reply_marks(*tokenizer_, info_.eos_token_ids);
  }

  FM_ASSIGN_OR_RETURN(
      threads_, ThreadPool::create(options.threads != 0 ? options.threads
                                                        : ThreadPool::available_core_count()));
  FM_ASSIGN_OR_RETURN(ops_, make_cpu_ops(*threads_, {}));
  FM_ASSIGN_OR_RETURN(std::unique_ptr<ReadQueue> queue,
                      make_read_queue({.backend = backend_of(options.io)}));
  io_backend_ = queue->backend();
  FM_ASSIGN_OR_RETURN(dense_, files->load_dense(*queue, options.on_progress));
  bytes_read_loading_ = queue->statistics().bytes_read;
  identity_ = files->identity();
  info_.identity = identity_;
  if (plan_.expert_count > 0) {
    FM_RETURN_IF_ERROR(load_experts(options, std::move(queue), *files));
  }
  if (files->has_tables()) {
    FM_ASSIGN_OR_RETURN(std::unique_ptr<ReadQueue> rows,
                        make_read_queue({.backend = backend_of(options.io)}));
    FM_ASSIGN_OR_RETURN(tables_, files->open_tables(std::move(rows)));
  }
  FM_ASSIGN_OR_RETURN(model_, Model::create(files->take_network(), *ops_, cache_.get(),
                                            tables_.get(), plan_.prefill_chunk));
  if (trace_recording_ != nullptr) observers_.add(*trace_recording_);
  if (profile_counter_ != nullptr) observers_.add(*profile_counter_);
  model_->set_routing(&observers_, trace_routing_.get());
  if (residency_ != nullptr) {
    FM_RETURN_IF_ERROR(residency_->attach(parts(), speculation_, options.on_progress));
  }
  load_seconds_ = std::chrono::duration<double>(Clock::now() - start).count();
  return Status();
}

/// What experts need before there is a model.
Status EngineImpl::load_experts(const EngineOptions& options, std::unique_ptr<ReadQueue> queue,
                                ModelFiles& files) {
  store_ = files.take_store();
  const RouterSpec& router = files.spec().moe().router;
  FM_ASSIGN_OR_RETURN(
      residency_, ExpertResidency::create(residency_options_, identity_, store_->expert_counts()));
  FM_ASSIGN_OR_RETURN(cache_,
                      ExpertCache::create(*store_, residency_->make_policy(), std::move(queue),
                                          {.budget_bytes = plan_.expert_bytes,
                                           .experts_at_once = router.num_experts_per_tok,
                                           .slots_max = plan_.expert_slots}));
  if (!options.record_profile.empty()) {
    profile_counter_ = std::make_unique<RoutingCounter>(store_->expert_counts());
    profile_path_ = options.record_profile;
  }
  if (!options.resident_set_file.empty()) {
    resident_set_ = std::make_unique<ResidentSetKeeper>(
        ResidentSetKeeper::Options{.path = options.resident_set_file,
                                   .identity = identity_,
                                   .on_warning = options.on_warning},
        *store_, *cache_);
  }
  if (MemoryPressureProbe probe; probe.available()) {
    pressure_.emplace(std::move(probe), *cache_, router.num_experts_per_tok);
  }
  return Status();
}

ExpertResidency::Parts EngineImpl::parts() {
  return {.cache = cache_.get(),
          .model = model_.get(),
          .observers = &observers_,
          .store = store_.get()};
}

Status EngineImpl::set_residency(const ResidencyOptions& options) {
  if (residency_ == nullptr) {
    return error(StatusCode::kInvalidArgument, "--residency: this model has no routed experts");
  }
  FM_ASSIGN_OR_RETURN(std::unique_ptr<ExpertResidency> next,
                      ExpertResidency::create(options, identity_, store_->expert_counts()));
  FM_RETURN_IF_ERROR(check_residency_fits(options, plan_));
  if (options.capacity != residency_options_.capacity) {
    return error(StatusCode::kInvalidArgument,
                 "--capacity {}: the cache was made for {}; open the model anew", options.capacity,
                 residency_options_.capacity);
  }
  if (snapshots_of(options) > snapshots_) {
    return error(StatusCode::kInvalidArgument,
                 "--residency {}: the budget was planned without it (may_change_residency)",
                 to_string(options.residency));
  }
  // What reads in the background would decide what approximate output is.
  if (!options.reads_ahead()) resident_set_ = nullptr;
  residency_ = nullptr;
  cache_->set_policy(next->make_policy());
  residency_ = std::move(next);
  residency_options_ = options;
  return residency_->attach(parts(), speculation_, {});
}

EngineStatistics EngineImpl::statistics() const {
  EngineStatistics statistics;
  statistics.load_seconds = load_seconds_;
  const std::uint64_t row_bytes_read = tables_ == nullptr ? 0 : tables_->bytes_read();
  statistics.bytes_read = bytes_read_loading_ + row_bytes_read;
  const StepTimes& times = model_->times();
  statistics.steps = times.step_count;
  statistics.mixer_seconds = times.mixer_seconds;
  statistics.router_seconds = times.router_seconds;
  statistics.mlp_seconds = times.mlp_seconds - times.router_seconds;
  statistics.output_seconds = times.output_seconds;
  statistics.guess_seconds = times.guess_seconds;
  statistics.expert_bound_seconds = times.expert_bound_seconds;
  if (cache_ == nullptr) return statistics;
  if (const MissStatistics* const misses = residency_->miss_statistics()) {
    const MissCounts& generated = misses->generated;
    statistics.routed_requests = generated.routed_count;
    statistics.routed_fallbacks = generated.miss_count;
    statistics.routed_reads = generated.read_count;
    statistics.replaced_weight_share =
        generated.routed_weight > 0 ? generated.replaced_weight / generated.routed_weight : 0;
    statistics.prompt_requests = misses->prompts.routed_count;
    statistics.prompt_fallbacks = misses->prompts.miss_count;
  }
  statistics.fixed_experts = residency_->set().member_count();
  statistics.swaps_pending = residency_->set().pending_count();
  const ExpertCacheStatistics experts = cache_->statistics();
  statistics.expert_hits = experts.hit_count;
  statistics.expert_misses = experts.miss_count;
  statistics.expert_evictions = experts.eviction_count;
  statistics.expert_limit_evictions = experts.limit_eviction_count;
  statistics.expert_slot_limit = cache_->slot_limit();
  statistics.expert_used_bytes = cache_->used_bytes();
  if (pressure_) {
    statistics.cache_shrinks = pressure_->shrink_count();
    statistics.cache_growths = pressure_->growth_count();
  }
  statistics.experts_restored = experts.prefetch_count;
  statistics.speculative_reads = experts.speculative_read_count;
  statistics.speculative_hits = experts.speculative_hit_count;
  statistics.expert_reading_seconds = experts.reading_seconds;
  statistics.expert_wait_seconds = experts.wait_seconds;
  statistics.experts_placed = experts.exchange_count;
  statistics.placing_seconds = experts.exchange_seconds;
  statistics.mlp_seconds -= experts.wait_seconds;
  statistics.bytes_read = cache_->read_statistics().bytes_read + row_bytes_read;
  return statistics;
}

std::uint64_t EngineImpl::huge_page_bytes() const {
  return dense_.huge_page_bytes() + (cache_ == nullptr ? 0 : cache_->huge_page_bytes());
}

Result<std::vector<std::int32_t>> EngineImpl::tokenize(std::string_view text,
                                                       std::size_t token_max) const {
  FM_RETURN_IF_ERROR(tokenizer_status_);
  return tokenizer_->encode(text, {.token_max = token_max});
}

Result<std::vector<std::int32_t>> EngineImpl::tokenize_raw(std::string_view text,
                                                           std::size_t token_max) const {
  FM_RETURN_IF_ERROR(tokenizer_status_);
  return tokenizer_->encode_raw(text, token_max);
}

Result<std::vector<std::int32_t>> EngineImpl::tokenize(const ChatPrompt& prompt,
                                                       std::size_t token_max) const {
  FM_RETURN_IF_ERROR(tokenizer_status_);
  return tokenizer_->encode(prompt.text, {.quoted = prompt.quoted, .token_max = token_max});
}

Result<std::string> EngineImpl::detokenize(std::span<const std::int32_t> ids) const {
  FM_RETURN_IF_ERROR(tokenizer_status_);
  return tokenizer_->decode(ids);
}

std::string EngineImpl::token_bytes(std::int32_t id) const {
  if (tokenizer_ == nullptr || !tokenizer_->is_token(id)) return {};
  const Result<std::string> bytes = tokenizer_->id_to_bytes(id);
  return bytes.ok() ? *bytes : std::string();
}

bool EngineImpl::is_special_token(std::int32_t id) const {
  return tokenizer_ != nullptr && tokenizer_->is_token(id) && tokenizer_->is_special(id);
}

Result<ChatPrompt> EngineImpl::render_chat(std::string_view messages_json,
                                           const ChatRenderOptions& options) const {
  FM_RETURN_IF_ERROR(chat_template_status_);
  const auto messages = nlohmann::ordered_json::parse(messages_json, nullptr, false);
  if (!messages.is_array()) {
    return error(StatusCode::kInvalidArgument, "the messages are not a JSON array");
  }
  const auto tools = nlohmann::ordered_json::parse(options.tools_json, nullptr, false);
  if (!tools.is_array() && !tools.is_null()) {
    return error(StatusCode::kInvalidArgument, "the tools are not a JSON array");
  }
  const auto kwargs = nlohmann::ordered_json::parse(options.kwargs_json, nullptr, false);
  if (!kwargs.is_object()) {
    return error(StatusCode::kInvalidArgument, "the template's variables are not a JSON object");
  }
  jinja::RenderOptions render;
  if (plan_.request_bytes != 0) {
    render.limits.memory_bytes =
        std::min<std::uint64_t>(render.limits.memory_bytes, plan_.request_bytes / kRenderShare);
  }
  FM_ASSIGN_OR_RETURN(
      ChatPrompt prompt,
      chat_template_->render(messages, tools, options.add_generation_prompt, kwargs, render));
  if (options.allow_control_tokens) prompt.quoted.clear();
  return prompt;
}

Result<std::unique_ptr<Session>> EngineImpl::new_session() {
  if (sessions_open_ >= sessions_max_) {
    return error(StatusCode::kOutOfBudget,
                 "{} sessions are open already, as many as the budget was planned for",
                 sessions_open_);
  }
  FM_ASSIGN_OR_RETURN(SequenceState state, SequenceState::create(model_->state_layout()));
  ++sessions_open_;
  return std::unique_ptr<Session>(std::make_unique<SessionImpl>(
      session_resources(), std::move(state), [this] { --sessions_open_; }));
}

SessionResources EngineImpl::session_resources() {
  return {.model = model_.get(),
          .experts = cache_.get(),
          .residency = &residency_,
          .pressure = pressure_ ? &*pressure_ : nullptr,
          .resident_set = &resident_set_,
          .tokenizer = tokenizer_.get(),
          .eos_token_ids = info_.eos_token_ids,
          .context = plan_.context};
}

Result<std::unique_ptr<Scheduler>> EngineImpl::new_scheduler(const SchedulerOptions& options) {
  if (residency_options_.has_fixed_set()) {
    return error(StatusCode::kInvalidArgument,
                 "--residency {}: its set of experts follows the subject of one session; several "
                 "sequences at once go with exact, resident, lazy, lcp, lru, lfu and pinned",
                 to_string(residency_options_.residency));
  }
  if (sessions_open_ > 0) {
    return error(StatusCode::kOutOfBudget,
                 "{} sessions are open: a scheduler takes the place of all", sessions_open_);
  }
  const std::vector<std::size_t> expert_counts =
      store_ != nullptr ? store_->expert_counts() : std::vector<std::size_t>();
  std::unique_ptr<PrefixStore> prefix_store;
  if (!options.cache_folder.empty() && plan_.prefix_bytes > 0) {
    FM_ASSIGN_OR_RETURN(prefix_store, PrefixStore::open(model_->state_layout(),
                                                        {.folder = options.cache_folder,
                                                         .identity = identity_,
                                                         .expert_counts = expert_counts,
                                                         .size_max = options.cache_folder_bytes,
                                                         .kv_precision = plan_.kv_precision}));
  }
  std::unique_ptr<ExpertActivity> activity;
  if (store_ != nullptr) {
    activity = std::make_unique<ExpertActivity>(expert_counts, *cache_);
  }
  FM_ASSIGN_OR_RETURN(
      std::unique_ptr<SchedulerImpl> scheduler,
      SchedulerImpl::create({.resources = session_resources(),
                             .places = sessions_max_,
                             .prefix_cache_bytes = plan_.prefix_bytes,
                             .prefix_store = std::move(prefix_store),
                             .activity = std::move(activity),
                             .expert_counts = expert_counts,
                             .cache = residency_options_.reads_ahead() ? cache_.get() : nullptr,
                             .observers = &observers_,
                             .statistics = [this] { return statistics(); },
                             .on_close = [this] { sessions_open_ = 0; }},
                            options));
  sessions_open_ = sessions_max_;
  return std::unique_ptr<Scheduler>(std::move(scheduler));
}

Status EngineImpl::finish_profile() {
  if (profile_counter_ == nullptr) {
    return error(StatusCode::kInvalidArgument, "no expert profile is being recorded");
  }
  observers_.remove(*profile_counter_);
  const std::unique_ptr<RoutingCounter> counter = std::move(profile_counter_);
  return write_profile(profile_path_, identity_, counter->counts());
}

Status EngineImpl::finish_trace() {
  if (trace_recording_ == nullptr) {
    return error(StatusCode::kInvalidArgument, "no routing trace is being recorded");
  }
  observers_.remove(*trace_recording_);
  Status status = trace_recording_->finish();
  trace_recording_ = nullptr;
  return status;
}

}  // namespace flashmoe
