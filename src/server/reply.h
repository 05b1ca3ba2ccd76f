#ifndef FLASHMOE_SERVER_REPLY_H_
#define FLASHMOE_SERVER_REPLY_H_

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "chat/output_parser.h"
#include "flashmoe/scheduler.h"
#include "http/body_room.h"
#include "http/http_server.h"
#include "server/model_service.h"
#include "server/reply_writer.h"
#include "server/token_ledger.h"

namespace flashmoe::server {

/// What became of a request, for the log and the metrics.
struct ReplyRecord {
  std::string endpoint;
  unsigned status = 200;
  std::string finish;              // "stop", "length", "tool_calls", "cancelled", "error", ...
  std::string error;               // what failed, if anything did
  std::vector<std::string> notes;  // what was asked for, and not done quite so
  ReplyCounts counts;
  double total_seconds = 0;
  double first_token_seconds = 0;  // from the request; 0: there was none
};

/// One request for text, from its submission to the last byte of its answer: hears of all its
/// choices from the scheduler, reads what they say in the server's thread, and lets the writer put
/// it into words. Keeps itself alive until then.
class Reply : public std::enable_shared_from_this<Reply> {
 public:
  struct Parts {
    HttpServer& http;
    Scheduler& scheduler;
    const ModelService& service;
    std::shared_ptr<Responder> responder;
    std::unique_ptr<ReplyWriter> writer;
    /// How this endpoint says that something is wrong.
    std::function<HttpResponse(const ApiError&)> refuse;
    std::function<void(const ReplyRecord&)> on_done;  // called once, by the server's thread
    std::string endpoint;
    std::chrono::steady_clock::time_point begun;
    std::chrono::seconds time_limit{0};  // 0: none
    /// What the prompts take of the memory for those that wait.
    std::shared_ptr<void> lease;
    /// Where the answer has a place before it is begun, and how large it is at most, roughly.
    std::shared_ptr<BodyRoom> answers;
    std::size_t answer_bytes = 0;
  };

  Reply(Parts parts, PreparedRequest request);

  /// Any thread.
  void start();

 private:
  class Listener;
  /// What the scheduler said of a choice.
  struct Note {
    std::size_t choice = 0;
    std::optional<std::size_t> cached_tokens;  // it has a place, with these of its prompt known
    std::string text;
    bool is_token = false;
    std::int32_t id = 0;                // of the token
    std::size_t size = 0;               // bytes that it adds to the text
    std::optional<TokenLogprob> token;  // if logprobs are wanted; also of a token of the prompt
    std::vector<TokenLogprob> top;
    bool is_end = false;
    Status status;
    FinishReason reason = FinishReason::kStop;
    std::optional<std::size_t> stop;
    GenerationStatistics statistics;
  };
  struct Choice {
    std::unique_ptr<OutputParser> parser;
    GenerationId id = 0;
    TokenLedger ledger;
    std::size_t size = 0;  // bytes of output that were parsed
    GenerationStatistics statistics;
    bool has_called = false;
    bool has_broken_call = false;
    bool is_thinking = false;
    bool is_submitted = false;
    bool has_begun = false;  // its prompt has been computed
    bool has_ended = false;
    bool is_over = false;  // for the scheduler, too
    std::string finish;
  };

  /// What comes before the answers of a prompt, as far as the writer has not said it.
  struct Echo {
    std::string text;
    std::vector<TokenInfo> tokens;
    std::vector<std::size_t> choices;  // those of the prompt, in order
  };

  /// There is a place for the answer.
  void begin_work(BodyLease lease);
  /// Submits choices, as many as the scheduler has places for and one more: what waits takes
  /// memory, and takes turns with other requests.
  void submit_more();
  bool may_be_submitted(std::size_t choice) const;
  /// A stream's headers.
  void begin();
  /// The first choice has a place: says what comes before the answer.
  void begin_answer(std::size_t cached_tokens, std::string& out);
  void tell_echo(std::size_t prompt, std::string& out);
  void note(Note note);
  /// Works off what was noted; in the server's thread.
  void drain();
  void take(Note& note, std::string& out);
  void tell(std::size_t index, OutputEvents& events, std::string& out);
  void end_choice(std::size_t index, const Note& note, std::string& out);
  void fail(const ApiError& error);
  void finish(std::string& out);
  void send_whole(std::string begin);
  void cancel();
  void keep_alive();
  void done(unsigned status, std::string finish, std::string error);
  ReplyCounts counts() const;

  Parts parts_;
  PreparedRequest request_;
  std::vector<Choice> choices_;
  std::vector<Echo> echoes_;  // of each prompt
  std::size_t window_ = 1;    // choices that are submitted at once
  std::size_t submitted_ = 0;
  BodyLease answer_lease_;
  std::size_t reasoning_tokens_ = 0;
  std::size_t ended_count_ = 0;
  double first_token_seconds_ = 0;
  bool is_done_ = false;
  bool has_begun_ = false;    // the writer has
  bool has_written_ = false;  // since the last look of keep_alive()

  std::mutex mutex_;
  std::vector<Note> notes_;
  bool is_draining_ = false;  // drain() is to come
};

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_REPLY_H_
