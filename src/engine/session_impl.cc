#include "engine/session_impl.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/stopwatch.h"
#include "engine/text_stream.h"
#include "tokenizer/tokenizer.h"

namespace flashmoe {
namespace {

using Clock = std::chrono::steady_clock;

/// What a copy of the recurrent state takes, tens of milliseconds, is nothing to this.
constexpr std::chrono::seconds kWayBackInterval(10);

/// A token that ends so soon after the wish to stop is waited for: nothing is lost then.
constexpr std::chrono::milliseconds kTokenPatience(150);

bool is_cancelled(const GenerateOptions& options) {
  return options.cancel != nullptr && options.cancel->load(std::memory_order_relaxed);
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

std::string_view to_string(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kStopText:
      return "stop_text";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kContext:
      return "context";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

Status check_prompt_ids(std::span<const std::int32_t> ids, std::size_t before, std::size_t context,
                        const ModelSpec& spec) {
  const std::size_t vocab_size = spec.vocab_size;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || static_cast<std::size_t>(ids[i]) >= vocab_size) {
      return error(StatusCode::kInvalidArgument,
                   "token {} of the input is {}; ids of this model are 0 to {}", i, ids[i],
                   vocab_size - 1);
    }
  }
  if (before + ids.size() > context) {
    return error(StatusCode::kInvalidArgument,
                 "{} tokens{} exceed the context of {}; {}shorten the input", before + ids.size(),
                 before == 0 ? "" : " (earlier ones of the session included)", context,
                 context < spec.max_position_embeddings ? "raise --context or "
                                                        : "the model has no larger one, so ");
  }
  return Status();
}

Status SessionImpl::check_input(std::span<const std::int32_t> ids) const {
  if (state_.broken()) {
    return error(StatusCode::kInvalidArgument,
                 "this session ended with a failed read; reset it to begin again");
  }
  return check_prompt_ids(ids, tokens_.size(), resources_.context, resources_.model->spec());
}

Status SessionImpl::check_prompt(std::span<const std::int32_t> prompt) const {
  FM_RETURN_IF_ERROR(check_input(prompt));
  if (!prompt.empty() || !tokens_.empty()) return Status();
  return error(StatusCode::kInvalidArgument,
               "the prompt is empty: there is nothing to continue; give at least one token");
}

ExpertCounters expert_counters(const SessionResources& resources) {
  if (resources.experts == nullptr) return {};
  return {resources.experts->statistics(), resources.experts->read_statistics()};
}

Status run_step(const SessionResources& resources, std::span<const SequenceRows> rows,
                const ForwardSinks& sinks, const StepWishes& wishes) {
  if (resources.pressure != nullptr) resources.pressure->look(Clock::now());
  StepGuard guard(wishes, resources.pressure);
  FM_RETURN_IF_ERROR(resources.model->forward(rows, sinks, &guard));
  if (*resources.resident_set != nullptr) (*resources.resident_set)->after_step();
  return Status();
}

void SessionImpl::append_prompt(std::span<const std::int32_t> ids) {
  prompt_begin_ = tokens_.size();
  tokens_.insert(tokens_.end(), ids.begin(), ids.end());
}

void SessionImpl::keep_way_back(std::size_t rows, bool is_first, bool may_be_given_up) {
  const Clock::time_point now = Clock::now();
  if (state_.position() == 0) {
    way_back_.reset();
    way_back_kept_ = now;
    return;
  }
  // It lies in the memory that the budget has for positions still to come.
  const StateLayout& state = resources_.model->state_layout();
  const auto size_for = [&](std::size_t positions) {
    return state.kv_bytes(positions, resources_.model->rows_max());
  };
  const std::uint64_t planned = size_for(resources_.context);
  const std::uint64_t used = std::min(planned, size_for(state_.position() + rows));
  if (!may_be_given_up || planned - used < state.snapshot_bytes()) {
    way_back_.reset();
    return;
  }
  if (!is_first && now - way_back_kept_ < kWayBackInterval) return;
  way_back_.reset();
  if (Result<SequenceState::Snapshot> snapshot = state_.snapshot(); snapshot.ok()) {
    way_back_ = std::move(*snapshot);
  }
  way_back_kept_ = now;
}

void SessionImpl::undo_step() {
  if (!state_.broken()) return;
  way_back_ ? state_.restore(*way_back_) : state_.rewind();
}

void SessionImpl::restore(const SequenceState::Snapshot& snapshot) {
  state_.restore(snapshot);
  way_back_.reset();  // it may lie ahead
  way_back_kept_ = {};
}

Result<bool> SessionImpl::consume_pending(const GenerateOptions& options, bool is_generated) {
  const std::size_t first = state_.position();
  const bool may_be_given_up = options.cancel != nullptr || options.on_prompt;
  while (state_.position() < tokens_.size()) {
    const std::size_t position = state_.position();
    const std::size_t count = std::min(resources_.model->rows_max(), tokens_.size() - position);
    // One row is a token, which is not worth a copy.
    keep_way_back(count, /*is_first=*/position == first && count > 1, may_be_given_up);
    // Logits of every chunk's last token: if the caller stops here, the sequence can go on from it.
    const SequenceRows rows = {
        .sequence = &state_,
        .ids = std::span<const std::int32_t>(tokens_).subspan(position, count),
        .logits = LogitsWanted::kLast,
        .is_generated = is_generated};
    const ForwardSinks sinks = {.on_logits = [this](std::size_t, MatrixView<const float> logits) {
      logits_.assign(logits.row(0), logits.row(0) + logits.cols);
    }};
    const auto goes_on = [&](std::size_t rows_done) {
      return !options.on_prompt ||
             options.on_prompt(position - first + rows_done, tokens_.size() - first);
    };
    std::size_t rows_done = 0;
    StepWishes wishes = {.cancel = options.cancel};
    if (is_generated) wishes.patience = kTokenPatience;
    wishes.on_progress = [&](double share) {
      // The last one is done when the step has ended.
      rows_done = std::min(count - 1, static_cast<std::size_t>(share * static_cast<double>(count)));
      return goes_on(rows_done);
    };
    const Status status = run_step(resources_, {&rows, 1}, sinks, wishes);
    const bool is_given_up = status.code() == StatusCode::kCancelled;
    if (!is_given_up) FM_RETURN_IF_ERROR(status);
    if (!is_generated) prompt_read_ += is_given_up ? rows_done : count;
    const bool is_last = state_.position() == tokens_.size();
    if (!is_given_up && goes_on(count) && (is_last || !is_cancelled(options))) continue;
    if (!is_generated)
      tokens_.resize(std::max(prompt_begin_, is_given_up ? position : state_.position()));
    return false;
  }
  return true;
}

Status SessionImpl::decode(const GenerateOptions& options, Sampler& sampler, StopMatcher stops,
                           GenerateResult& result) {
  const std::span<const std::int32_t> eos_ids = resources_.eos_token_ids;
  TextStream stream(resources_.tokenizer, std::move(stops), options.markup);
  const Clock::time_point start = Clock::now();
  Clock::time_point first_token = start;
  Stopwatch token_watch;
  std::optional<FinishReason> ended;
  const auto emit = [&](const std::string& piece) {
    result.text += piece;
    if (!piece.empty() && options.on_text && !options.on_text(piece)) {
      ended = FinishReason::kCancelled;
    } else if (stream.stop_text()) {
      ended = FinishReason::kStopText;
    }
  };
  result.finish_reason = FinishReason::kLength;
  FM_ASSIGN_OR_RETURN(bool goes_on, pass_held_tokens(options, sampler, result.statistics));
  while (goes_on && result.token_ids.size() < options.max_tokens) {
    if (tokens_.size() >= resources_.context) {
      result.finish_reason = FinishReason::kContext;
      break;
    }
    if (!result.token_ids.empty()) {
      FM_ASSIGN_OR_RETURN(goes_on, consume_generated(options));
      if (!goes_on) break;
    }
    FM_RETURN_IF_ERROR(check_logits(logits_, state_.position()));
    if (options.on_logits) options.on_logits(logits_);
    const std::int32_t id = sampler.sample(logits_);
    if (result.token_ids.empty()) first_token = Clock::now();
    sampler.accept_generated(id);
    result.token_ids.push_back(id);
    tokens_.push_back(id);
    const bool is_eos = std::find(eos_ids.begin(), eos_ids.end(), id) != eos_ids.end();
    if (is_eos && !options.ignore_eos) {
      result.finish_reason = FinishReason::kStop;
      break;
    }
    FM_ASSIGN_OR_RETURN(const std::string piece, stream.push(id));
    emit(piece);
    if (ended) break;
    FM_ASSIGN_OR_RETURN(goes_on, end_token(options, {.id = id, .seconds = token_watch.lap()}));
  }
  if (!goes_on) result.finish_reason = FinishReason::kCancelled;
  if (!ended) emit(stream.finish());
  if (ended) result.finish_reason = *ended;
  result.statistics.decode_seconds = seconds_since(first_token);
  return Status();
}

Result<bool> SessionImpl::end_token(const GenerateOptions& options, TokenReport report) {
  if (ExpertResidency* const experts = residency(); experts != nullptr) {
    FM_RETURN_IF_ERROR(experts->after_token());
    report.swaps_pending = experts->set().pending_count();
    report.layers_pending = experts->layers_pending();
  }
  return (!options.on_token || options.on_token(report)) && !is_cancelled(options);
}

Result<GenerateResult> SessionImpl::generate(std::span<const std::int32_t> prompt,
                                             const GenerateOptions& options) {
  FM_RETURN_IF_ERROR(check_prompt(prompt));
  FM_ASSIGN_OR_RETURN(Sampler sampler, Sampler::create(options.sampling));
  FM_ASSIGN_OR_RETURN(StopMatcher stops, StopMatcher::create(options.stop));
  const Clock::time_point start = Clock::now();
  const ExpertCounters before = expert_counters(resources_);

  GenerateResult result;
  GenerateStatistics& statistics = result.statistics;
  statistics.prompt_tokens = tokens_.size() + prompt.size() - state_.position();
  prompt_read_ = 0;
  FM_ASSIGN_OR_RETURN(const bool prompt_done, begin(prompt, options, statistics));
  statistics.prompt_tokens_read =
      prompt_done ? statistics.prompt_tokens : std::min(statistics.prompt_tokens, prompt_read_);
  statistics.prefill_seconds = seconds_since(start);
  if (prompt_done) {
    for (const std::int32_t id : tokens_) sampler.accept(id);
    FM_RETURN_IF_ERROR(decode(options, sampler, std::move(stops), result));
  } else {
    result.finish_reason = FinishReason::kCancelled;
  }
  undo_step();
  statistics.time_to_first_token_seconds = seconds_since(start) - statistics.decode_seconds;
  statistics.generated_tokens = result.token_ids.size();
  const ExpertCounters after = expert_counters(resources_);
  statistics.expert_hits = after.experts.hit_count - before.experts.hit_count;
  statistics.expert_misses = after.experts.miss_count - before.experts.miss_count;
  statistics.expert_wait_seconds = after.experts.wait_seconds - before.experts.wait_seconds;
  statistics.bytes_read = after.reads.bytes_read - before.reads.bytes_read;
  statistics.swap_seconds = after.experts.exchange_seconds - before.experts.exchange_seconds;
  return result;
}

Status SessionImpl::forward(std::span<const std::int32_t> ids, const ForwardObserver& observer) {
  FM_RETURN_IF_ERROR(check_input(ids));
  const std::size_t first = state_.position();
  append_prompt(ids);
  Status observed;
  while (state_.position() < tokens_.size()) {
    const std::size_t position = state_.position();
    const std::size_t count = std::min(resources_.model->rows_max(), tokens_.size() - position);
    const bool is_last = position + count == tokens_.size();
    const SequenceRows rows = {
        .sequence = &state_,
        .ids = std::span<const std::int32_t>(tokens_).subspan(position, count),
        .logits = observer.on_logits ? LogitsWanted::kAll
                                     : (is_last ? LogitsWanted::kLast : LogitsWanted::kNone)};
    ForwardSinks sinks;
    sinks.on_logits = [&](std::size_t row, MatrixView<const float> logits) {
      FM_CHECK(logits.stride == logits.cols);
      const float* last = logits.row(logits.rows - 1);
      logits_.assign(last, last + logits.cols);
      if (!observer.on_logits || !observed.ok()) return;
      observed =
          observer.on_logits(position + row, logits.rows, {logits.data, logits.rows * logits.cols});
    };
    if (observer.on_hidden) {
      sinks.on_hidden = [&](std::size_t index, MatrixView<const float> hidden) {
        FM_CHECK(hidden.stride == hidden.cols);
        if (!observed.ok()) return;
        observed = observer.on_hidden(index, position, hidden.rows,
                                      {hidden.data, hidden.rows * hidden.cols});
      };
    }
    keep_way_back(count, /*is_first=*/position == first,
                  observer.cancel != nullptr || observer.on_progress);
    StepWishes wishes = {.cancel = observer.cancel};
    if (observer.on_progress) {
      wishes.on_progress = [&](double share) {
        const auto rows_done = static_cast<std::size_t>(share * static_cast<double>(count));
        return observer.on_progress(position - first + rows_done, tokens_.size() - first);
      };
    }
    const Status status = run_step(resources_, {&rows, 1}, sinks, wishes);
    if (status.code() == StatusCode::kCancelled) {
      tokens_.resize(std::max(prompt_begin_, position));
      undo_step();
      return Status(StatusCode::kCancelled, "interrupted");
    }
    FM_RETURN_IF_ERROR(status);
    if (!observed.ok()) {
      tokens_.resize(std::max(prompt_begin_, state_.position()));
      return observed;
    }
  }
  return Status();
}

Status SessionImpl::reset() {
  FM_ASSIGN_OR_RETURN(state_, SequenceState::create(resources_.model->state_layout()));
  tokens_.clear();
  prompt_begin_ = 0;
  way_back_.reset();
  before_held_.reset();
  return Status();
}

}  // namespace flashmoe
