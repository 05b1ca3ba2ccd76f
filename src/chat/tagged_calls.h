#ifndef FLASHMOE_CHAT_TAGGED_CALLS_H_
#define FLASHMOE_CHAT_TAGGED_CALLS_H_

#include "chat/call_syntax.h"

namespace flashmoe {

/// How each parameter of a call is marked. All marks but those of a name begin with '<'.
struct ParameterTags {
  std::string_view name_close;  // behind the function's name; empty: white space or a mark ends it
  std::string_view key_open;
  std::string_view key_close;
  std::string_view value_open;  // white space may come before it; empty: key_close is all
  std::string_view value_close;
  /// Marks and values stand on lines of their own: a newline on either side is not of the value.
  bool has_lines = false;
};

/// Calls in which each parameter stands between tags: texts as they are, all else as JSON.
class TaggedSyntax : public CallSyntax {
 public:
  TaggedSyntax(std::string_view name, const CallMarks& marks, const ParameterTags& tags)
      : CallSyntax(name, marks), tags_(tags) {}

  std::vector<std::string> signs(const std::string& function,
                                 const std::string& key) const override;
  std::unique_ptr<ToolCallReader> make_reader(const ToolSchemas& schemas) const override;
  OutputForm::Track call(CallForm& form, const std::string& function,
                         std::optional<SchemaNode::Id> arguments, bool is_free) const override;
  OutputForm::Part line() const override;

 private:
  const ParameterTags tags_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_TAGGED_CALLS_H_
