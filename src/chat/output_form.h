#ifndef FLASHMOE_CHAT_OUTPUT_FORM_H_
#define FLASHMOE_CHAT_OUTPUT_FORM_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "chat/json_schema.h"
#include "chat/regular_language.h"

namespace flashmoe {

/// The form that an output is to have, as rules: each is one of several tracks, each made of parts
/// in order. The output is of rule 0.
struct OutputForm {
  using Rule = std::uint32_t;

  struct Literal {
    std::string text;
  };
  /// JSON that a node of `graph` allows.
  struct Value {
    SchemaNode::Id node = SchemaGraph::kAny;
  };
  /// Characters as they stand.
  struct Text {
    RegularLanguage::Term text = RegularLanguage::kAnything;
  };
  /// At most so many bytes of white space.
  struct Space {
    std::uint32_t count_max = 1;
  };
  struct Reference {
    Rule rule = 0;
  };
  /// Any bytes, until a mark has come. Then its rule, and free text again; or, without a rule, the
  /// next part.
  struct Free {
    static constexpr Rule kLeave = 0xFFFFFFFFu;
    struct Mark {
      std::string text;
      Rule then = kLeave;
    };
    std::vector<Mark> marks;
    /// Between marks the output may end, and special tokens may come: as if there were no form.
    bool is_open = false;
  };
  using Part = std::variant<Literal, Value, Text, Space, Reference, Free>;
  using Track = std::vector<Part>;

  SchemaGraph graph;
  std::vector<std::vector<Track>> rules;
};

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_OUTPUT_FORM_H_
