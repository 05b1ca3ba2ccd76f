#include "engine/running_generation.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "engine/logprobs.h"

namespace flashmoe {
namespace {

double seconds_between(RunningGeneration::Clock::time_point begin,
                       RunningGeneration::Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

}  // namespace

RunningGeneration::RunningGeneration(GenerationId id, GenerationRequest request,
                                     std::shared_ptr<GenerationListener> listener, Sampler sampler,
                                     TextStream text, const Model& model,
                                     Clock::time_point submitted)
    : id_(id),
      request_(std::move(request)),
      listener_(std::move(listener)),
      sampler_(std::move(sampler)),
      text_(std::move(text)),
      model_(model),
      tokens_(request_.prompt),
      submitted_(submitted),
      started_(submitted),
      first_token_(submitted) {
  statistics_.prompt_tokens = request_.prompt.size();
  for (const std::int32_t token : tokens_) sampler_.accept(token);
}

void RunningGeneration::start(RememberedSequence sequence, Clock::time_point now) {
  sequence_ = std::make_unique<RememberedSequence>(std::move(sequence));
  if (std::exchange(has_started_, true)) return;
  statistics_.cached_tokens = position();
  started_ = now;
  statistics_.queue_seconds = seconds_between(submitted_, now);
  listener_->on_prompt(position(), request_.prompt.size());
}

void RunningGeneration::rebuild(RememberedSequence sequence) {
  sequence_ = std::make_unique<RememberedSequence>(std::move(sequence));
  is_suspect_ = true;
}

SequenceRows RunningGeneration::next_rows(std::size_t rows_max) {
  const std::size_t begin = position();
  std::size_t end = tokens_.size();
  if (is_behind()) {
    end = std::min(end, begin + rows_max);
    if (is_prompting()) end = std::min(end, request_.prompt.size());
    const auto checkpoint = checkpoints_.upper_bound(begin);
    if (checkpoint != checkpoints_.end()) end = std::min(end, *checkpoint);
  }
  const bool is_generated = begin >= request_.prompt.size();
  LogitsWanted logits = end == tokens_.size() ? LogitsWanted::kLast : LogitsWanted::kNone;
  if (needs_whole_prompt()) logits = LogitsWanted::kAll;
  return {.sequence = &sequence_->state,
          .ids = std::span<const std::int32_t>(tokens_).subspan(begin, end - begin),
          .logits = logits,
          .is_generated = is_generated};
}

void RunningGeneration::on_consumed() {
  // What is consumed again after rebuild() is no news.
  if (statistics_.generated_tokens > 0) return;
  listener_->on_prompt(position(), request_.prompt.size());
}

Status RunningGeneration::pick_token(std::span<const float> logits, std::int32_t& id) {
  FM_RETURN_IF_ERROR(check_logits(logits, position()));
  if (request_.constraint == nullptr) {
    id = sampler_.sample(logits);
    return Status();
  }
  FM_ASSIGN_OR_RETURN(id, sampler_.sample(logits, *request_.constraint));
  request_.constraint->accept(id);
  return Status();
}

void RunningGeneration::score(std::size_t count, std::span<const float> logits) {
  // After rebuild() some come again.
  if (has_ended_ || !needs_whole_prompt() || count != scored_) return;
  if (const Status status = check_logits(logits, count); !status.ok()) return fail(status);
  const Logprobs logprobs(logits);
  top_ = logprobs.top(*request_.top_logprobs);
  listener_->on_prompt_token(logprobs.of(tokens_[count]), top_);
  ++scored_;
}

void RunningGeneration::pick(std::span<const float> logits) {
  if (has_ended_) return;
  if (request_.max_tokens == 0) return end(FinishReason::kLength);
  // What a prompt that fills the context leaves no room for.
  if (tokens_.size() >= model_.context) return end(FinishReason::kContext);
  std::int32_t id = 0;
  if (const Status status = pick_token(logits, id); !status.ok()) return fail(status);
  if (statistics_.generated_tokens == 0) {
    first_token_ = Clock::now();
    statistics_.prefill_seconds = seconds_between(started_, first_token_);
  }
  sampler_.accept_generated(id);
  tokens_.push_back(id);
  ++statistics_.generated_tokens;
  const bool is_eos =
      std::find(model_.eos_ids.begin(), model_.eos_ids.end(), id) != model_.eos_ids.end();
  if (is_eos && !request_.ignore_eos) {
    show({.id = id}, logits);
    return end(FinishReason::kStop);
  }
  const std::size_t size_before = text_.size();
  const Result<std::string> text = text_.push(id);
  if (!text.ok()) return fail(text.status());
  show({.id = id, .text = *text, .size = text_.size() - size_before}, logits);
  if (text_.stop_text()) return end(FinishReason::kStopText);
  if (statistics_.generated_tokens >= request_.max_tokens) return end(FinishReason::kLength);
  if (tokens_.size() >= model_.context) return end(FinishReason::kContext);
}

void RunningGeneration::show(GeneratedToken token, std::span<const float> logits) {
  if (request_.top_logprobs) {
    const Logprobs logprobs(logits);
    token.logprob = logprobs.of(token.id);
    top_ = logprobs.top(*request_.top_logprobs);
    token.top_logprobs = top_;
  }
  listener_->on_token(token);
}

void RunningGeneration::end(FinishReason reason) {
  if (has_ended_) return;
  const std::string rest = text_.stop_text() ? std::string() : text_.finish();
  // What was held back may, now that no more can come, complete a stop string.
  if (text_.stop_text()) reason = FinishReason::kStopText;
  finish({.reason = reason, .stop = text_.stop_text(), .text = rest});
}

void RunningGeneration::fail(const Status& status) {
  if (has_ended_) return;
  const std::string rest = text_.finish();
  finish({.status = status, .reason = FinishReason::kCancelled, .text = rest});
}

void RunningGeneration::finish(GenerationEnd end) {
  has_ended_ = true;
  const Clock::time_point now = Clock::now();
  if (statistics_.generated_tokens > 0) {
    statistics_.decode_seconds = seconds_between(first_token_, now);
  } else if (has_started_) {
    statistics_.prefill_seconds = seconds_between(started_, now);
  } else {
    statistics_.queue_seconds = seconds_between(submitted_, now);
  }
  end.statistics = statistics_;
  status_ = end.status;
  reason_ = end.reason;
  model_.on_ended(*this);
  listener_->on_end(end);
}

}  // namespace flashmoe
