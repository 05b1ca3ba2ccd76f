#ifndef FLASHMOE_CHAT_NAMED_JSON_CALLS_H_
#define FLASHMOE_CHAT_NAMED_JSON_CALLS_H_

#include "chat/call_syntax.h"

namespace flashmoe {

/// What stands between a call's opening mark and its arguments.
struct CallHead {
  std::string_view prefix;     // before the function's name
  std::string_view separator;  // before the arguments
  /// A conversation's calls are counted, from 0: behind the name stand a colon and a number.
  bool has_index = false;
};

/// Calls that are a name, a mark, and arguments as an object of JSON.
class NamedJsonSyntax : public CallSyntax {
 public:
  NamedJsonSyntax(std::string_view name, const CallMarks& marks, const CallHead& head)
      : CallSyntax(name, marks), head_(head) {}

  std::vector<std::string> signs(const std::string& function,
                                 const std::string& key) const override;
  std::unique_ptr<ToolCallReader> make_reader(const ToolSchemas& schemas) const override;
  OutputForm::Track call(CallForm& form, const std::string& function,
                         std::optional<SchemaNode::Id> arguments, bool is_free) const override;

 private:
  const CallHead head_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_NAMED_JSON_CALLS_H_
