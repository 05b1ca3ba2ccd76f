#ifndef FLASHMOE_CHAT_CALL_FORM_H_
#define FLASHMOE_CHAT_CALL_FORM_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/output_form.h"

namespace flashmoe {

/// What the forms of calls are built with: adds to a form's rules and nodes.
class CallForm {
 public:
  using Rule = OutputForm::Rule;
  using Track = OutputForm::Track;

  /// White space where models put none, a newline, or an empty line.
  static constexpr std::uint32_t kLayoutMax = 2;

  /// `form` must outlive this.
  explicit CallForm(OutputForm& form) : form_(form) {}

  /// Rule 0 is the whole output's, and is left to whoever owns the form.
  Rule add_rule(std::vector<Track> tracks = {});
  SchemaNode::Id add_node(SchemaNode node);
  /// Of JSON: exactly this text.
  SchemaNode::Id add_text_node(const std::string& text);

  /// How a parameter is written outside JSON.
  struct ParameterMarks {
    std::function<Track(const std::string& key)> open;
    std::string close;        // with the layout that always stands before and behind it
    std::string_view within;  // the part of it that no value holds
  };
  /// Each property of `arguments` in order, those that are not required or not, then `end`. Texts
  /// stand as they are, everything else as JSON. None where nothing, or nothing simple, is known.
  std::optional<Rule> add_parameters(SchemaNode::Id arguments, const ParameterMarks& marks,
                                     Track end);

 private:
  void add_value_tracks(SchemaNode::Id value, const ParameterMarks& marks, Rule rule);

  OutputForm& form_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_CALL_FORM_H_
