#include "chat/json_automaton.h"

#include <algorithm>
#include <utility>

namespace flashmoe {
namespace {

using Kind = SchemaNode::Kind;

/// References to references, and alternatives of alternatives.
constexpr std::size_t kAlternativeDepthMax = 32;
/// Values within values; and how many ways to read a text are followed at once.
constexpr std::size_t kStackMax = 256;
constexpr std::size_t kReadingsMax = 256;

const SchemaNode& string_node() {
  static const SchemaNode node{.kind = Kind::kString};
  return node;
}

const SchemaNode& any_array() {
  static const SchemaNode node = [] {
    SchemaNode array{.kind = Kind::kArray};
    array.items = &JsonSchema::any();
    return array;
  }();
  return node;
}

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex_digit(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/// Bytes that follow `lead` in a UTF-8 character; negative: no lead byte.
int continuation_count(unsigned char lead) {
  if (lead < 0x80) return 0;
  if (lead >= 0xC2 && lead <= 0xDF) return 1;
  if (lead >= 0xE0 && lead <= 0xEF) return 2;
  if (lead >= 0xF0 && lead <= 0xF4) return 3;
  return -1;
}

}  // namespace

JsonAutomaton::JsonAutomaton(const SchemaNode& root, const Options& options)
    : space_max_(options.space_max) {
  stacks_.push_back({Frame{.node = &root}});
}

bool JsonAutomaton::push(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [this](char c) { return push(c); });
}

bool JsonAutomaton::push(char c) {
  std::vector<Stack> next;
  for (const Stack& stack : stacks_) advance(stack, c, 0, next);
  if (next.empty() || next.size() > kReadingsMax) return false;
  const auto takes_space = [](const Stack& stack) {
    return stack.empty() ||
           (stack.back().phase != Phase::kString && stack.back().phase != Phase::kKey &&
            stack.back().phase != Phase::kEnum);
  };
  if (is_space(c) && std::all_of(next.begin(), next.end(), takes_space)) {
    if (space_ >= space_max_) return false;
    ++space_;
  } else {
    space_ = 0;
  }
  stacks_ = std::move(next);
  return true;
}

bool JsonAutomaton::can_end() const {
  return std::any_of(stacks_.begin(), stacks_.end(), [](const Stack& stack) {
    return stack.empty() || (stack.size() == 1 && is_number_complete(stack.back()));
  });
}

bool JsonAutomaton::must_end() const {
  return std::all_of(stacks_.begin(), stacks_.end(),
                     [](const Stack& stack) { return stack.empty(); });
}

bool JsonAutomaton::is_in_free_text() const {
  if (stacks_.size() != 1 || stacks_.front().empty()) return false;
  const Frame& frame = stacks_.front().back();
  return frame.phase == Phase::kString && frame.escape == 0 && frame.continuation == 0 &&
         frame.node->count_max == std::numeric_limits<std::size_t>::max();
}

void JsonAutomaton::advance(Stack stack, char c, std::size_t depth, std::vector<Stack>& out) {
  while (true) {
    if (stack.empty()) {
      if (is_space(c)) out.push_back(std::move(stack));
      return;
    }
    if (stack.back().phase == Phase::kStart) {
      if (is_space(c)) {
        out.push_back(std::move(stack));
      } else {
        begin_value(std::move(stack), c, depth, out);
      }
      return;
    }
    bool retry = false;
    if (step(stack, c, retry)) {
      out.push_back(std::move(stack));
      return;
    }
    if (!retry) return;
  }
}

void JsonAutomaton::begin_value(Stack stack, char c, std::size_t depth, std::vector<Stack>& out) {
  Frame& frame = stack.back();
  Kind kind = frame.node->kind;
  if (kind == Kind::kAnyOf) {
    if (depth >= kAlternativeDepthMax || out.size() > kReadingsMax) return;
    for (const SchemaNode* alternative : frame.node->alternatives) {
      Stack with = stack;
      with.back().node = alternative;
      begin_value(std::move(with), c, depth + 1, out);
    }
    return;
  }
  if (kind == Kind::kEnum) {
    frame.phase = Phase::kEnum;
    return advance(std::move(stack), c, depth, out);
  }
  const bool is_any = kind == Kind::kAny;
  if (c == '{' && (is_any || kind == Kind::kObject)) {
    if (is_any) frame.node = &JsonSchema::any_object();
    frame.phase = Phase::kObjectFirst;
    frame.seen.assign(frame.node->properties.size(), false);
  } else if (c == '[' && (is_any || kind == Kind::kArray)) {
    if (is_any) frame.node = &any_array();
    frame.phase = Phase::kArrayFirst;
  } else if (c == '"' && (is_any || kind == Kind::kString)) {
    if (is_any) frame.node = &string_node();
    frame.phase = Phase::kString;
  } else if ((c == '-' || is_digit(c)) &&
             (is_any || kind == Kind::kNumber || kind == Kind::kInteger)) {
    frame.has_integers_only = kind == Kind::kInteger;
    frame.phase = c == '-' ? Phase::kMinus : c == '0' ? Phase::kZero : Phase::kInteger;
  } else if ((c == 't' || c == 'f') && (is_any || kind == Kind::kBoolean)) {
    frame.phase = Phase::kLiteral;
    frame.text = c == 't' ? "rue" : "alse";
  } else if (c == 'n' && (is_any || kind == Kind::kNull)) {
    frame.phase = Phase::kLiteral;
    frame.text = "ull";
  } else {
    return;
  }
  if (stack.size() <= kStackMax) out.push_back(std::move(stack));
}

bool JsonAutomaton::step(Stack& stack, char c, bool& retry) {
  Frame& frame = stack.back();
  switch (frame.phase) {
    case Phase::kStart:
      return false;
    case Phase::kObjectFirst:
    case Phase::kObjectKey:
    case Phase::kKey:
    case Phase::kColon:
    case Phase::kObjectNext:
      return step_object(stack, c);
    case Phase::kArrayFirst:
    case Phase::kArrayNext:
      return step_array(stack, c, retry);
    case Phase::kString:
      if (c == '"' && frame.escape == 0) {
        if (frame.continuation > 0 || frame.count < frame.node->count_min) return false;
        stack.pop_back();
        return true;
      }
      return step_text(frame, c) && frame.count <= frame.node->count_max;
    case Phase::kEnum: {
      frame.text += c;
      bool is_beginning = false;
      for (const std::string& text : frame.node->texts) {
        if (text == frame.text) {
          // Numbers may go on: 1 and 12. Everything else ends where it is whole.
          const bool may_go_on = std::any_of(
              frame.node->texts.begin(), frame.node->texts.end(),
              [&](const auto& t) { return t.size() > text.size() && t.starts_with(text); });
          if (!may_go_on) {
            stack.pop_back();
            return true;
          }
        }
        is_beginning |= text.starts_with(frame.text);
      }
      if (is_beginning) return true;
      frame.text.pop_back();
      const bool was_whole = std::find(frame.node->texts.begin(), frame.node->texts.end(),
                                       frame.text) != frame.node->texts.end();
      if (!was_whole) return false;
      stack.pop_back();
      retry = true;
      return false;
    }
    case Phase::kLiteral:
      if (frame.text.front() != c) return false;
      frame.text.erase(0, 1);
      if (frame.text.empty()) stack.pop_back();
      return true;
    default:
      if (step_number(frame, c)) return true;
      if (!is_number_complete(frame)) return false;
      stack.pop_back();
      retry = true;
      return false;
  }
}

bool JsonAutomaton::step_object(Stack& stack, char c) {
  Frame& frame = stack.back();
  if (frame.phase == Phase::kKey) {
    if (c == '"' && frame.escape == 0) return end_key(frame);
    if (!step_text(frame, c)) return false;
    frame.text += c;
    return may_have_key(frame, frame.text);
  }
  if (is_space(c)) return true;
  switch (frame.phase) {
    case Phase::kObjectFirst:
    case Phase::kObjectKey:
      if (c == '"' && has_more_keys(frame)) {
        frame.phase = Phase::kKey;
        frame.text.clear();
        return true;
      }
      if (c != '}' || frame.phase == Phase::kObjectKey || !has_all_required(frame)) return false;
      stack.pop_back();
      return true;
    case Phase::kColon: {
      if (c != ':') return false;
      const SchemaNode* value = frame.node->additional;
      for (const SchemaNode::Property& property : frame.node->properties) {
        if (property.key == frame.text) value = property.value;
      }
      frame.phase = Phase::kObjectNext;
      stack.push_back({.node = value});
      return true;
    }
    default:  // kObjectNext
      if (c == ',' && has_more_keys(frame)) {
        frame.phase = Phase::kObjectKey;
        return true;
      }
      if (c != '}' || !has_all_required(frame)) return false;
      stack.pop_back();
      return true;
  }
}

bool JsonAutomaton::step_array(Stack& stack, char c, bool& retry) {
  Frame& frame = stack.back();
  if (is_space(c)) return true;
  const bool is_first = frame.phase == Phase::kArrayFirst;
  if (c == ']') {
    if (frame.count < frame.node->count_min) return false;
    stack.pop_back();
    return true;
  }
  if (!is_first && c != ',') return false;
  const SchemaNode* const item =
      frame.count < frame.node->prefix.size() ? frame.node->prefix[frame.count] : frame.node->items;
  if (item == nullptr || frame.count >= frame.node->count_max) return false;
  frame.phase = Phase::kArrayNext;
  ++frame.count;
  stack.push_back({.node = item});
  retry = is_first;  // this byte is the item's first
  return !is_first;
}

bool JsonAutomaton::step_text(Frame& frame, char c) {
  const auto byte = static_cast<unsigned char>(c);
  if (frame.escape == 1) {
    if (c == 'u') {
      frame.escape = 5;
      return true;
    }
    frame.escape = 0;
    return std::string_view("\"\\/bfnrt").find(c) != std::string_view::npos;
  }
  if (frame.escape > 1) {
    frame.escape = frame.escape == 2 ? 0 : frame.escape - 1;
    return is_hex_digit(c);
  }
  if (frame.continuation > 0) {
    --frame.continuation;
    return (byte & 0xC0) == 0x80;
  }
  if (byte < 0x20) return false;
  ++frame.count;
  if (c == '\\') {
    frame.escape = 1;
    return true;
  }
  const int continuation = continuation_count(byte);
  if (continuation < 0) return false;
  frame.continuation = static_cast<std::uint8_t>(continuation);
  return true;
}

bool JsonAutomaton::step_number(Frame& frame, char c) {
  const bool may_have_fraction = !frame.has_integers_only;
  const auto go = [&](Phase phase) {
    frame.phase = phase;
    return true;
  };
  switch (frame.phase) {
    case Phase::kMinus:
      return is_digit(c) && go(c == '0' ? Phase::kZero : Phase::kInteger);
    case Phase::kInteger:
      if (is_digit(c)) return true;
      [[fallthrough]];
    case Phase::kZero:
      if (c == '.') return may_have_fraction && go(Phase::kPoint);
      return (c == 'e' || c == 'E') && may_have_fraction && go(Phase::kExponent);
    case Phase::kPoint:
      return is_digit(c) && go(Phase::kFraction);
    case Phase::kFraction:
      if (is_digit(c)) return true;
      return (c == 'e' || c == 'E') && go(Phase::kExponent);
    case Phase::kExponent:
      if (c == '+' || c == '-') return go(Phase::kExponentSign);
      [[fallthrough]];
    case Phase::kExponentSign:
      return is_digit(c) && go(Phase::kExponentDigits);
    default:
      return frame.phase == Phase::kExponentDigits && is_digit(c);
  }
}

bool JsonAutomaton::is_number_complete(const Frame& frame) {
  if (frame.phase == Phase::kEnum) {
    return std::find(frame.node->texts.begin(), frame.node->texts.end(), frame.text) !=
           frame.node->texts.end();
  }
  return frame.phase == Phase::kZero || frame.phase == Phase::kInteger ||
         frame.phase == Phase::kFraction || frame.phase == Phase::kExponentDigits;
}

bool JsonAutomaton::end_key(Frame& frame) const {
  if (frame.continuation > 0) return false;
  const std::vector<SchemaNode::Property>& properties = frame.node->properties;
  for (std::size_t i = 0; i < properties.size(); ++i) {
    if (properties[i].key != frame.text) continue;
    if (frame.seen[i]) return false;
    frame.seen[i] = true;
    frame.phase = Phase::kColon;
    return true;
  }
  if (frame.node->additional == nullptr) return false;
  // Where nothing is said of keys, as in JSON that is only read, one may come again.
  if (!properties.empty()) {
    if (std::find(frame.others.begin(), frame.others.end(), frame.text) != frame.others.end()) {
      return false;
    }
    frame.others.push_back(frame.text);
  }
  frame.phase = Phase::kColon;
  return true;
}

bool JsonAutomaton::may_have_key(const Frame& frame, std::string_view beginning) {
  if (frame.node->additional != nullptr) return true;
  const std::vector<SchemaNode::Property>& properties = frame.node->properties;
  for (std::size_t i = 0; i < properties.size(); ++i) {
    if (!frame.seen[i] && std::string_view(properties[i].key).starts_with(beginning)) return true;
  }
  return false;
}

bool JsonAutomaton::has_more_keys(const Frame& frame) {
  return frame.node->additional != nullptr ||
         std::find(frame.seen.begin(), frame.seen.end(), false) != frame.seen.end();
}

bool JsonAutomaton::has_all_required(const Frame& frame) {
  const std::vector<SchemaNode::Property>& properties = frame.node->properties;
  for (std::size_t i = 0; i < properties.size(); ++i) {
    if (properties[i].is_required && !frame.seen[i]) return false;
  }
  return true;
}

}  // namespace flashmoe
