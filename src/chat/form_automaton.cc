#include "chat/form_automaton.h"

#include <algorithm>
#include <string>
#include <utility>

#include "chat/characters.h"
#include "chat/text_decoding.h"

namespace flashmoe {
namespace {

/// Values within values, with what is to come of each; and how many ways to read a text are
/// followed at once.
constexpr std::uint32_t kStackDepthMax = 768;
constexpr std::size_t kReadingsMax = 4096;
/// What a state, a term and a stack take, in about bytes; a reading of a state is a number.
constexpr std::size_t kStateBytes = 1200;
constexpr std::size_t kTermBytes = 200;
constexpr std::size_t kStackBytes = 120;
constexpr std::size_t kNameBytes = 60;
constexpr std::size_t kUsedBytes = 250;
constexpr std::size_t kLargeBytes = std::size_t{24} << 20;
constexpr std::uint32_t kTooDeep = 0xFFFFFFFFu;
constexpr std::uint32_t kEmptyTrack = 0xFFFFFFFFu;

// Of the flags of members and items.
constexpr std::uint32_t kAfterSpace = 1;
constexpr std::uint32_t kIsFirst = 2;
constexpr std::uint32_t kCountShift = 2;

std::uint64_t hashed(std::uint64_t hash, std::uint64_t value) {
  hash = (hash ^ value) * 0xff51afd7ed558ccdu;
  return hash ^ (hash >> 32);
}

bool counts_properties(const SchemaNode& node) {
  return node.count_min > 0 || node.count_max != SchemaNode::kUnlimited;
}

/// One more; where more make no difference, as many as make one.
std::uint32_t counted(std::uint32_t count, std::uint32_t most) { return std::min(count + 1, most); }

std::uint32_t property_count_after(const SchemaNode& node, std::uint32_t count) {
  if (!counts_properties(node)) return 0;
  const std::uint32_t most =
      node.count_max == SchemaNode::kUnlimited ? node.count_min : node.count_max;
  return counted(count, std::min(most, (1u << 29)));
}

std::uint32_t item_count_after(const SchemaNode& node, std::uint32_t count) {
  if (node.count_max != SchemaNode::kUnlimited) return counted(count, node.count_max);
  return counted(count, std::max(node.count_min, static_cast<std::uint32_t>(node.prefix.size())));
}

/// Whether an object with `count` properties, of which the next may be the one numbered `next`, can
/// still have as many as it must and no more than it may.
bool can_be_completed(const SchemaNode& node, std::size_t next, std::uint32_t count) {
  if (!counts_properties(node)) return true;
  const std::size_t left = node.properties.size() - next;
  const auto required = static_cast<std::size_t>(
      std::count_if(node.properties.begin() + static_cast<std::ptrdiff_t>(next),
                    node.properties.end(), [](const auto& p) { return p.is_required; }));
  return count + required <= node.count_max &&
         (!node.others.empty() || count + left >= node.count_min);
}

}  // namespace

std::size_t FormAutomaton::StackHash::operator()(const StackNode& node) const {
  std::uint64_t hash = hashed(static_cast<std::uint64_t>(node.top.kind), node.top.a);
  hash = hashed(hashed(hash, node.top.b), node.top.c);
  return hashed(hashed(hash, node.top.d), node.below);
}

std::size_t FormAutomaton::StacksHash::operator()(const std::vector<Stack>& stacks) const {
  std::uint64_t hash = stacks.size();
  for (const Stack stack : stacks) hash = hashed(hash, stack);
  return hash;
}

FormAutomaton::FormAutomaton(std::shared_ptr<const OutputForm> form, const Options& options)
    : form_(std::move(form)), options_(options), texts_(form_->graph.texts) {
  for (const std::vector<OutputForm::Track>& rule : form_->rules) {
    std::vector<std::uint32_t>& tracks = rules_.emplace_back();
    for (const OutputForm::Track& track : rule) {
      tracks.push_back(track.empty() ? kEmptyTrack : static_cast<std::uint32_t>(parts_.size()));
      for (const OutputForm::Part& part : track) {
        PlacedPart placed{.part = &part, .is_last = &part == &track.back()};
        if (const auto* const literal = std::get_if<OutputForm::Literal>(&part)) {
          placed.literal = literal_of(literal->text);
        }
        parts_.push_back(placed);
      }
    }
  }
  keys_.resize(form_->graph.nodes.size());
  uniques_.resize(form_->graph.nodes.size());
  clear_states();
  clear_names();
}

void FormAutomaton::clear_names() {
  names_.assign(1, Name());
  names_by_end_.clear();
  used_.assign(1, {.unused = RegularLanguage::kAnything});
  used_by_last_.clear();
}

void FormAutomaton::clear_states() {
  stacks_.resize(1);
  stacks_by_node_.clear();
  states_.clear();
  states_by_stacks_.clear();
  reading_count_ = 0;
  states_.emplace_back();
  states_.back().stacks = &states_by_stacks_.emplace(std::vector<Stack>(), kDead).first->first;
}

FormAutomaton::State FormAutomaton::start() {
  std::vector<Stack> stacks;
  enter_rule(0, 0, stacks);
  return state_of(std::move(stacks));
}

FormAutomaton::State FormAutomaton::next(State state, std::string_view bytes) {
  for (const char c : bytes) {
    state = next(state, static_cast<unsigned char>(c));
    if (state == kDead) break;
  }
  return state;
}

std::uint32_t FormAutomaton::literal_of(std::string text) {
  const auto [known, is_new] =
      literals_by_text_.emplace(text, static_cast<std::uint32_t>(literals_.size()));
  if (is_new) literals_.push_back(std::move(text));
  return known->second;
}

FormAutomaton::State FormAutomaton::state_of(std::vector<Stack> stacks) {
  std::sort(stacks.begin(), stacks.end());
  stacks.erase(std::unique(stacks.begin(), stacks.end()), stacks.end());
  // Each of them can be completed without the others.
  if (stacks.size() > kReadingsMax) stacks.resize(kReadingsMax);
  const auto known = states_by_stacks_.find(stacks);
  if (known != states_by_stacks_.end()) return known->second;
  reading_count_ += stacks.size();
  const auto state = static_cast<State>(states_.size());
  const auto added = states_by_stacks_.emplace(std::move(stacks), state).first;
  states_.emplace_back();
  states_.back().stacks = &added->first;
  return state;
}

FormAutomaton::State FormAutomaton::compute_next(State state, unsigned char byte) {
  if (state == kDead) return kDead;
  std::vector<Stack> next;
  // Elements of the map stay where they are.
  for (const Stack stack : *states_[state].stacks) advance(stack, byte, next);
  const State to = state_of(std::move(next));
  std::unique_ptr<Row>& row = states_[state].row;
  if (!row) {
    row = std::make_unique<Row>();
    row->fill(kUnknown);
  }
  return (*row)[byte] = to;
}

FormAutomaton::State FormAutomaton::compute_core(State state) {
  std::vector<Stack> cores;
  bool is_less = false;
  bool is_endless = false;
  for (const Stack stack : *states_[state].stacks) {
    Frame top = stacks_[stack].top;
    if (has_term(top)) {
      const RegularLanguage::Term term = texts_.core_of(top.a);
      is_less |= term != top.a;
      top.a = term;
    }
    if (top.kind == Kind::kName) {
      is_endless |= top.c == kEndlessName;
      if (top.c != kEndlessName) top.c = kAnyName;
    }
    cores.push_back(stack == 0 ? 0 : pushed(stacks_[stack].below, top));
  }
  const State core = state_of(std::move(cores));
  states_[core].core = core;
  states_[core].core_decides = !is_endless;
  states_[state].core_decides = !is_less && !is_endless;
  return states_[state].core = core;
}

std::size_t FormAutomaton::size() const {
  return kStateBytes * states_.size() + sizeof(Stack) * reading_count_ +
         kStackBytes * stacks_.size() + kNameBytes * names_.size() + kUsedBytes * used_.size() +
         kTermBytes * (texts_.size() - form_->graph.texts.size());
}

bool FormAutomaton::is_large() const { return size() > kLargeBytes; }

FormAutomaton::State FormAutomaton::forget_others(State state) {
  // Frames with what their numbers stand for.
  struct Kept {
    Frame frame;
    std::string name;
    std::vector<std::u32string> used;
  };
  std::vector<std::vector<Kept>> kept;
  std::vector<RegularLanguage::Term> terms;
  for (Stack stack : *states_[state].stacks) {
    std::vector<Kept>& frames = kept.emplace_back();
    for (; stack != 0; stack = stacks_[stack].below) {
      const Frame& frame = stacks_[stack].top;
      Kept& added = frames.emplace_back(Kept{.frame = frame});
      if (has_term(frame)) terms.push_back(frame.a);
      if (has_name(frame)) added.name = name_bytes(frame.c);
      if (has_used(frame)) added.used = names_of(static_cast<std::uint32_t>(frame.d));
    }
  }
  clear_states();
  clear_names();
  const RegularLanguage grown = std::exchange(texts_, form_->graph.texts);
  terms = texts_.taken_from(grown, terms);
  std::size_t term = 0;
  std::vector<Stack> stacks;
  for (std::vector<Kept>& frames : kept) {
    for (auto& [frame, name, used] : frames) {
      if (has_term(frame)) frame.a = terms[term++];
      if (has_name(frame)) {
        frame.c = 0;
        for (const char byte : name) frame.c = name_with(frame.c, byte);
      }
      if (has_used(frame)) {
        std::uint32_t all = 0;
        for (const std::u32string& each : used) all = used_with(all, each);
        frame.d = all;
      }
    }
    Stack stack = 0;
    for (std::size_t i = frames.size(); i-- > 0;) stack = pushed(stack, frames[i].frame);
    stacks.push_back(stack);
  }
  return stacks.empty() ? kDead : state_of(std::move(stacks));
}

std::uint32_t FormAutomaton::name_with(std::uint32_t name, char byte) {
  const std::uint64_t key = std::uint64_t{name} << 8 | static_cast<unsigned char>(byte);
  const auto [known, is_new] =
      names_by_end_.emplace(key, static_cast<std::uint32_t>(names_.size()));
  if (is_new) names_.push_back({name, byte});
  return known->second;
}

std::string FormAutomaton::name_bytes(std::uint32_t name) const {
  std::string bytes;
  for (; name != 0; name = names_[name].before) bytes += names_[name].byte;
  return {bytes.rbegin(), bytes.rend()};
}

std::uint32_t FormAutomaton::used_with(std::uint32_t used, const std::u32string& name) {
  const auto [known, is_new] =
      used_by_last_.emplace(std::pair(used, name), static_cast<std::uint32_t>(used_.size()));
  if (is_new) used_.push_back({.before = used, .name = name});
  return known->second;
}

/// In the order in which they came.
std::vector<std::u32string> FormAutomaton::names_of(std::uint32_t used) const {
  std::vector<std::u32string> names;
  for (; used != 0; used = used_[used].before) names.push_back(used_[used].name);
  return {names.rbegin(), names.rend()};
}

FormAutomaton::Stack FormAutomaton::pushed(Stack below, const Frame& top) {
  if (below == kTooDeep) return kTooDeep;
  const std::uint32_t depth = stacks_[below].depth + 1;
  if (depth > kStackDepthMax) return kTooDeep;
  const StackNode node{.top = top, .below = below, .depth = depth};
  const auto [known, is_new] = stacks_by_node_.emplace(node, static_cast<Stack>(stacks_.size()));
  if (is_new) stacks_.push_back(node);
  return known->second;
}

void FormAutomaton::add(Stack below, const Frame& top, std::vector<Stack>& out) {
  const Stack stack = pushed(below, top);
  if (stack != kTooDeep) out.push_back(stack);
}

bool FormAutomaton::is_space(unsigned char byte) const {
  return byte == ' ' ||
         (options_.takes_any_space && (byte == '\n' || byte == '\t' || byte == '\r'));
}

void FormAutomaton::advance(Stack stack, unsigned char byte, std::vector<Stack>& out) {
  if (stack == 0 || stack == kTooDeep) return;
  // By value: more stacks may be made.
  const StackNode node = stacks_[stack];
  switch (node.top.kind) {
    case Kind::kValue:
      return advance_value(node.top, node.below, byte, out);
    case Kind::kString:
      return advance_string(node.top, node.below, byte, out);
    case Kind::kName:
      return advance_name(node.top, node.below, byte, out);
    case Kind::kText:
      return advance_text(node.top, node.below, byte, out);
    case Kind::kLiteral:
      return advance_literal(node.top, node.below, byte, out);
    case Kind::kColon:
      return advance_colon(node.top, node.below, byte, out);
    case Kind::kMembers:
    case Kind::kKey:
      return advance_members(node.top, node.below, byte, out);
    case Kind::kItems:
      return advance_items(node.top, node.below, byte, out);
    case Kind::kPart:
      return advance_part(node.top, node.below, byte, out);
  }
}

void FormAutomaton::advance_value(const Frame& top, Stack below, unsigned char byte,
                                  std::vector<Stack>& out) {
  if (is_space(byte)) {
    if (top.b == 0) add(below, {.kind = Kind::kValue, .a = top.a, .b = after_space()}, out);
    return;
  }
  begin_value(top.a, below, byte, out);
}

void FormAutomaton::begin_value(SchemaNode::Id id, Stack below, unsigned char byte,
                                std::vector<Stack>& out) {
  const SchemaNode& node = form_->graph.nodes[id];
  using NodeKind = SchemaNode::Kind;
  switch (node.kind) {
    case NodeKind::kNever:
      return;
    case NodeKind::kAny:
      if (byte == '"') {
        add(below, {.kind = Kind::kString, .a = RegularLanguage::kAnything}, out);
      } else if (byte == '{') {
        begin_value(SchemaGraph::kAnyObject, below, byte, out);
      } else if (byte == '[') {
        begin_value(SchemaGraph::kAnyArray, below, byte, out);
      } else {
        advance_text({.kind = Kind::kText, .a = form_->graph.number}, below, byte, out);
        advance_text({.kind = Kind::kText, .a = form_->graph.word}, below, byte, out);
      }
      return;
    case NodeKind::kString:
      if (byte == '"') add(below, {.kind = Kind::kString, .a = node.text}, out);
      return;
    case NodeKind::kText:
      return advance_text({.kind = Kind::kText, .a = node.text}, below, byte, out);
    case NodeKind::kObject:
      if (byte == '{') add(below, {.kind = Kind::kMembers, .a = id, .c = kIsFirst}, out);
      return;
    case NodeKind::kArray:
      if (byte == '[') add(below, {.kind = Kind::kItems, .a = id, .c = kIsFirst}, out);
      return;
    case NodeKind::kAnyOf:
      for (const SchemaNode::Id each : node.alternatives) begin_value(each, below, byte, out);
      return;
  }
}

void FormAutomaton::advance_string(const Frame& top, Stack below, unsigned char byte,
                                   std::vector<Stack>& out) {
  if (byte == '"' && top.b == 0) {
    if (texts_.accepts(top.a)) out.push_back(below);
    return;
  }
  if (const auto to = read_string_byte(texts_, {top.a, top.b}, byte)) {
    add(below, {.kind = Kind::kString, .a = to->term, .b = to->partial}, out);
  }
}

void FormAutomaton::advance_name(const Frame& top, Stack below, unsigned char byte,
                                 std::vector<Stack>& out) {
  if (byte == '"' && top.b == 0) {
    if (top.c != kEndlessName && texts_.accepts(top.a)) end_name(top.c, below, out);
    return;
  }
  if (const auto to = read_string_byte(texts_, {top.a, top.b}, byte)) {
    const std::uint32_t name = has_name(top) ? name_with(top.c, static_cast<char>(byte)) : top.c;
    add(below, {.kind = Kind::kName, .a = to->term, .b = to->partial, .c = name}, out);
  }
}

/// `below` are the colon, the value, and the members, which now have one more name.
void FormAutomaton::end_name(std::uint32_t name, Stack below, std::vector<Stack>& out) {
  const StackNode colon = stacks_[below];
  const StackNode value = stacks_[colon.below];
  StackNode members = stacks_[value.below];
  if (name == kAnyName) {
    members.top.d = kAnyUsed;
  } else {
    // However it is written, with escapes or without.
    const auto text = nlohmann::json::parse('"' + name_bytes(name) + '"', nullptr, false);
    const std::string key = text.is_string() ? text.get<std::string>() : name_bytes(name);
    members.top.d = used_with(static_cast<std::uint32_t>(members.top.d),
                              characters_of(key).value_or(std::u32string()));
  }
  add(pushed(pushed(members.below, members.top), value.top), colon.top, out);
}

void FormAutomaton::advance_text(const Frame& top, Stack below, unsigned char byte,
                                 std::vector<Stack>& out) {
  if (const auto to = read_utf8_byte(texts_, {top.a, top.b}, byte)) {
    const bool is_over =
        to->partial == 0 && !texts_.goes_on(to->term, 0, RegularLanguage::kLastCharacter);
    if (is_over) {
      out.push_back(below);
    } else {
      add(below, {.kind = Kind::kText, .a = to->term, .b = to->partial}, out);
    }
  }
  // A number ends with what comes after it.
  if (top.b == 0 && texts_.accepts(top.a)) advance(below, byte, out);
}

void FormAutomaton::advance_literal(const Frame& top, Stack below, unsigned char byte,
                                    std::vector<Stack>& out) {
  if (top.c != 0 && top.b == 0 && is_space(byte)) {
    return add(below, {.kind = Kind::kLiteral, .a = top.a, .c = options_.takes_any_space ? 1u : 0u},
               out);
  }
  const std::string& text = literals_[top.a];
  if (static_cast<unsigned char>(text[top.b]) != byte) return;
  if (top.b + 1 == text.size()) {
    out.push_back(below);
  } else {
    add(below, {.kind = Kind::kLiteral, .a = top.a, .b = top.b + 1}, out);
  }
}

void FormAutomaton::advance_colon(const Frame& top, Stack below, unsigned char byte,
                                  std::vector<Stack>& out) {
  if (byte == ':') {
    out.push_back(below);
  } else if (is_space(byte) && top.b == 0) {
    add(below, {.kind = Kind::kColon, .b = after_space()}, out);
  }
}

bool FormAutomaton::can_close(const Frame& members) const {
  const SchemaNode& node = form_->graph.nodes[members.a];
  return members.c >> kCountShift >= node.count_min &&
         std::none_of(node.properties.begin() + members.b, node.properties.end(),
                      [](const auto& property) { return property.is_required; });
}

/// Between the parts of an object or a list.
void FormAutomaton::advance_over_space(const Frame& top, Stack below, std::vector<Stack>& out) {
  if ((top.c & kAfterSpace) != 0) return;
  Frame after = top;
  if (!options_.takes_any_space) after.c |= kAfterSpace;
  add(below, after, out);
}

/// { and each member are followed by a kMembers, the comma by a kKey.
void FormAutomaton::advance_members(const Frame& top, Stack below, unsigned char byte,
                                    std::vector<Stack>& out) {
  if (is_space(byte)) return advance_over_space(top, below, out);
  const bool is_first = (top.c & kIsFirst) != 0;
  if (top.kind == Kind::kKey || is_first) {
    if (byte == '"') begin_keys(top, below, out);
  } else if (byte == ',' && can_begin_key(top)) {
    Frame key = top;
    key.kind = Kind::kKey;
    key.c &= ~(kAfterSpace | kIsFirst);
    add(below, key, out);
  }
  if (byte == '}' && top.kind == Kind::kMembers && can_close(top)) out.push_back(below);
}

bool FormAutomaton::can_begin_key(const Frame& members) {
  const SchemaNode& node = form_->graph.nodes[members.a];
  const std::uint32_t count = members.c >> kCountShift;
  for (std::size_t i = members.b; i < node.properties.size(); ++i) {
    if (can_be_completed(node, i + 1, count + 1)) return true;
    if (node.properties[i].is_required) return false;
  }
  return count < node.count_max &&
         std::any_of(node.others.begin(), node.others.end(), [&](const auto& other) {
           return texts_.texts_of(unused_keys(other, members.d)) == RegularLanguage::Texts::kSome;
         });
}

RegularLanguage::Term FormAutomaton::unused_keys(const SchemaNode::OtherProperties& other,
                                                 std::uint64_t used) {
  if (used == kAnyUsed) return other.key;
  RegularLanguage::Term& unused = used_[used].unused;
  if (unused == RegularLanguage::kNothing) {
    unused = texts_.complement(texts_.one_of(names_of(static_cast<std::uint32_t>(used))));
  }
  return texts_.both({other.key, unused});
}

/// The quote of a key has come: of the next properties up to one that must come, or, where none
/// must, of any other.
void FormAutomaton::begin_keys(const Frame& top, Stack below, std::vector<Stack>& out) {
  const SchemaNode& node = form_->graph.nodes[top.a];
  const std::uint32_t count = top.c >> kCountShift;
  std::vector<std::uint32_t>& keys = keys_[top.a];
  if (keys.empty()) {
    for (const SchemaNode::Property& property : node.properties) {
      keys.push_back(literal_of(property.key));
    }
  }
  const auto after = [&](std::size_t next) {
    return pushed(below, {.kind = Kind::kMembers,
                          .a = top.a,
                          .b = static_cast<std::uint32_t>(next),
                          .c = property_count_after(node, count) << kCountShift,
                          .d = top.d});
  };
  for (std::size_t i = top.b; i < node.properties.size(); ++i) {
    const SchemaNode::Property& property = node.properties[i];
    if (can_be_completed(node, i + 1, count + 1)) {
      const Stack value = pushed(after(i + 1), {.kind = Kind::kValue, .a = property.value});
      add(pushed(value, {.kind = Kind::kColon}), {.kind = Kind::kLiteral, .a = keys[i], .b = 1},
          out);
    }
    if (property.is_required) return;
  }
  if (count >= node.count_max) return;
  const Stack members = after(node.properties.size());
  for (const SchemaNode::OtherProperties& other : node.others) {
    const Stack value = pushed(members, {.kind = Kind::kValue, .a = other.value});
    Frame key{.kind = Kind::kString, .a = other.key};
    if (!options_.may_repeat_keys) {
      key = {.kind = Kind::kName,
             .a = unused_keys(other, top.d),
             .c = top.d == kAnyUsed ? kEndlessName : 0};
      if (texts_.texts_of(key.a) != RegularLanguage::Texts::kSome) continue;
    }
    add(pushed(value, {.kind = Kind::kColon}), key, out);
  }
}

void FormAutomaton::advance_items(const Frame& top, Stack below, unsigned char byte,
                                  std::vector<Stack>& out) {
  if (is_space(byte)) return advance_over_space(top, below, out);
  const SchemaNode& node = form_->graph.nodes[top.a];
  if (byte == ']') {
    if (top.b >= node.count_min) out.push_back(below);
    return;
  }
  if (top.b >= node.count_max) return;
  const bool is_first = (top.c & kIsFirst) != 0;
  if (is_first || byte == ',') begin_item(top, below, byte, is_first, out);
}

/// `has_begun`: the byte is the item's first; else the comma before it.
void FormAutomaton::begin_item(const Frame& top, Stack below, unsigned char byte, bool has_begun,
                               std::vector<Stack>& out) {
  const SchemaNode& node = form_->graph.nodes[top.a];
  Frame after{.kind = Kind::kItems, .a = top.a, .b = item_count_after(node, top.b), .d = top.d};
  if (node.unique_items.empty()) {
    const SchemaNode::Id item = top.b < node.prefix.size() ? node.prefix[top.b] : node.items;
    const Stack items = pushed(below, after);
    if (items == kTooDeep) return;
    if (has_begun) {
      begin_value(item, items, byte, out);
    } else {
      add(items, {.kind = Kind::kValue, .a = item}, out);
    }
    return;
  }
  std::vector<std::uint32_t>& uniques = uniques_[top.a];
  if (uniques.empty()) {
    for (const std::string& text : node.unique_items) uniques.push_back(literal_of(text));
  }
  for (std::size_t i = 0; i < uniques.size(); ++i) {
    const std::uint64_t bit = std::uint64_t{1} << i;
    if ((top.d & bit) != 0) continue;
    after.d = top.d | bit;
    const Stack items = pushed(below, after);
    if (items == kTooDeep) continue;
    const Frame literal{.kind = Kind::kLiteral, .a = uniques[i], .c = has_begun ? 0u : 1u};
    if (has_begun) {
      advance_literal(literal, items, byte, out);
    } else {
      add(items, literal, out);
    }
  }
}

void FormAutomaton::enter_rule(OutputForm::Rule rule, Stack below, std::vector<Stack>& out) {
  if (below == kTooDeep) return;
  for (const std::uint32_t first : rules_[rule]) {
    if (first == kEmptyTrack) {
      out.push_back(below);
    } else {
      add(below, {.kind = Kind::kPart, .a = first}, out);
    }
  }
}

FormAutomaton::Stack FormAutomaton::after_part(std::uint32_t part, Stack below) {
  return parts_[part].is_last ? below : pushed(below, {.kind = Kind::kPart, .a = part + 1});
}

void FormAutomaton::advance_part(const Frame& top, Stack below, unsigned char byte,
                                 std::vector<Stack>& out) {
  const PlacedPart& placed = parts_[top.a];
  const OutputForm::Part& part = *placed.part;
  if (std::holds_alternative<OutputForm::Free>(part)) return advance_free(top, below, byte, out);
  const Stack after = after_part(top.a, below);
  if (after == kTooDeep) return;
  if (std::holds_alternative<OutputForm::Literal>(part)) {
    advance_literal({.kind = Kind::kLiteral, .a = placed.literal}, after, byte, out);
  } else if (const auto* const value = std::get_if<OutputForm::Value>(&part)) {
    advance_value({.kind = Kind::kValue, .a = value->node}, after, byte, out);
  } else if (const auto* const text = std::get_if<OutputForm::Text>(&part)) {
    advance_text({.kind = Kind::kText, .a = text->text}, after, byte, out);
  } else if (const auto* const space = std::get_if<OutputForm::Space>(&part)) {
    const bool is_white = byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r';
    if (is_white && top.b < space->count_max) {
      add(below, {.kind = Kind::kPart, .a = top.a, .b = top.b + 1}, out);
    }
    advance(after, byte, out);
  } else if (const auto* const reference = std::get_if<OutputForm::Reference>(&part)) {
    std::vector<Stack> tracks;
    enter_rule(reference->rule, after, tracks);
    for (const Stack track : tracks) advance(track, byte, out);
  }
}

void FormAutomaton::advance_free(const Frame& top, Stack below, unsigned char byte,
                                 std::vector<Stack>& out) {
  const auto& free = std::get<OutputForm::Free>(*parts_[top.a].part);
  std::string come = free.marks.empty() ? "" : free.marks[top.c].text.substr(0, top.b);
  come += static_cast<char>(byte);
  // The longest end of what has come that begins a mark.
  for (; !come.empty(); come.erase(0, 1)) {
    for (std::uint32_t i = 0; i < free.marks.size(); ++i) {
      const OutputForm::Free::Mark& mark = free.marks[i];
      if (!mark.text.starts_with(come)) continue;
      if (come.size() < mark.text.size()) {
        return add(
            below,
            {.kind = Kind::kPart, .a = top.a, .b = static_cast<std::uint32_t>(come.size()), .c = i},
            out);
      }
      if (mark.then == OutputForm::Free::kLeave) {
        const Stack after = after_part(top.a, below);
        if (after != kTooDeep) out.push_back(after);
        return;
      }
      return enter_rule(mark.then, pushed(below, {.kind = Kind::kPart, .a = top.a}), out);
    }
  }
  add(below, {.kind = Kind::kPart, .a = top.a}, out);
}

bool FormAutomaton::can_end_stack(Stack stack) const {
  for (; stack != 0; stack = stacks_[stack].below) {
    const Frame& top = stacks_[stack].top;
    if (top.kind == Kind::kText) {
      if (top.b != 0 || !texts_.accepts(top.a)) return false;
      continue;
    }
    if (top.kind != Kind::kPart) return false;
    const OutputForm::Part* part = parts_[top.a].part;
    const auto* const free = std::get_if<OutputForm::Free>(part);
    if (free != nullptr) return free->is_open;
    // What follows may be left out as well.
    for (std::uint32_t at = top.a;; ++at) {
      part = parts_[at].part;
      const auto* const text = std::get_if<OutputForm::Text>(part);
      const bool is_optional = std::holds_alternative<OutputForm::Space>(*part) ||
                               (text != nullptr && texts_.accepts(text->text)) ||
                               is_optional_rule(*part);
      if (!is_optional) {
        const auto* const later = std::get_if<OutputForm::Free>(part);
        return later != nullptr && later->is_open;
      }
      if (parts_[at].is_last) break;
    }
  }
  return true;
}

bool FormAutomaton::is_optional_rule(const OutputForm::Part& part) const {
  const auto* const reference = std::get_if<OutputForm::Reference>(&part);
  if (reference == nullptr) return false;
  const std::vector<std::uint32_t>& tracks = rules_[reference->rule];
  return std::find(tracks.begin(), tracks.end(), kEmptyTrack) != tracks.end();
}

bool FormAutomaton::can_end(State state) const {
  const std::vector<Stack>& stacks = *states_[state].stacks;
  return std::any_of(stacks.begin(), stacks.end(),
                     [this](Stack stack) { return can_end_stack(stack); });
}

bool FormAutomaton::must_end(State state) const {
  const std::vector<Stack>& stacks = *states_[state].stacks;
  return std::all_of(stacks.begin(), stacks.end(), [](Stack stack) { return stack == 0; });
}

bool FormAutomaton::is_open(State state) const {
  const std::vector<Stack>& stacks = *states_[state].stacks;
  return std::any_of(stacks.begin(), stacks.end(), [this](Stack stack) {
    const Frame& top = stacks_[stack].top;
    if (stack == 0 || top.kind != Kind::kPart) return false;
    const auto* const free = std::get_if<OutputForm::Free>(parts_[top.a].part);
    return free != nullptr && free->is_open;
  });
}

std::uint32_t FormAutomaton::free_characters(State state) const {
  const std::vector<Stack>& stacks = *states_[state].stacks;
  if (stacks.size() != 1 || stacks.front() == 0) return 0;
  const Frame& top = stacks_[stacks.front()].top;
  const bool is_string = top.kind == Kind::kString || top.kind == Kind::kName;
  return is_string && top.b == 0 ? texts_.free_characters(top.a) : 0;
}

}  // namespace flashmoe
