#ifndef FLASHMOE_SERVER_CHAT_REQUEST_H_
#define FLASHMOE_SERVER_CHAT_REQUEST_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "server/fields.h"

namespace flashmoe::server {

/// How tokens are to be picked and when to end, as far as a request says: the model's own
/// recommendation fills the rest.
struct GenerationSettings {
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<double> min_p;
  std::optional<std::size_t> top_k;
  std::optional<double> repeat_penalty;
  std::optional<std::size_t> repeat_window;
  std::optional<double> presence_penalty;
  std::optional<double> frequency_penalty;
  std::optional<std::uint64_t> seed;
  std::vector<std::pair<std::int32_t, double>> logit_bias;
  std::optional<std::size_t> max_tokens;  // none: to the end of the context
  std::vector<std::string> stop;
  bool ignore_eos = false;
  std::optional<std::size_t> top_logprobs;  // none: no logprobs
  std::size_t choices = 1;
};

/// Whether, and what, the model may or must call.
struct ToolChoice {
  enum class Kind : std::uint8_t { kAuto, kNone, kRequired };
  Kind kind = Kind::kAuto;
  std::vector<std::string> allowed;  // names; empty: all tools of the request

  bool allows(std::string_view name) const;
};

/// A conversation to be continued, in the one form that all dialects are brought to: the same
/// conversation is the same prompt, whoever asks.
struct ChatRequest {
  /// OpenAI's messages: role system, user, assistant or tool; content is a text; tool_calls have
  /// arguments as the JSON text that the model wrote; reasoning_content.
  Json messages = Json::array();
  Json tools = Json::array();  // {"type": "function", "function": {name, description, parameters}}
  std::set<std::string, std::less<>> strict_tools;  // whose schemas must be held to, beside those
                                                    // whose function says so
  ToolChoice tool_choice;
  bool has_parallel_calls = true;  // more than one call in a reply
  Json template_kwargs = Json::object();
  /// The form that the answer must have: none, or a JSON schema.
  std::optional<Json> answer_schema;
  bool is_schema_strict = false;  // what cannot be held to is an error
  /// The last message is an assistant's that the model is to go on with.
  bool continues_last = false;
  GenerationSettings settings;
};

/// A text to be continued as it stands.
struct CompletionRequest {
  /// Each a text or token ids: one choice each, or `settings.choices`.
  std::vector<std::variant<std::string, std::vector<std::int32_t>>> prompts;
  bool echo = false;
  std::string suffix;  // not empty: the model is to fill in what is between
  std::optional<Json> answer_schema;
  bool is_schema_strict = false;  // what cannot be held to is an error
  GenerationSettings settings;
};

/// What the dialects have in common: sampling fields under OpenAI's names, and those that local
/// servers add.
GenerationSettings read_settings(Fields& fields);

/// A choice that only tools could meet which are left out because a provider runs them, `left_out`
/// by name or type, is for none. `notes`: says so.
void drop_choice_of(const std::vector<std::string>& left_out, ChatRequest& request,
                    std::vector<std::string>& notes);

/// "n", of the APIs that give several answers.
std::size_t read_choices(Fields& fields);

/// 400, for a conversation of which, without empty messages of an assistant, nothing is left.
ApiError nothing_to_answer(const char* field);

/// Gathers the system messages that lead into one, and leaves out messages without text or calls,
/// as clients send them and templates trip over them. A system message in mid-conversation stays
/// where it is: it changes nothing of what comes before it.
void normalize_messages(Json& messages);

/// Makes system messages in mid-conversation marked parts of the neighbouring user turns, for
/// templates that know only a leading one. `messages`: as normalize_messages() leaves them.
void fold_system_messages(Json& messages);

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_CHAT_REQUEST_H_
