#ifndef FLASHMOE_CHAT_JSON_OBJECT_CALLS_H_
#define FLASHMOE_CHAT_JSON_OBJECT_CALLS_H_

#include "chat/call_syntax.h"

namespace flashmoe {

/// Calls that are an object of JSON with a name and arguments.
class JsonObjectSyntax : public CallSyntax {
 public:
  JsonObjectSyntax(std::string_view name, const CallMarks& marks, std::string_view arguments_key)
      : CallSyntax(name, marks), arguments_key_(arguments_key) {}

  std::vector<std::string> signs(const std::string& function,
                                 const std::string& key) const override;
  std::unique_ptr<ToolCallReader> make_reader(const ToolSchemas& schemas) const override;
  OutputForm::Track call(CallForm& form, const std::string& function,
                         std::optional<SchemaNode::Id> arguments, bool is_free) const override;
  OutputForm::Part line() const override { return OutputForm::Literal{"\n"}; }

 private:
  const std::string_view arguments_key_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_JSON_OBJECT_CALLS_H_
