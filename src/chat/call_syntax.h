#ifndef FLASHMOE_CHAT_CALL_SYNTAX_H_
#define FLASHMOE_CHAT_CALL_SYNTAX_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/call_form.h"
#include "chat/tool_call_reader.h"

namespace flashmoe {

/// The marks that calls stand between. Calls stand in a block, one or several; where a call has no
/// mark of its own, each is a block. An empty mark is none.
struct CallMarks {
  std::string_view block_open;
  std::string_view block_close;
  std::string_view call_open;  // what each call begins with, if not with its name
  std::string_view call_close;
};

/// How a family of models writes calls of tools: how such calls are found, read, and held to a
/// request's tools. Immutable, one object per syntax.
class CallSyntax {
 public:
  CallSyntax(std::string_view name, const CallMarks& marks) : name_(name), marks_(marks) {}
  CallSyntax(const CallSyntax&) = delete;
  CallSyntax& operator=(const CallSyntax&) = delete;
  virtual ~CallSyntax() = default;

  std::string_view name() const { return name_; }
  const CallMarks& marks() const { return marks_; }

  /// What stands in a call of `function` with one argument, a text named `key`, in this order.
  virtual std::vector<std::string> signs(const std::string& function,
                                         const std::string& key) const = 0;
  /// Reads from behind block_open, or from call_open.
  virtual std::unique_ptr<ToolCallReader> make_reader(const ToolSchemas& schemas) const = 0;
  /// A call from call_open to call_close. `arguments`: what they are held to, if anything.
  /// `is_free`: the model has chosen to call, and writes with as much white space as it likes, up
  /// to a point; else word for word as its template does, and `arguments` are given.
  virtual OutputForm::Track call(CallForm& form, const std::string& function,
                                 std::optional<SchemaNode::Id> arguments, bool is_free) const = 0;
  /// Whether the syntax's marks are made of `text`, among others.
  bool spells(std::string_view text) const;
  /// What markup stands between, from mark to mark.
  std::vector<std::pair<std::string_view, std::string_view>> passages() const;
  /// What the template puts between a block's marks and its calls.
  virtual OutputForm::Part line() const { return OutputForm::Space{CallForm::kLayoutMax}; }

 private:
  const std::string_view name_;
  const CallMarks marks_;
};

/// Null for kNone.
const CallSyntax* call_syntax(ToolSyntax syntax);

/// "none" for kNone.
std::string_view name_of(ToolSyntax syntax);

/// All but kNone.
std::span<const ToolSyntax> call_syntaxes();

/// The syntax in which a call of `function`, with one argument, a text named `key`, stands in
/// `text`; kNone if in none that is known.
ToolSyntax syntax_of(std::string_view text, const std::string& function, const std::string& key);

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_CALL_SYNTAX_H_
