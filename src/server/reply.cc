#include "server/reply.h"

#include <algorithm>
#include <utility>

#include "server/openai_common.h"

namespace flashmoe::server {
namespace {

using SteadyClock = std::chrono::steady_clock;

/// Proxies and clients give up on connections that say nothing.
constexpr std::chrono::seconds kKeepAliveInterval{10};

/// Up to this an answer is sent in one piece, with its length.
constexpr std::size_t kWholeBytes = std::size_t{256} << 10;

bool was_cut(FinishReason reason) {
  return reason == FinishReason::kLength || reason == FinishReason::kContext;
}

double seconds_since(SteadyClock::time_point begin) {
  return std::chrono::duration<double>(SteadyClock::now() - begin).count();
}

}  // namespace

/// Hands on what the scheduler says of one choice.
class Reply::Listener : public GenerationListener {
 public:
  Listener(std::shared_ptr<Reply> reply, std::size_t choice)
      : reply_(std::move(reply)), choice_(choice) {}

  void on_prompt(std::size_t done, std::size_t /*total*/) override {
    if (std::exchange(has_begun_, true)) return;
    reply_->note({.choice = choice_, .cached_tokens = done});
  }
  void on_prompt_token(const TokenLogprob& token, std::span<const TokenLogprob> top) override {
    reply_->note({.choice = choice_, .token = token, .top = {top.begin(), top.end()}});
  }
  void on_token(const GeneratedToken& token) override {
    reply_->note({.choice = choice_,
                  .text = std::string(token.text),
                  .is_token = true,
                  .id = token.id,
                  .size = token.size,
                  .token = token.logprob,
                  .top = {token.top_logprobs.begin(), token.top_logprobs.end()}});
  }
  void on_end(const GenerationEnd& end) override {
    reply_->note({.choice = choice_,
                  .text = std::string(end.text),
                  .is_end = true,
                  .status = end.status,
                  .reason = end.reason,
                  .stop = end.stop,
                  .statistics = end.statistics});
  }

 private:
  const std::shared_ptr<Reply> reply_;
  const std::size_t choice_;
  bool has_begun_ = false;
};

Reply::Reply(Parts parts, PreparedRequest request)
    : parts_(std::move(parts)),
      request_(std::move(request)),
      echoes_(request_.prompts.size()),
      window_(parts_.scheduler.statistics().places + 1) {
  for (std::size_t i = 0; i < request_.choices.size(); ++i) {
    const PreparedPrompt& prompt = request_.prompts[request_.choices[i]];
    // Who scores a text expects an entry for each token, the end token included.
    Choice& choice = choices_.emplace_back(
        Choice{.parser = std::make_unique<OutputParser>(prompt.parsing, request_.schemas),
               .ledger = TokenLedger(/*tells_silent=*/request_.scores_prompts)});
    choice.is_thinking = prompt.parsing.begins_in_reasoning;
    echoes_[request_.choices[i]].choices.push_back(i);
  }
  for (std::size_t i = 0; i < echoes_.size(); ++i) {
    echoes_[i].text = request_.prompts[i].echo;
    if (!request_.scores_prompts) continue;
    // It comes token by token, with what the model thinks of each but the first.
    TokenInfo first = parts_.service.token_info({.id = request_.prompts[i].ids.front()}, {});
    first.is_of_prompt = first.is_first = true;
    echoes_[i].text = first.text = first.picked.bytes;
    echoes_[i].tokens.push_back(std::move(first));
  }
}

void Reply::start() {
  parts_.http.post([self = shared_from_this()] {
    self->parts_.responder->on_gone([self] {
      self->cancel();
      self->done(499, "disconnected", {});
    });
    if (self->is_done_) return;
    self->parts_.answers->acquire(self->parts_.answer_bytes, SteadyClock::now(),
                                  [self](BodyLease lease) { self->begin_work(std::move(lease)); });
  });
}

void Reply::begin_work(BodyLease lease) {
  if (is_done_) return;
  answer_lease_ = std::move(lease);
  submit_more();
  if (!is_done_) begin();
}

/// What is told of a prompt comes before what is generated, and the others go on from what the
/// first has computed.
bool Reply::may_be_submitted(std::size_t choice) const {
  const std::size_t leader = request_.leader_of(choice);
  if (choice == leader) return true;
  // With nothing to generate all choices of a prompt are the same.
  if (request_.settings.max_tokens == 0) return false;
  return !request_.scores_prompts || choices_[leader].has_begun;
}

void Reply::submit_more() {
  for (std::size_t i = 0; i < choices_.size() && submitted_ < window_ && !is_done_; ++i) {
    Choice& choice = choices_[i];
    if (choice.is_submitted || !may_be_submitted(i)) continue;
    GenerationRequest generation = parts_.service.generation(request_, i);
    if (choices_.front().is_submitted) generation.companion = choices_.front().id;
    if (parts_.time_limit.count() > 0) generation.deadline = parts_.begun + parts_.time_limit;
    const Result<GenerationId> id = parts_.scheduler.submit(
        std::move(generation), std::make_shared<Listener>(shared_from_this(), i));
    if (!id.ok()) return fail(error_of(id.status()));
    choice.id = *id;
    choice.is_submitted = true;
    ++submitted_;
  }
}

void Reply::begin() {
  if (!parts_.writer->is_stream()) return;
  parts_.responder->begin(
      {.content_type = std::string(parts_.writer->content_type()),
       .headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}}});
  keep_alive();
}

void Reply::begin_answer(std::size_t cached_tokens, std::string& out) {
  if (std::exchange(has_begun_, true)) return;
  parts_.writer->begin(request_.prompts.front().token_count, cached_tokens, out);
  if (request_.scores_prompts) return;
  for (std::size_t i = 0; i < echoes_.size(); ++i) tell_echo(i, out);
}

void Reply::tell_echo(std::size_t prompt, std::string& out) {
  Echo& echo = echoes_[prompt];
  if (echo.text.empty() && echo.tokens.empty()) return;
  parts_.writer->echo(echo.choices, {.text = std::exchange(echo.text, {})}, echo.tokens, out);
}

void Reply::keep_alive() {
  parts_.http.post_after(kKeepAliveInterval, [weak = weak_from_this()] {
    const std::shared_ptr<Reply> self = weak.lock();
    if (self == nullptr || self->is_done_) return;
    if (!std::exchange(self->has_written_, false)) {
      self->parts_.responder->write(self->has_begun_ ? self->parts_.writer->keep_alive()
                                                     : self->parts_.writer->waiting());
    }
    self->keep_alive();
  });
}

void Reply::note(Note note) {
  const std::lock_guard lock(mutex_);
  notes_.push_back(std::move(note));
  if (std::exchange(is_draining_, true)) return;
  parts_.http.post([self = shared_from_this()] { self->drain(); });
}

void Reply::drain() {
  std::vector<Note> notes;
  {
    const std::lock_guard lock(mutex_);
    notes.swap(notes_);
    is_draining_ = false;
  }
  std::string out;
  for (Note& note : notes) {
    if (is_done_) return;
    take(note, out);
  }
  if (is_done_ || out.empty()) return;
  has_written_ = true;
  parts_.responder->write(std::move(out));
}

void Reply::take(Note& note, std::string& out) {
  Choice& choice = choices_[note.choice];
  const std::size_t prompt = request_.choices[note.choice];
  std::optional<TokenInfo> token;
  if (note.token) token = parts_.service.token_info(*note.token, note.top);
  if (note.cached_tokens) return begin_answer(*note.cached_tokens, out);
  if (!note.is_token && !note.is_end) {
    token->is_of_prompt = true;
    token->text = token->picked.bytes;
    Echo& echo = echoes_[prompt];
    echo.text += token->text;
    echo.tokens.push_back(*std::move(token));
    // Whole characters only: a stream's parts are texts.
    if (is_whole_text(echo.text)) tell_echo(prompt, out);
    return;
  }
  if (note.status.ok()) tell_echo(prompt, out);
  const bool was_begun = std::exchange(choice.has_begun, true);
  if (note.is_end && !std::exchange(choice.is_over, true)) --submitted_;
  if (note.status.ok() && (note.is_end || !was_begun)) submit_more();
  if (is_done_) return;
  if (choice.has_ended) {
    // It was cut off after its call.
    if (note.is_end) choice.statistics = note.statistics;
    return;
  }
  if (note.is_token) {
    if (first_token_seconds_ == 0) first_token_seconds_ = seconds_since(parts_.begun);
    ++choice.statistics.generated_tokens;
    if (token) {
      const bool is_silent = note.size == 0 && parts_.service.is_silent(note.id);
      choice.ledger.add(*std::move(token), note.size, is_silent);
    }
  }
  OutputEvents events;
  choice.parser->push(note.text, events);
  choice.size += note.text.size();
  if (note.is_end) choice.ledger.close(choice.size);
  if (note.is_end && note.status.ok()) {
    choice.parser->finish(events, was_cut(note.reason));
    choice.has_broken_call |= choice.parser->ends_in_call();
  }
  tell(note.choice, events, out);
  if (note.is_token && choice.is_thinking) ++reasoning_tokens_;
  if (choice.has_ended || !note.is_end) return;
  choice.statistics = note.statistics;
  if (note.reason == FinishReason::kCancelled && note.status.ok()) {
    return fail({.status = 503, .message = "the server is shutting down"});
  }
  if (!note.status.ok()) {
    ApiError error = error_of(note.status);
    if (error.status == 429) error.status = 503;  // its time was over, not the queue full
    return fail(error);
  }
  end_choice(note.choice, note, out);
  if (request_.settings.max_tokens != 0 || request_.leader_of(note.choice) != note.choice) return;
  for (const std::size_t other : echoes_[prompt].choices) {
    if (other != note.choice && !is_done_) end_choice(other, note, out);
  }
}

void Reply::tell(std::size_t index, OutputEvents& events, std::string& out) {
  Choice& choice = choices_[index];
  for (const OutputEvent& event : events) {
    choice.is_thinking = event.kind == OutputEvent::Kind::kReasoning;
    std::vector<TokenInfo> tokens;
    if (event.kind == OutputEvent::Kind::kText) {
      choice.ledger.tell(event.begin, event.begin + event.text.size(), tokens);
    }
    parts_.writer->event(index, event, tokens, out);
    if (event.kind != OutputEvent::Kind::kCallEnd) continue;
    choice.has_called |= event.is_complete;
    choice.has_broken_call |= !event.is_complete;
    if (!request_.ends_after_call || !event.is_complete) continue;
    parts_.scheduler.cancel(choice.id);
    return end_choice(index, {.choice = index, .statistics = choice.statistics}, out);
  }
}

void Reply::end_choice(std::size_t index, const Note& note, std::string& out) {
  Choice& choice = choices_[index];
  choice.has_ended = true;
  ChoiceEnd end;
  // What broke off within a call was cut, whatever ended it.
  if (was_cut(note.reason) || (choice.has_broken_call && !choice.has_called)) {
    end.reason = EndReason::kLength;
  } else if (choice.has_called) {
    end.reason = EndReason::kToolCalls;
  } else if (note.reason == FinishReason::kStopText) {
    end.reason = EndReason::kStopText;
    if (note.stop) end.stop_text = request_.settings.stop[*note.stop];
  }
  choice.finish = openai_finish_reason(end.reason);
  std::vector<TokenInfo> tokens;
  choice.ledger.finish(tokens);
  parts_.writer->end_choice(index, end, tokens, out);
  if (++ended_count_ == choices_.size()) finish(out);
}

void Reply::finish(std::string& out) {
  parts_.writer->finish(counts(), out);
  if (parts_.writer->is_stream()) {
    parts_.responder->write(std::move(out));
    parts_.responder->end();
  } else {
    send_whole(std::move(out));
  }
  out.clear();
  done(200, choices_.front().finish, {});
}

void Reply::send_whole(std::string begin) {
  HttpResponse response{.content_type = std::string(parts_.writer->content_type()),
                        .body = std::move(begin)};
  for (std::string part = parts_.writer->more(); !part.empty(); part = parts_.writer->more()) {
    response.body += part;
    if (response.body.size() < kWholeBytes) continue;
    // A large one is put into words only as fast as it is read, and has its place until then.
    response.more = [self = shared_from_this()] { return self->parts_.writer->more(); };
    break;
  }
  parts_.responder->send(std::move(response));
}

ReplyCounts Reply::counts() const {
  ReplyCounts counts{.reasoning_tokens = reasoning_tokens_};
  std::size_t slowest = 0;
  for (std::size_t i = 0; i < choices_.size(); ++i) {
    counts.completion_tokens += choices_[i].statistics.generated_tokens;
    // Choices of one prompt share it.
    if (i % request_.settings.choices == 0) {
      counts.prompt_tokens += request_.prompts[request_.choices[i]].token_count;
      counts.cached_tokens += choices_[i].statistics.cached_tokens;
    }
    const auto seconds = [&](std::size_t k) {
      const GenerationStatistics& run = choices_[k].statistics;
      return run.queue_seconds + run.prefill_seconds + run.decode_seconds;
    };
    if (seconds(i) > seconds(slowest)) slowest = i;
  }
  counts.statistics = choices_[slowest].statistics;
  return counts;
}

void Reply::fail(const ApiError& error) {
  if (is_done_) return;
  cancel();
  if (parts_.writer->is_stream()) {
    // Where nothing has been said yet, this is the whole answer.
    parts_.responder->send(parts_.refuse(error));
    std::string out;
    parts_.writer->fail(error, out);
    parts_.responder->write(std::move(out));
    parts_.responder->end();
  } else {
    parts_.responder->send(parts_.refuse(error));
  }
  done(error.status, "error", error.message);
}

void Reply::cancel() {
  for (const Choice& choice : choices_) {
    if (choice.id != 0 && !choice.has_ended) parts_.scheduler.cancel(choice.id);
  }
}

void Reply::done(unsigned status, std::string finish, std::string error) {
  if (std::exchange(is_done_, true)) return;
  parts_.on_done({.endpoint = parts_.endpoint,
                  .status = status,
                  .finish = std::move(finish),
                  .error = std::move(error),
                  .notes = request_.notes,
                  .counts = counts(),
                  .total_seconds = seconds_since(parts_.begun),
                  .first_token_seconds = first_token_seconds_});
}

}  // namespace flashmoe::server
