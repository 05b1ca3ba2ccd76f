// What of a session finds fixed sets of experts and changes them with the subject.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/stopwatch.h"
#include "engine/session_impl.h"

namespace flashmoe {
namespace {

Status cancelled() { return Status(StatusCode::kCancelled, "reading the prompt was cancelled"); }

}  // namespace

Result<ExpertResidency*> SessionImpl::fixed_residency(std::string_view action) const {
  ExpertResidency* const experts = residency();
  if (experts != nullptr && experts->options().has_fixed_set()) return experts;
  return error(StatusCode::kInvalidArgument,
               "{}: goes with --residency predictive, delta or async-delta", action);
}

Result<bool> SessionImpl::begin(std::span<const std::int32_t> prompt,
                                const GenerateOptions& options, GenerateStatistics& statistics) {
  ExpertResidency* const experts = residency();
  const bool has_fixed_set = experts != nullptr && experts->options().has_fixed_set();
  if (!has_fixed_set ||
      (experts->has_set() && !(experts->options().changes_its_set() && options.is_new_subject))) {
    append_prompt(prompt);
    return consume_pending(options, /*is_generated=*/false);
  }
  const bool incremental = experts->options().residency == Residency::kAsyncDelta;
  Result<SwitchReport> report =
      experts->has_set() ? switch_subject(prompt, incremental, options) : upgrade(prompt, options);
  if (report.status().code() == StatusCode::kCancelled) return false;
  FM_RETURN_IF_ERROR(report.status());
  statistics.subject_switch = *report;
  return true;
}

Status SessionImpl::read_prompt(std::span<const std::int32_t> prompt,
                                const GenerateOptions& options) {
  append_prompt(prompt);
  FM_ASSIGN_OR_RETURN(const bool done, consume_pending(options, /*is_generated=*/false));
  return done ? Status() : cancelled();
}

Status SessionImpl::discover(const GenerateOptions& options, SwitchReport& report) {
  const std::span<const std::int32_t> eos_ids = resources_.eos_token_ids;
  FM_ASSIGN_OR_RETURN(Sampler sampler, Sampler::create(options.sampling));
  for (const std::int32_t id : tokens_) sampler.accept(id);
  FM_ASSIGN_OR_RETURN(const SequenceState::Snapshot snapshot, state_.snapshot());
  const std::size_t begin = tokens_.size();
  const std::vector<float> logits = logits_;
  const std::size_t wanted = residency()->options().discovery_tokens;
  Status status;
  while (status.ok() && report.discovery_tokens < wanted && tokens_.size() < resources_.context) {
    status = check_logits(logits_, state_.position());
    if (!status.ok()) break;
    const std::int32_t id = sampler.sample(logits_);
    if (!options.ignore_eos && std::ranges::find(eos_ids, id) != eos_ids.end()) break;
    sampler.accept_generated(id);
    tokens_.push_back(id);
    ++report.discovery_tokens;
    // Nobody sees them: they are evidence, as the prompt is.
    const Result<bool> goes_on =
        consume_pending({.cancel = options.cancel}, /*is_generated=*/false);
    status = goes_on.ok() && !*goes_on ? cancelled() : goes_on.status();
  }
  restore(snapshot);
  tokens_.resize(begin);
  logits_ = logits;
  return status;
}

Result<SwitchReport> SessionImpl::upgrade(std::span<const std::int32_t> prompt,
                                          const GenerateOptions& options) {
  FM_ASSIGN_OR_RETURN(ExpertResidency* const experts, fixed_residency("an upgrade"));
  if (experts->has_set()) {
    return error(StatusCode::kInvalidArgument,
                 "there is a fixed set already: switch the subject, or reset the experts first");
  }
  FM_RETURN_IF_ERROR(check_prompt(prompt));
  Stopwatch watch;
  SwitchReport seen;
  experts->begin_discovery();
  Status status = read_prompt(prompt, options);
  if (status.ok()) status = discover(options, seen);
  if (status.code() == StatusCode::kCancelled) undo_step();
  FM_RETURN_IF_ERROR(status);
  SwitchReport report = experts->plan();
  report.discovery_tokens = seen.discovery_tokens;
  report.discovery_seconds = watch.lap();
  FM_RETURN_IF_ERROR(experts->finish_swaps());
  report.swap_seconds = watch.lap();
  experts->begin_answering();
  return report;
}

Result<SwitchReport> SessionImpl::switch_subject(std::span<const std::int32_t> prompt,
                                                 bool incremental, const GenerateOptions& options) {
  FM_ASSIGN_OR_RETURN(ExpertResidency* const experts, fixed_residency("a change of subject"));
  if (!experts->has_set()) {
    return error(StatusCode::kInvalidArgument, "there is no fixed set yet: upgrade first");
  }
  FM_RETURN_IF_ERROR(check_prompt(prompt));
  experts->drop_caches();
  Stopwatch watch;
  SwitchReport seen;
  FM_ASSIGN_OR_RETURN(SequenceState::Snapshot before, state_.snapshot());
  const std::size_t begin = tokens_.size();
  const std::vector<float> logits = logits_;
  const auto undo = [&] {
    restore(before);
    tokens_.resize(begin);
    logits_ = logits;
  };
  experts->begin_discovery();
  Status status = read_prompt(prompt, options);
  if (status.ok()) status = discover(options, seen);
  if (!status.ok()) {
    undo();
    return status;
  }
  SwitchReport report = experts->plan();
  report.discovery_tokens = seen.discovery_tokens;
  report.discovery_seconds = watch.lap();
  if (incremental) {
    if (experts->options().hold != Hold::kNothing) before_held_ = std::move(before);
    return report;
  }
  undo();
  FM_RETURN_IF_ERROR(experts->finish_swaps());
  report.swap_seconds = watch.lap();
  status = read_prompt(prompt, options);
  report.prompt_seconds = watch.lap();
  if (status.code() == StatusCode::kCancelled) undo_step();
  if (!status.ok()) return status;
  return report;
}

Result<bool> SessionImpl::pass_held_tokens(const GenerateOptions& options, Sampler& sampler,
                                           GenerateStatistics& statistics) {
  if (!before_held_) return true;
  const std::size_t prompt_end = tokens_.size();
  ExpertResidency& experts = *residency();
  const std::span<const std::int32_t> eos_ids = resources_.eos_token_ids;
  bool must_restart = experts.options().hold == Hold::kRestart;
  Stopwatch watch;
  while (experts.is_swapping() && tokens_.size() < resources_.context) {
    FM_RETURN_IF_ERROR(check_logits(logits_, state_.position()));
    const std::int32_t id = sampler.sample(logits_);
    if (!options.ignore_eos && std::ranges::find(eos_ids, id) != eos_ids.end()) {
      // An answer that ended before it was on the subject is none.
      FM_RETURN_IF_ERROR(experts.finish_swaps());
      must_restart = true;
      break;
    }
    sampler.accept_generated(id);
    tokens_.push_back(id);
    ++statistics.held_tokens;
    FM_ASSIGN_OR_RETURN(const bool goes_on,
                        end_token(options, {.id = id, .seconds = watch.lap(), .is_held = true}));
    if (!goes_on) return false;
    FM_ASSIGN_OR_RETURN(const bool was_fed, consume_generated(options));
    if (!was_fed) return false;
  }
  bool is_done = true;
  if (must_restart) {
    FM_ASSIGN_OR_RETURN(is_done, restart(prompt_end, options, sampler));
  }
  before_held_.reset();
  return is_done;
}

Result<bool> SessionImpl::restart(std::size_t prompt_end, const GenerateOptions& options,
                                  Sampler& sampler) {
  restore(*before_held_);
  tokens_.resize(prompt_end);
  FM_ASSIGN_OR_RETURN(const bool is_done,
                      consume_pending({.cancel = options.cancel}, /*is_generated=*/false));
  if (!is_done) return false;
  FM_ASSIGN_OR_RETURN(sampler, Sampler::create(options.sampling));
  for (const std::int32_t id : tokens_) sampler.accept(id);
  return true;
}

void SessionImpl::reset_experts(bool cold) {
  before_held_.reset();
  if (ExpertResidency* const experts = residency()) experts->release(cold);
}

}  // namespace flashmoe
