#ifndef FLASHMOE_CHAT_FORM_CONSTRAINT_H_
#define FLASHMOE_CHAT_FORM_CONSTRAINT_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "chat/json_automaton.h"
#include "chat/json_schema.h"
#include "flashmoe/scheduler.h"

namespace flashmoe {

/// The bytes of a model's tokens. Shared by all constraints; immutable.
struct TokenTable {
  std::vector<std::string> bytes;  // by id; empty: no token, or a special one
  std::vector<std::int32_t> eos_ids;
};

/// The form that an output is to have: one of several tracks, each made of parts in order.
class OutputForm {
 public:
  struct Literal {
    std::string text;
  };
  struct Value {
    std::shared_ptr<const JsonSchema> schema;
  };
  /// Any text up to this mark, which is part of it.
  struct Until {
    std::string mark;
  };
  using Part = std::variant<Literal, Value, Until>;
  using Track = std::vector<Part>;

  std::vector<Track> tracks;
};

/// Holds the tokens of one output to a form: each must go on with a text that the form allows, and
/// the model may end only where the form may. Walks the form byte by byte.
class FormConstraint : public TokenConstraint {
 public:
  FormConstraint(std::shared_ptr<const TokenTable> tokens, std::shared_ptr<const OutputForm> form);

  bool allows(std::int32_t id) override;
  void accept(std::int32_t id) override;

 private:
  /// Where in a track the output may be.
  struct Place {
    const OutputForm::Track* track = nullptr;
    std::size_t part = 0;
    std::size_t matched = 0;  // bytes of a literal, or of a mark; of a value, whether it has begun
    std::optional<JsonAutomaton> value;
  };
  using Places = std::vector<Place>;

  static void enter(Place place, Places& out);
  static void step(Place place, char c, Places& out);
  static bool push(Places& places, std::string_view text);
  static bool can_end(const Places& places);
  bool is_eos(std::int32_t id) const;
  bool is_in_free_text() const;

  const std::shared_ptr<const TokenTable> tokens_;
  const std::shared_ptr<const OutputForm> form_;
  Places places_;
  std::optional<std::array<bool, 256>> first_bytes_;  // that may come; none: not known yet
};

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_FORM_CONSTRAINT_H_
