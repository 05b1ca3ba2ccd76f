#ifndef FLASHMOE_CHAT_FORM_AUTOMATON_H_
#define FLASHMOE_CHAT_FORM_AUTOMATON_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "chat/output_form.h"

namespace flashmoe {

/// Reads an output byte by byte, and knows what may come. A state is a number: everything that may
/// still follow, with all readings where a form is ambiguous; the same number wherever the same may
/// follow. States and the steps between them are made when they are first needed, and kept: the
/// vocabulary of a model is walked mostly by looking into a table.
/// One thread at a time.
class FormAutomaton {
 public:
  using State = std::uint32_t;
  static constexpr State kDead = 0;

  struct Options {
    /// As much white space between the tokens of JSON as JSON allows; or one blank at each place.
    bool takes_any_space = false;
    /// As JSON does not forbid; or no object has a key twice.
    bool may_repeat_keys = false;
  };

  FormAutomaton(std::shared_ptr<const OutputForm> form, const Options& options);

  State start();
  /// kDead if the form does not go on with `byte`.
  State next(State state, unsigned char byte) {
    const State known = states_[state].row ? (*states_[state].row)[byte] : kUnknown;
    return known != kUnknown ? known : compute_next(state, byte);
  }
  State next(State state, std::string_view bytes);

  bool can_end(State state) const;
  /// Nothing may come.
  bool must_end(State state) const;
  /// Within free text that is open: what has no bytes may come, and changes nothing.
  bool is_open(State state) const;
  /// How many characters of a JSON string may come, whatever they are, quotes, backslashes and
  /// control characters apart: kUnlimited, or a count. 0 where that is not all there is to say.
  std::uint32_t free_characters(State state) const;

  /// A state from which some of the texts of `state` come, where it is on the way to a great many:
  /// its own states are few. `state` itself where it is not.
  State core(State state) {
    const State known = states_[state].core;
    return known != kUnknown ? known : compute_core(state);
  }
  /// Whether bytes that the core does not go on with are none of the state's either.
  bool core_decides(State state) {
    core(state);
    return states_[state].core_decides;
  }

  std::size_t state_count() const { return states_.size(); }
  /// What has been made so far, in about bytes.
  std::size_t size() const;
  /// It takes some ten MB, most of which may no longer be needed.
  bool is_large() const;
  /// Forgets all states but `state`, and returns what it is now. Nothing else bounds what is made:
  /// callers do, where it is large.
  State forget_others(State state);
  /// How much, in terms, may be made from now on in looking for texts that go on.
  void allow_searches(std::size_t size) { texts_.allow_searches(size); }

 private:
  static constexpr State kUnknown = 0xFFFFFFFFu;

  enum class Kind : std::uint8_t {
    kValue,    // a: node; b: 1 after a blank
    kString,   // a: term; b: decoding. Ends with the quote
    kName,     // a: term; b: decoding; c: of names_. A key that must be another than those before
    kText,     // a: term; b: decoding
    kLiteral,  // a: of literals_; b: bytes read
    kColon,    // b: 1 after a blank
    kMembers,  // a: node; b: next property; c: see Members; d: of used_. After { or a member
    kKey,      // a: node; b: next property; c: see Members; d: of used_. After , of an object
    kItems,    // a: node; b: items so far; c: 1 after a blank, 2 at first; d: unique ones that came
    kPart,     // a: of parts_; b: progress; c: of a mark
  };
  // A core does not look which key has come: it may be the last that it lets end.
  static constexpr std::uint32_t kAnyName = 0xFFFFFFFFu;
  static constexpr std::uint32_t kEndlessName = 0xFFFFFFFEu;
  static constexpr std::uint32_t kAnyUsed = 0xFFFFFFFFu;

  /// What is on top of a stack of things that are to come, and what is below.
  struct Frame {
    Kind kind = Kind::kValue;
    std::uint32_t a = 0;
    std::uint32_t b = 0;
    std::uint32_t c = 0;
    std::uint64_t d = 0;

    bool operator==(const Frame&) const = default;
  };
  static bool has_term(const Frame& frame) {
    return frame.kind == Kind::kString || frame.kind == Kind::kName || frame.kind == Kind::kText;
  }
  static bool has_name(const Frame& frame) {
    return frame.kind == Kind::kName && frame.c != kAnyName && frame.c != kEndlessName;
  }
  static bool has_used(const Frame& frame) {
    return (frame.kind == Kind::kMembers || frame.kind == Kind::kKey) && frame.d != kAnyUsed;
  }
  using Stack = std::uint32_t;  // 0: empty, nothing is to come
  struct StackNode {
    Frame top;
    Stack below = 0;
    std::uint32_t depth = 0;

    bool operator==(const StackNode&) const = default;
  };
  struct StackHash {
    std::size_t operator()(const StackNode& node) const;
  };
  struct StacksHash {
    std::size_t operator()(const std::vector<Stack>& stacks) const;
  };
  using Row = std::array<State, 256>;
  struct StateData {
    const std::vector<Stack>* stacks = nullptr;  // sorted; the key in states_by_stacks_
    std::unique_ptr<Row> row;
    State core = kUnknown;
    bool core_decides = true;
  };
  /// A key as far as it has come, byte by byte.
  struct Name {
    std::uint32_t before = 0;
    char byte = 0;
  };
  /// Keys that an object has: one more than another set.
  struct Used {
    std::uint32_t before = 0;
    std::u32string name;
    RegularLanguage::Term unused = RegularLanguage::kNothing;  // all other texts; or not known yet
  };
  /// A part of a track, behind it another one of the same track or the end.
  struct PlacedPart {
    const OutputForm::Part* part = nullptr;
    std::uint32_t literal = 0;
    bool is_last = false;
  };

  State compute_next(State state, unsigned char byte);
  State compute_core(State state);
  State state_of(std::vector<Stack> stacks);
  void clear_states();
  /// 0xFFFFFFFF if it would be too deep.
  Stack pushed(Stack below, const Frame& top);
  std::uint32_t literal_of(std::string text);

  // What follows `stack` when `byte` has come, appended to `out`.
  void advance(Stack stack, unsigned char byte, std::vector<Stack>& out);
  void advance_value(const Frame& top, Stack below, unsigned char byte, std::vector<Stack>& out);
  void begin_value(SchemaNode::Id id, Stack below, unsigned char byte, std::vector<Stack>& out);
  void advance_string(const Frame& top, Stack below, unsigned char byte, std::vector<Stack>& out);
  void advance_name(const Frame& top, Stack below, unsigned char byte, std::vector<Stack>& out);
  void end_name(std::uint32_t name, Stack below, std::vector<Stack>& out);
  void advance_text(const Frame& top, Stack below, unsigned char byte, std::vector<Stack>& out);
  void advance_literal(const Frame& top, Stack below, unsigned char byte, std::vector<Stack>& out);
  void advance_colon(const Frame& top, Stack below, unsigned char byte, std::vector<Stack>& out);
  void advance_over_space(const Frame& top, Stack below, std::vector<Stack>& out);
  void advance_members(const Frame& top, Stack below, unsigned char byte, std::vector<Stack>& out);
  void begin_keys(const Frame& top, Stack below, std::vector<Stack>& out);
  void advance_items(const Frame& top, Stack below, unsigned char byte, std::vector<Stack>& out);
  void begin_item(const Frame& top, Stack below, unsigned char byte, bool has_begun,
                  std::vector<Stack>& out);
  void advance_part(const Frame& top, Stack below, unsigned char byte, std::vector<Stack>& out);
  void advance_free(const Frame& top, Stack below, unsigned char byte, std::vector<Stack>& out);
  void enter_rule(OutputForm::Rule rule, Stack below, std::vector<Stack>& out);
  /// The stack behind a part that is over.
  Stack after_part(std::uint32_t part, Stack below);
  void add(Stack below, const Frame& top, std::vector<Stack>& out);
  bool is_space(unsigned char byte) const;
  std::uint32_t after_space() const { return options_.takes_any_space ? 0 : 1; }

  bool can_end_stack(Stack stack) const;
  bool is_optional_rule(const OutputForm::Part& part) const;
  bool can_close(const Frame& members) const;
  bool can_begin_key(const Frame& members);
  /// The keys of `other` that the object does not have.
  RegularLanguage::Term unused_keys(const SchemaNode::OtherProperties& other, std::uint64_t used);
  std::uint32_t name_with(std::uint32_t name, char byte);
  std::string name_bytes(std::uint32_t name) const;
  std::uint32_t used_with(std::uint32_t used, const std::u32string& name);
  std::vector<std::u32string> names_of(std::uint32_t used) const;
  void clear_names();

  const std::shared_ptr<const OutputForm> form_;
  const Options options_;
  RegularLanguage texts_;
  std::vector<PlacedPart> parts_;
  std::vector<std::vector<std::uint32_t>> rules_;  // first part of each track; kUnknown: empty
  std::vector<std::string> literals_;
  std::unordered_map<std::string, std::uint32_t> literals_by_text_;
  std::vector<std::vector<std::uint32_t>> keys_;     // literals of a node's properties
  std::vector<std::vector<std::uint32_t>> uniques_;  // literals of a node's unique items

  std::vector<Name> names_;  // the first is empty
  std::unordered_map<std::uint64_t, std::uint32_t> names_by_end_;
  std::vector<Used> used_;  // the first is empty
  std::map<std::pair<std::uint32_t, std::u32string>, std::uint32_t> used_by_last_;

  std::vector<StackNode> stacks_;
  std::unordered_map<StackNode, Stack, StackHash> stacks_by_node_;
  std::vector<StateData> states_;
  std::size_t reading_count_ = 0;  // of all states
  std::unordered_map<std::vector<Stack>, State, StacksHash> states_by_stacks_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_FORM_AUTOMATON_H_
