// POST /v1/completions
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "base/units.h"
#include "server/dialect.h"
#include "server/logprob_lists.h"
#include "server/openai_common.h"

namespace flashmoe::server {
namespace {

constexpr std::size_t kPromptsMax = 64;

/// What a token takes in the lists of logprobs, twice by its name, and another one beside it.
constexpr std::size_t kTokenBytesKept = 128;
constexpr std::size_t kAlternativeBytesKept = 40;

/// How many answers of each prompt are wanted, of how many that are made.
struct CompletionCounts {
  std::size_t prompts = 1;
  std::size_t n = 1;
  std::size_t best_of = 1;
};

class CompletionWriter : public EventStreamWriter {
 public:
  CompletionWriter(const std::string& model, bool is_stream, bool includes_usage,
                   const CompletionCounts& counts, bool has_logprobs)
      : EventStreamWriter(is_stream),
        head_(dump({{"id", random_id("cmpl-")},
                    {"object", "text_completion"},
                    {"created", unix_seconds()},
                    {"model", model}})),
        includes_usage_(includes_usage),
        has_logprobs_(has_logprobs),
        counts_(counts),
        choices_(counts.prompts * counts.best_of) {
    head_.pop_back();  // the brace that closes it
  }

  void event(std::size_t index, const OutputEvent& event, std::vector<TokenInfo>& tokens,
             std::string& out) override {
    add(index, event.text, tokens);
    if (is_stream()) append_chunk(out, index, Json());
  }
  void echo(std::span<const std::size_t> choices, const OutputEvent& event,
            std::vector<TokenInfo>& tokens, std::string& out) override {
    if (is_stream()) return EventStreamWriter::echo(choices, event, tokens, out);
    std::shared_ptr<Said>& echo = choices_[choices.front()].echo;
    if (echo == nullptr) echo = std::make_shared<Said>();
    for (const std::size_t index : choices) choices_[index].echo = echo;
    echo->text += event.text;
    for (const TokenInfo& token : tokens) {
      if (has_logprobs_) echo->logprobs.add(token);
    }
    tokens.clear();
  }
  void end_choice(std::size_t index, const ChoiceEnd& end, std::vector<TokenInfo>& tokens,
                  std::string& out) override {
    add(index, {}, tokens);
    choices_[index].reason = openai_finish_reason(end.reason);
    if (is_stream()) append_chunk(out, index, choices_[index].reason);
  }
  void finish(const ReplyCounts& counts, std::string& out) override {
    const std::string totals = R"(,"usage":)" + dump(openai_usage(counts)) + R"(,"timings":)" +
                               dump(timings_json(counts)) + "}";
    if (is_stream()) {
      if (includes_usage_) out += "data: " + head_ + R"(,"choices":[])" + totals + "\n\n";
      out += "data: [DONE]\n\n";
      return;
    }
    out += head_ + R"(,"choices":[)";
    told_ = best_choices();
    totals_ = "]" + totals;
  }
  std::string more() override {
    if (next_told_ == told_.size()) return std::exchange(totals_, {});
    std::string part = next_told_ == 0 ? "" : ",";
    // What has been said is in memory no longer than it must be.
    const Choice choice = std::exchange(choices_[told_[next_told_]], {});
    append_choice(part, next_told_++, choice, choice.reason);
    return part;
  }
  std::size_t bytes_kept(std::optional<std::size_t> top_logprobs) const override {
    if (!has_logprobs_) return bytes_kept_as_tokens(std::nullopt);
    return kTokenBytesKept + top_logprobs.value_or(0) * kAlternativeBytesKept;
  }
  void fail(const ApiError& error, std::string& out) override {
    out += "data: " + openai_error_json(error) + "\n\n";
  }

 private:
  struct Said {
    std::string text;
    LogprobLists logprobs;
  };
  struct Choice {
    std::shared_ptr<Said> echo;  // shared by the choices of a prompt
    std::string text;
    LogprobLists logprobs;
    std::string_view reason;
    double logprob_sum = 0;  // of what was generated
    std::size_t token_count = 0;

    double mean_logprob() const { return ratio(logprob_sum, static_cast<double>(token_count)); }
  };

  void add(std::size_t index, std::string_view text, std::vector<TokenInfo>& tokens) {
    Choice& choice = choices_[index];
    choice.text += text;
    if (choice.echo != nullptr && choice.token_count == 0) {
      choice.logprobs.go_on_after(choice.echo->logprobs);
    }
    for (const TokenInfo& token : tokens) {
      if (has_logprobs_) choice.logprobs.add(token);
      if (token.is_of_prompt) continue;
      choice.logprob_sum += static_cast<double>(token.picked.logprob);
      ++choice.token_count;
    }
    tokens.clear();
  }

  /// Of each prompt's the `n` whose tokens are likeliest on average, likeliest first.
  std::vector<std::size_t> best_choices() const {
    std::vector<std::size_t> best;
    for (std::size_t prompt = 0; prompt < counts_.prompts; ++prompt) {
      std::vector<std::size_t> order(counts_.best_of);
      std::iota(order.begin(), order.end(), prompt * counts_.best_of);
      if (counts_.best_of > counts_.n) {
        std::ranges::stable_sort(order, std::greater<>(),
                                 [&](std::size_t i) { return choices_[i].mean_logprob(); });
      }
      best.insert(best.end(), order.begin(),
                  order.begin() + static_cast<std::ptrdiff_t>(counts_.n));
    }
    return best;
  }

  void append_chunk(std::string& out, std::size_t index, const Json& reason) {
    out += "data: " + head_ + R"(,"choices":[)";
    append_choice(out, index, choices_[index], reason);
    out += includes_usage_ ? R"(],"usage":null})" : "]}";
    out += "\n\n";
    choices_[index].text.clear();
    choices_[index].logprobs.clear();
  }
  void append_choice(std::string& out, std::size_t index, const Choice& choice,
                     const Json& reason) const {
    const Said* const echo = choice.echo.get();
    out += fmt::format(R"({{"index":{},"text":)", index);
    out += dump(Json(echo != nullptr ? echo->text + choice.text : choice.text));
    out += R"(,"logprobs":)";
    if (has_logprobs_) {
      choice.logprobs.append(echo != nullptr ? &echo->logprobs : nullptr, out);
    } else {
      out += "null";
    }
    out += R"(,"finish_reason":)" + dump(reason) + "}";
  }

  std::string head_;  // what all chunks begin with
  const bool includes_usage_;
  const bool has_logprobs_;
  const CompletionCounts counts_;
  std::vector<Choice> choices_;
  // Of a whole reply that is being handed over: the choices in it, the next one, and its end.
  std::vector<std::size_t> told_;
  std::size_t next_told_ = 0;
  std::string totals_;
};

bool is_ids(const Json& value) {
  return value.is_array() && !value.empty() &&
         std::all_of(value.begin(), value.end(), [](const Json& id) {
           return id.is_number_integer() && id >= 0 && id <= 0x7fffffff;
         });
}

void read_prompts(Fields& fields, CompletionRequest& request) {
  const Json* const prompt = fields.find("prompt");
  if (prompt == nullptr) return fields.fail("prompt", "is missing");
  const Json list = prompt->is_array() && !is_ids(*prompt) ? *prompt : Json::array({*prompt});
  if (list.empty() || list.size() > kPromptsMax) {
    return fields.fail("prompt", "must have from 1 to 64 prompts");
  }
  for (const Json& item : list) {
    if (item.is_string()) {
      request.prompts.emplace_back(item.get<std::string>());
    } else if (is_ids(item)) {
      request.prompts.emplace_back(item.get<std::vector<std::int32_t>>());
    } else {
      return fields.fail("prompt", "must be a text, token ids, or a list of those");
    }
  }
}

}  // namespace

ApiResult<DialectRequest> read_openai_completion(const Json& body, const std::string& model) {
  Fields fields(body);
  CompletionRequest request;
  request.settings = read_settings(fields);
  // OpenAI's own default here, and only here.
  if (!request.settings.max_tokens && !fields.has("max_tokens") && !fields.has("n_predict")) {
    request.settings.max_tokens = 16;
  }
  if (const auto logprobs = fields.integer("logprobs", 0, 20)) {
    request.settings.top_logprobs = static_cast<std::size_t>(*logprobs);
  }
  read_prompts(fields, request);
  request.echo = fields.boolean("echo").value_or(false);
  request.suffix = fields.text("suffix").value_or("");
  read_response_format(fields, "response_format", request.answer_schema, request.is_schema_strict);
  const bool is_stream = fields.boolean("stream").value_or(false);
  const bool includes_usage = read_includes_usage(fields);
  CompletionCounts counts = {.prompts = request.prompts.size(), .n = read_choices(fields)};
  counts.best_of = counts.n;
  if (const auto best_of = fields.integer("best_of", 1, kPromptsMax)) {
    counts.best_of = static_cast<std::size_t>(*best_of);
  }
  if (counts.best_of < counts.n) fields.fail("best_of", "must be at least n");
  if (counts.best_of > counts.n && is_stream) {
    fields.fail("best_of", "beyond n cannot be streamed: which are best is known at the end");
  }
  if (fields.error()) return *fields.error();
  if (counts.prompts * counts.best_of > kPromptsMax) {
    return bad_request("n", "n: times the prompts is more than 64");
  }
  request.settings.choices = counts.best_of;
  const bool has_logprobs = request.settings.top_logprobs.has_value();
  // The best are told by their logprobs.
  if (counts.best_of > counts.n && !has_logprobs) request.settings.top_logprobs = 0;
  auto writer =
      std::make_unique<CompletionWriter>(model, is_stream, includes_usage, counts, has_logprobs);
  return DialectRequest{.wanted = std::move(request), .writer = std::move(writer)};
}

}  // namespace flashmoe::server
