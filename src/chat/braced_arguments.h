#ifndef FLASHMOE_CHAT_BRACED_ARGUMENTS_H_
#define FLASHMOE_CHAT_BRACED_ARGUMENTS_H_

#include <optional>
#include <string>
#include <string_view>

#include "chat/arguments_reader.h"
#include "chat/call_form.h"
#include "chat/json_reader.h"

namespace flashmoe {

/// What strings stand between in Gemma's notation of values.
inline constexpr std::string_view kBracedQuote = "<|\"|>";

/// Arguments in the notation of Gemma 4, {key:<|"|>text<|"|>,other:[1,true]}, from behind the
/// first brace: keys are bare, texts stand between marks as they are, everything else is as in
/// JSON. JSON's own strings are taken too. They are told as JSON.
class BracedArguments : public ArgumentsReader {
 public:
  Verdict read(std::string& text, OutputEvents& events) override;

 private:
  enum class State : std::uint8_t { kMember, kColon, kItem, kValue, kMarked, kQuoted, kAfter };
  enum class Step : std::uint8_t { kGoOn, kWait, kDone, kBroken };

  /// Takes from the front of `text`, and adds to `json`.
  Step step(std::string& text, std::string& json);
  Step read_key(std::string& text, std::string& json);
  Step read_value(std::string& text, std::string& json);
  Step read_marked(std::string& text, std::string& json);
  Step read_quoted(std::string& text, std::string& json);
  Step read_word(std::string& text, std::string& json);
  Step open(std::string& text, std::string& json);
  Step close(std::string& text, std::string& json);
  /// Before a member or an item.
  void separate(std::string& json);

  State state_ = State::kMember;
  std::string brackets_;  // that are open
  bool is_first_ = true;  // of its object or list
  std::optional<JsonReader> quoted_;
};

/// The members of an object that `node` allows, in that notation, from behind the object's brace to
/// behind the one that ends it; values without a simple form in it are held to as JSON. None where
/// nothing, or nothing simple, is known of the members.
std::optional<OutputForm::Rule> add_braced_members(CallForm& form, SchemaNode::Id node);

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_BRACED_ARGUMENTS_H_
