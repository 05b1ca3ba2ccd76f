#include "engine/session_impl.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "base/check.h"
#include "tokenizer/detokenizer.h"
#include "tokenizer/tokenizer.h"

namespace flashmoe {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Turns tokens into text for the caller as they come, and notices stop strings. Without a
/// tokenizer there is no text.
class TextStream {
 public:
  TextStream(const Tokenizer* tokenizer, StopMatcher matcher, const GenerateOptions& options,
             std::string& text)
      : matcher_(std::move(matcher)), options_(options), text_(text) {
    if (tokenizer != nullptr) {
      tokenizer_ = tokenizer;
      detokenizer_.emplace(*tokenizer, DecodeOptions{.skip_special_tokens = true});
    }
  }

  /// What the caller said or the text showed: go on (no reason), or why not.
  struct Verdict {
    bool stop = false;
    FinishReason reason = FinishReason::kStop;
  };

  Result<Verdict> push(std::int32_t id) {
    std::string piece;
    // Models pad their vocabulary: rows that are no token can win, and stand for no text.
    if (detokenizer_ && tokenizer_->is_token(id)) {
      FM_RETURN_IF_ERROR(detokenizer_->push(id, piece));
    }
    return emit_certain(piece);
  }

  /// Lets go of what was held back, unless a stop string ended the text.
  Verdict finish() {
    std::string piece;
    if (detokenizer_) detokenizer_->finish(piece);
    const Verdict verdict = emit_certain(piece);
    if (verdict.stop) return verdict;
    std::string held_back;
    matcher_.finish(held_back);
    return emit(held_back);
  }

 private:
  /// Emits what can no longer be part of a stop string.
  Verdict emit_certain(std::string_view piece) {
    std::string certain;
    matcher_.push(piece, certain);
    return emit(certain);
  }

  Verdict emit(const std::string& piece) {
    text_ += piece;
    if (!piece.empty() && options_.on_text && !options_.on_text(piece)) {
      return {true, FinishReason::kCancelled};
    }
    return {matcher_.match().has_value(), FinishReason::kStopText};
  }

  const Tokenizer* tokenizer_ = nullptr;
  std::optional<Detokenizer> detokenizer_;
  StopMatcher matcher_;
  const GenerateOptions& options_;
  std::string& text_;
};

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

Status SessionImpl::check_input(std::span<const std::int32_t> ids) const {
  if (state_.broken()) {
    return error(StatusCode::kInvalidArgument,
                 "this session ended with a failed read; reset it to begin again");
  }
  const std::size_t vocab_size = resources_.model->config().vocab_size;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || static_cast<std::size_t>(ids[i]) >= vocab_size) {
      return error(StatusCode::kInvalidArgument,
                   "token {} of the input is {}; ids of this model are 0 to {}", i, ids[i],
                   vocab_size - 1);
    }
  }
  if (tokens_.size() + ids.size() > resources_.context) {
    return error(StatusCode::kInvalidArgument,
                 "{} tokens{} exceed the context of {}; raise --context or shorten the input",
                 tokens_.size() + ids.size(),
                 tokens_.empty() ? "" : " (earlier ones of the session included)",
                 resources_.context);
  }
  return Status();
}

Status SessionImpl::check_logits() const {
  // Counted rather than searched for: a loop without a way out runs in vectors.
  std::size_t bad_count = 0;
  for (const float logit : logits_) {
    bad_count += std::fabs(logit) <= std::numeric_limits<float>::max() ? 0 : 1;
  }
  if (bad_count == 0) return Status();
  return error(
      StatusCode::kCorrupt,
      "after {} tokens {} of {} logits are infinite or no numbers; the model's weights are "
      "damaged: download them again",
      state_.position(), bad_count, logits_.size());
}

SessionImpl::Counters SessionImpl::counters() const {
  if (resources_.experts == nullptr) return {};
  return {resources_.experts->statistics(), resources_.experts->read_statistics()};
}

Status SessionImpl::step(const SequenceRows& rows, const ForwardSinks& sinks) {
  if (resources_.pressure != nullptr) resources_.pressure->before_step(Clock::now());
  FM_RETURN_IF_ERROR(resources_.model->forward({&rows, 1}, sinks));
  if (resources_.resident_set != nullptr) resources_.resident_set->after_step();
  return Status();
}

Result<bool> SessionImpl::consume_pending(const GenerateOptions& options, bool is_generated) {
  const std::size_t first = state_.position();
  while (state_.position() < tokens_.size()) {
    const std::size_t position = state_.position();
    const std::size_t count = std::min(resources_.model->rows_max(), tokens_.size() - position);
    // Logits of every chunk's last token: if the caller stops here, the sequence can go on from it.
    const SequenceRows rows = {
        .sequence = &state_,
        .ids = std::span<const std::int32_t>(tokens_).subspan(position, count),
        .logits = LogitsWanted::kLast,
        .is_generated = is_generated};
    FM_RETURN_IF_ERROR(
        step(rows, {.on_logits = [this](std::size_t, MatrixView<const float> logits) {
               logits_.assign(logits.row(0), logits.row(0) + logits.cols);
             }}));
    if (options.on_prompt &&
        !options.on_prompt(state_.position() - first, tokens_.size() - first)) {
      tokens_.resize(state_.position());
      return false;
    }
  }
  return true;
}

Status SessionImpl::decode(const GenerateOptions& options, Sampler& sampler, StopMatcher stops,
                           GenerateResult& result) {
  const std::vector<std::int32_t>& eos_ids = resources_.model->config().eos_token_ids;
  TextStream stream(resources_.tokenizer, std::move(stops), options, result.text);
  const Clock::time_point start = Clock::now();
  Clock::time_point first_token = start;
  TextStream::Verdict verdict;
  result.finish_reason = FinishReason::kLength;
  while (result.token_ids.size() < options.max_tokens) {
    if (tokens_.size() >= resources_.context) {
      result.finish_reason = FinishReason::kContext;
      break;
    }
    if (!result.token_ids.empty()) {
      FM_ASSIGN_OR_RETURN([[maybe_unused]] const bool complete,
                          consume_pending({}, /*is_generated=*/true));
    }
    FM_RETURN_IF_ERROR(check_logits());
    if (options.on_logits) options.on_logits(logits_);
    const std::int32_t id = sampler.sample(logits_);
    if (result.token_ids.empty()) first_token = Clock::now();
    sampler.accept(id);
    result.token_ids.push_back(id);
    tokens_.push_back(id);
    const bool is_eos = std::find(eos_ids.begin(), eos_ids.end(), id) != eos_ids.end();
    if (is_eos && !options.ignore_eos) {
      result.finish_reason = FinishReason::kStop;
      break;
    }
    FM_ASSIGN_OR_RETURN(verdict, stream.push(id));
    if (verdict.stop) break;
  }
  if (!verdict.stop) verdict = stream.finish();
  if (verdict.stop) result.finish_reason = verdict.reason;
  result.statistics.decode_seconds = seconds_since(first_token);
  return Status();
}

Result<GenerateResult> SessionImpl::generate(std::span<const std::int32_t> prompt,
                                             const GenerateOptions& options) {
  FM_RETURN_IF_ERROR(check_input(prompt));
  if (prompt.empty() && tokens_.empty()) {
    return error(StatusCode::kInvalidArgument,
                 "the prompt is empty: there is nothing to continue; give at least one token");
  }
  FM_ASSIGN_OR_RETURN(Sampler sampler, Sampler::create(options.sampling));
  FM_ASSIGN_OR_RETURN(StopMatcher stops, StopMatcher::create(options.stop));
  const Clock::time_point start = Clock::now();
  const Counters before = counters();
  tokens_.insert(tokens_.end(), prompt.begin(), prompt.end());
  for (const std::int32_t id : tokens_) sampler.accept(id);

  GenerateResult result;
  GenerateStatistics& statistics = result.statistics;
  statistics.prompt_tokens = tokens_.size() - state_.position();
  FM_ASSIGN_OR_RETURN(const bool prompt_done, consume_pending(options, /*is_generated=*/false));
  statistics.prefill_seconds = seconds_since(start);
  if (prompt_done) {
    FM_RETURN_IF_ERROR(decode(options, sampler, std::move(stops), result));
  } else {
    result.finish_reason = FinishReason::kCancelled;
  }
  statistics.time_to_first_token_seconds = seconds_since(start) - statistics.decode_seconds;
  statistics.generated_tokens = result.token_ids.size();
  const Counters after = counters();
  statistics.expert_hits = after.experts.hit_count - before.experts.hit_count;
  statistics.expert_misses = after.experts.miss_count - before.experts.miss_count;
  statistics.expert_wait_seconds = after.experts.wait_seconds - before.experts.wait_seconds;
  statistics.bytes_read = after.reads.bytes_read - before.reads.bytes_read;
  return result;
}

Status SessionImpl::forward(std::span<const std::int32_t> ids, const ForwardObserver& observer) {
  FM_RETURN_IF_ERROR(check_input(ids));
  tokens_.insert(tokens_.end(), ids.begin(), ids.end());
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
    FM_RETURN_IF_ERROR(step(rows, sinks));
    if (!observed.ok()) {
      tokens_.resize(state_.position());
      return observed;
    }
  }
  return Status();
}

Status SessionImpl::reset() {
  FM_ASSIGN_OR_RETURN(state_, SequenceState::create(resources_.model->config()));
  tokens_.clear();
  return Status();
}

}  // namespace flashmoe
