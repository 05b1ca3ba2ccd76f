#ifndef FLASHMOE_SERVER_ANSWER_FORMS_H_
#define FLASHMOE_SERVER_ANSWER_FORMS_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/call_form.h"
#include "chat/call_syntax.h"
#include "chat/output_form.h"
#include "server/api_error.h"
#include "server/chat_request.h"

namespace flashmoe::server {

/// What may come before an answer.
enum class Thoughts : std::uint8_t {
  kNone,
  kPossible,  // <think> ... </think>
  kBegun,     // the prompt ends within them
};

/// Builds the form that one request's answers are held to. Thoughts are free; then come, as the
/// request has it, a call of a tool, JSON of a schema or a call, or free text in which calls name
/// tools that there are. What a schema asks for and is not held to is in `notes`.
class AnswerForms {
 public:
  explicit AnswerForms(ToolSyntax syntax) : syntax_(call_syntax(syntax)) {}

  /// Reads the request's schemas. Errors: 400, for those that cannot be held to.
  std::optional<ApiError> read(const ChatRequest& request, std::vector<std::string>& notes);
  std::optional<ApiError> read(const CompletionRequest& request, std::vector<std::string>& notes);

  /// Whether the answer has a form from its first byte.
  bool is_bound() const { return is_bound_; }
  /// The form; null where anything may come. Ends the building.
  std::shared_ptr<const OutputForm> form(Thoughts thoughts);

 private:
  using Rule = OutputForm::Rule;

  std::optional<ApiError> read_answer(const std::optional<Json>& schema, bool is_strict,
                                      std::vector<std::string>& notes);
  std::optional<ApiError> read_tools(const ChatRequest& request, std::vector<std::string>& notes);
  OutputForm::Track block_of(OutputForm::Track call, const OutputForm::Part& line) const;

  const CallSyntax* const syntax_;  // null: the model knows no tools
  std::shared_ptr<OutputForm> form_ = std::make_shared<OutputForm>();
  CallForm builder_{*form_};
  bool is_bound_ = false;
  bool has_calls_in_text_ = false;
  Rule answer_ = 0;
};

/// A tool's parameters, with what its properties refer to in their place: readers of calls look at
/// a property's own type.
Json with_types(const Json& parameters);

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_ANSWER_FORMS_H_
