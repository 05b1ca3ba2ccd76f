#ifndef FLASHMOE_SERVER_REPLY_WRITER_H_
#define FLASHMOE_SERVER_REPLY_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chat/output_event.h"
#include "flashmoe/scheduler.h"
#include "server/api_error.h"
#include "server/fields.h"

namespace flashmoe::server {

/// A token as replies show it, with what the model thought of it.
struct TokenInfo {
  struct Alternative {
    std::int32_t id = 0;
    std::string bytes;
    float logprob = 0;
  };
  Alternative picked;
  std::vector<Alternative> top;
  std::string text;  // of its bytes, what is in the answer's text
  bool is_of_prompt = false;
  bool is_first = false;  // of a prompt: nothing predicts it
};

enum class EndReason : std::uint8_t { kStop, kStopText, kLength, kToolCalls };

struct ChoiceEnd {
  EndReason reason = EndReason::kStop;
  std::string stop_text;  // if kStopText
};

/// What a whole reply took, over its choices.
struct ReplyCounts {
  std::size_t prompt_tokens = 0;  // cached ones included
  std::size_t cached_tokens = 0;
  std::size_t completion_tokens = 0;
  std::size_t reasoning_tokens = 0;  // of them
  GenerationStatistics statistics;   // of the choice that took longest
};

/// A call of a tool, as far as it is known.
struct CollectedCall {
  std::string id;
  std::string name;
  std::string arguments;  // JSON, if it is complete
  bool is_complete = false;
};

/// What one choice has said.
struct CollectedChoice {
  std::string text;
  std::string reasoning;
  std::vector<CollectedCall> calls;
  std::vector<TokenInfo> tokens;
  ChoiceEnd end;

  /// Adds what an event says. `call_prefix` begins the id of a new call.
  void add(const OutputEvent& event, std::string_view call_prefix);
};

/// Puts a reply into a dialect's words, whole or as a stream. What it appends to `out` is to be
/// sent. One thread at a time; choices count from 0.
class ReplyWriter {
 public:
  virtual ~ReplyWriter() = default;

  virtual bool is_stream() const = 0;
  virtual std::string_view content_type() const = 0;

  /// The prompt is being computed, but for `cached_tokens` of it: how a stream begins.
  virtual void begin(std::size_t /*prompt_tokens*/, std::size_t /*cached_tokens*/,
                     std::string& /*out*/) {}
  /// Something was said. `tokens`: those of the text that are now whole, if logprobs are wanted;
  /// the writer may take them.
  virtual void event(std::size_t choice, const OutputEvent& event, std::vector<TokenInfo>& tokens,
                     std::string& out) = 0;
  /// What comes before the answers of `choices`, which have one prompt: as event() for each.
  virtual void echo(std::span<const std::size_t> choices, const OutputEvent& event,
                    std::vector<TokenInfo>& tokens, std::string& out);
  /// `tokens` are left over.
  virtual void end_choice(std::size_t choice, const ChoiceEnd& end, std::vector<TokenInfo>& tokens,
                          std::string& out) = 0;
  /// All choices have ended: the end of a stream, or the whole reply.
  virtual void finish(const ReplyCounts& counts, std::string& out) = 0;
  /// What comes after that in a whole reply, part by part; empty: that was all.
  virtual std::string more() { return {}; }
  /// What is kept of a token until the end, roughly, where so many others are told beside it.
  virtual std::size_t bytes_kept(std::optional<std::size_t> top_logprobs) const = 0;
  /// Something failed after a stream began.
  virtual void fail(const ApiError& error, std::string& out) = 0;
  /// To keep a stream's connection from falling asleep while nothing is said: before begin(), and
  /// after it.
  virtual std::string waiting() const = 0;
  virtual std::string keep_alive() const = 0;
};

/// Of a text alone, and of TokenInfo with the JSON made of it.
std::size_t bytes_kept_as_tokens(std::optional<std::size_t> top_logprobs);

/// Writers whose streams are text/event-stream, in which a comment keeps a connection awake.
class EventStreamWriter : public ReplyWriter {
 public:
  explicit EventStreamWriter(bool is_stream) : is_stream_(is_stream) {}
  bool is_stream() const override { return is_stream_; }
  std::string_view content_type() const override {
    return is_stream_ ? "text/event-stream" : "application/json";
  }
  std::string waiting() const override { return ": ping\n\n"; }
  std::string keep_alive() const override { return waiting(); }
  std::size_t bytes_kept(std::optional<std::size_t> top_logprobs) const override {
    return bytes_kept_as_tokens(top_logprobs);
  }

 private:
  const bool is_stream_;
};

/// Whether an event adds to what one of `kind` began, in dialects that tell a reply as a list:
/// calls are begun by kCallBegin, always anew.
bool adds_to(OutputEvent::Kind kind, const OutputEvent& event);

/// Whether an event adds to the last of such a list, each with its `kind` and whether it `is_open`.
template <typename Parts>
bool goes_on(const Parts& parts, const OutputEvent& event) {
  return !parts.empty() && parts.back().is_open && adds_to(parts.back().kind, event);
}

/// Whether a text does not end within a character.
bool is_whole_text(std::string_view text);

/// Moves all tokens to the end of `kept`.
void move_tokens(std::vector<TokenInfo>& tokens, std::vector<TokenInfo>& kept);

/// `prefix` and 24 random hexadecimal digits.
std::string random_id(std::string_view prefix);
/// Now, in seconds since 1970.
std::int64_t unix_seconds();
/// As 2026-01-31T12:00:00Z.
std::string rfc3339(std::int64_t unix_seconds);

/// An event of a text/event-stream; no event line if `name` is empty.
void append_sse(std::string& out, std::string_view name, const Json& data);

/// The timings that llama-server gives, with what this engine adds.
Json timings_json(const ReplyCounts& counts);

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_REPLY_WRITER_H_
