#ifndef FLASHMOE_CHAT_JSON_AUTOMATON_H_
#define FLASHMOE_CHAT_JSON_AUTOMATON_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "chat/json_schema.h"

namespace flashmoe {

/// Reads JSON byte by byte, and says whether it is still a value that a schema allows. Copies are
/// cheap, to try what might come. Where a schema has alternatives, all that are still possible are
/// followed.
class JsonAutomaton {
 public:
  /// How much white space may stand between two tokens: models that are held to a form may else
  /// never come to a point.
  struct Options {
    std::size_t space_max = std::numeric_limits<std::size_t>::max();
  };

  /// `root` must outlive this and its copies.
  JsonAutomaton(const SchemaNode& root, const Options& options);
  explicit JsonAutomaton(const SchemaNode& root) : JsonAutomaton(root, Options()) {}

  /// Takes one byte. False, and nothing has changed, if no such value goes on with it.
  bool push(char c);
  /// Takes all of `text`. False if not: what it is then is of no use.
  bool push(std::string_view text);

  /// Whether the value may end here, and whether it must.
  bool can_end() const;
  bool must_end() const;

  /// Whether it is within a string, of any length, between whole characters: where any text can
  /// come that has neither quotes, backslashes nor control characters.
  bool is_in_free_text() const;

 private:
  enum class Phase : std::uint8_t {
    kStart,  // of a value
    kObjectFirst,
    kObjectKey,
    kKey,
    kColon,
    kObjectNext,
    kArrayFirst,
    kArrayNext,
    kString,
    kEnum,
    kLiteral,  // true, false, null
    kMinus,
    kZero,
    kInteger,
    kPoint,
    kFraction,
    kExponent,
    kExponentSign,
    kExponentDigits,
  };
  struct Frame {
    const SchemaNode* node = nullptr;
    Phase phase = Phase::kStart;
    bool has_integers_only = false;
    std::uint8_t escape = 0;  // of a string or key: 1 after a backslash, 2 to 5: hex digits to come
    std::uint8_t continuation = 0;    // bytes of a character still to come
    std::size_t count = 0;            // items so far, code points so far, or bytes of an enum
    std::string text;                 // of the key, the enum or the rest of a literal
    std::vector<bool> seen;           // of the node's properties
    std::vector<std::string> others;  // keys of other properties
  };
  using Stack = std::vector<Frame>;

  void advance(Stack stack, char c, std::size_t depth, std::vector<Stack>& out);
  void begin_value(Stack stack, char c, std::size_t depth, std::vector<Stack>& out);
  /// The rules of one frame. True: the byte was taken. False: `retry` says whether the stack has
  /// changed such that the byte is to be tried again.
  bool step(Stack& stack, char c, bool& retry);
  bool step_object(Stack& stack, char c);
  bool step_array(Stack& stack, char c, bool& retry);
  static bool step_number(Frame& frame, char c);
  static bool step_text(Frame& frame, char c);
  static bool is_number_complete(const Frame& frame);
  bool end_key(Frame& frame) const;
  static bool may_have_key(const Frame& frame, std::string_view beginning);
  static bool has_more_keys(const Frame& frame);
  static bool has_all_required(const Frame& frame);

  const std::size_t space_max_;
  std::size_t space_ = 0;  // bytes of white space just before
  std::vector<Stack> stacks_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_JSON_AUTOMATON_H_
