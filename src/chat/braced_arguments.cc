#include "chat/braced_arguments.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "chat/argument_values.h"
#include "chat/marks.h"

namespace flashmoe {
namespace {

/// What is longer is no key.
constexpr std::size_t kKeyBytesMax = 256;
/// What is longer is no value without quotes: it is held back until it ends, and looked at anew
/// with each token.
constexpr std::size_t kWordBytesMax = 4096;
constexpr std::size_t kBracketsMax = 128;
/// Members of an object that are told apart.
constexpr std::size_t kMembersMax = 256;

/// The value of a word as JSON: of a number, or of what JSON or Python names; else a string.
std::string json_of_word(std::string_view word) {
  if (word == "None") return "null";
  if (word == "True") return "true";
  if (word == "False") return "false";
  if (!whole_json(word).is_discarded()) return std::string(word);
  return '"' + json_escaped(word) + '"';
}

/// The rules of values; one each, however often a schema refers to it.
class BracedForm {
 public:
  using Rule = OutputForm::Rule;
  using Literal = OutputForm::Literal;
  using Reference = OutputForm::Reference;

  explicit BracedForm(CallForm& form) : form_(form) {}

  Rule value(SchemaNode::Id id) {
    if (const auto known = values_.find(id); known != values_.end()) return known->second;
    const Rule rule = form_.add_rule();
    values_[id] = rule;
    form_.set_rule(rule, tracks(id));
    return rule;
  }

  std::optional<Rule> members(SchemaNode::Id id) {
    const SchemaNode object = form_.node(id);
    const bool is_plain = object.kind == SchemaNode::Kind::kObject && object.others.empty() &&
                          object.count_min == 0 && object.count_max == SchemaNode::kUnlimited &&
                          object.properties.size() <= kMembersMax;
    if (!is_plain) return std::nullopt;
    std::vector<std::string> keys;
    for (const SchemaNode::Property& property : object.properties) {
      keys.push_back(nlohmann::json::parse(property.key).get<std::string>());
      const bool is_word = !keys.back().empty() && keys.back().size() <= kKeyBytesMax &&
                           keys.back().find_first_of(" \t\r\n\"<>{}[]:,") == std::string::npos;
      if (!is_word) return std::nullopt;
    }
    // Behind a member comes a comma, before the first one none.
    Rule first = form_.add_rule({{Literal{"}"}}});
    Rule later = first;
    for (std::size_t i = keys.size(); i-- > 0;) {
      const Reference member{value(object.properties[i].value)};
      const auto rule = [&](std::string_view comma, Rule without) {
        std::vector<OutputForm::Track> all = {
            {Literal{std::string(comma) + keys[i] + ":"}, member, Reference{later}}};
        if (!object.properties[i].is_required) all.push_back({Reference{without}});
        return form_.add_rule(std::move(all));
      };
      const Rule first_here = rule("", first);
      later = rule(",", later);
      first = first_here;
    }
    return first;
  }

 private:
  std::vector<OutputForm::Track> tracks(SchemaNode::Id id) {
    const SchemaNode node = form_.node(id);
    const OutputForm::Track as_json = {OutputForm::Value{id}};
    switch (node.kind) {
      case SchemaNode::Kind::kString:
        return {text(node.text)};
      case SchemaNode::Kind::kAny:
        return {text(RegularLanguage::kAnything), as_json};
      case SchemaNode::Kind::kAnyOf: {
        std::vector<OutputForm::Track> all;
        for (const SchemaNode::Id each : node.alternatives) all.push_back({Reference{value(each)}});
        return all;
      }
      case SchemaNode::Kind::kObject:
        if (const auto rule = members(id)) return {{Literal{"{"}, Reference{*rule}}};
        return {as_json};
      case SchemaNode::Kind::kArray:
        if (node.prefix.empty() && node.unique_items.empty() && node.count_min == 0 &&
            node.count_max == SchemaNode::kUnlimited) {
          return list(value(node.items));
        }
        return {as_json};
      default:
        return {as_json};
    }
  }

  OutputForm::Track text(RegularLanguage::Term term) {
    OutputForm::Track track =
        form_.text_until(term, std::string(kBracedQuote), std::string(kBracedQuote));
    track.insert(track.begin(), Literal{std::string(kBracedQuote)});
    return track;
  }

  std::vector<OutputForm::Track> list(Rule item) {
    const Rule rest = form_.add_rule();
    form_.set_rule(rest, {{Literal{"]"}}, {Literal{","}, Reference{item}, Reference{rest}}});
    return {{Literal{"[]"}}, {Literal{"["}, Reference{item}, Reference{rest}}};
  }

  CallForm& form_;
  std::map<SchemaNode::Id, Rule> values_;
};

}  // namespace

std::optional<OutputForm::Rule> add_braced_members(CallForm& form, SchemaNode::Id node) {
  return BracedForm(form).members(node);
}

ArgumentsReader::Verdict BracedArguments::read(std::string& text, OutputEvents& events) {
  if (text.empty()) return Verdict::kMore;
  std::string json;
  if (!std::exchange(has_begun_, true)) json = brackets_ = "{";
  Step last = Step::kGoOn;
  while (last == Step::kGoOn) last = step(text, json);
  tell(std::move(json), events);
  if (last == Step::kWait) return Verdict::kMore;
  tell_end(events, last == Step::kDone);
  return last == Step::kDone ? Verdict::kComplete : Verdict::kBroken;
}

BracedArguments::Step BracedArguments::step(std::string& text, std::string& json) {
  const bool is_in_string = state_ == State::kMarked || state_ == State::kQuoted;
  if (!is_in_string) text.erase(0, skip_space(text));
  if (text.empty()) return Step::kWait;
  switch (state_) {
    case State::kMember:
      return text[0] == '}' ? close(text, json) : read_key(text, json);
    case State::kColon:
      if (text[0] != ':') return Step::kBroken;
      text.erase(0, 1);
      state_ = State::kValue;
      return Step::kGoOn;
    case State::kItem:
      if (text[0] == ']') return close(text, json);
      separate(json);
      state_ = State::kValue;
      return Step::kGoOn;
    case State::kValue:
      return read_value(text, json);
    case State::kMarked:
      return read_marked(text, json);
    case State::kQuoted:
      return read_quoted(text, json);
    case State::kAfter:
      if (text[0] != ',') return close(text, json);
      text.erase(0, 1);
      state_ = brackets_.back() == '{' ? State::kMember : State::kItem;
      return Step::kGoOn;
  }
  return Step::kBroken;
}

BracedArguments::Step BracedArguments::read_key(std::string& text, std::string& json) {
  if (may_become(text, kBracedQuote)) return Step::kWait;
  std::size_t end = 0;
  std::string key;
  if (text.starts_with(kBracedQuote)) {
    const std::size_t close = text.find(kBracedQuote, kBracedQuote.size());
    end = close == std::string::npos ? close : close + kBracedQuote.size();
    key = text.substr(kBracedQuote.size(), close - std::min(close, kBracedQuote.size()));
  } else if (text[0] == '"') {
    JsonReader quoted;
    while (end < text.size() && !quoted.must_end()) {
      if (!quoted.push(text[end])) return Step::kBroken;
      ++end;
    }
    if (!quoted.must_end()) end = std::string::npos;
    const auto parsed = nlohmann::json::parse(text.substr(0, end), nullptr, false);
    if (parsed.is_string()) key = parsed.get<std::string>();
  } else {
    end = text.find_first_of(":,{}[]");
    if (end != std::string::npos && text[end] != ':') return Step::kBroken;
    key = without_space(std::string_view(text).substr(0, end));
  }
  if (end == std::string::npos) return text.size() > kKeyBytesMax ? Step::kBroken : Step::kWait;
  if (key.empty() || end > kKeyBytesMax) return Step::kBroken;
  separate(json);
  json += '"' + json_escaped(key) + "\": ";
  text.erase(0, end);
  state_ = State::kColon;
  return Step::kGoOn;
}

BracedArguments::Step BracedArguments::read_value(std::string& text, std::string& json) {
  if (may_become(text, kBracedQuote)) return Step::kWait;
  if (text.starts_with(kBracedQuote)) {
    text.erase(0, kBracedQuote.size());
    json += '"';
    state_ = State::kMarked;
    return Step::kGoOn;
  }
  if (text[0] == '"') {
    quoted_.emplace();
    state_ = State::kQuoted;
    return Step::kGoOn;
  }
  if (text[0] == '{' || text[0] == '[') return open(text, json);
  return read_word(text, json);
}

BracedArguments::Step BracedArguments::read_marked(std::string& text, std::string& json) {
  const std::size_t end = text.find(kBracedQuote);
  const bool is_whole = end != std::string::npos;
  const std::size_t certain = is_whole ? end : possible_mark(text, kBracedQuote);
  json += json_escaped(std::string_view(text).substr(0, certain));
  text.erase(0, is_whole ? end + kBracedQuote.size() : certain);
  if (!is_whole) return Step::kWait;
  json += '"';
  state_ = State::kAfter;
  return Step::kGoOn;
}

BracedArguments::Step BracedArguments::read_quoted(std::string& text, std::string& json) {
  std::size_t at = 0;
  bool is_taken = true;
  while (at < text.size() && !quoted_->must_end() && is_taken) {
    is_taken = quoted_->push(text[at]);
    at += is_taken ? 1 : 0;
  }
  json += text.substr(0, at);
  text.erase(0, at);
  if (!is_taken) return Step::kBroken;
  if (!quoted_->must_end()) return Step::kWait;
  state_ = State::kAfter;
  return Step::kGoOn;
}

BracedArguments::Step BracedArguments::read_word(std::string& text, std::string& json) {
  const std::size_t end = text.find_first_of(",]}<");
  if (std::min(end, text.size()) > kWordBytesMax) return Step::kBroken;
  if (end == std::string::npos) return Step::kWait;
  const std::string_view word = without_space(std::string_view(text).substr(0, end));
  if (word.empty()) return Step::kBroken;
  json += json_of_word(word);
  text.erase(0, end);
  state_ = State::kAfter;
  return Step::kGoOn;
}

BracedArguments::Step BracedArguments::open(std::string& text, std::string& json) {
  if (brackets_.size() == kBracketsMax) return Step::kBroken;
  brackets_ += text[0];
  json += text[0];
  is_first_ = true;
  state_ = text[0] == '{' ? State::kMember : State::kItem;
  text.erase(0, 1);
  return Step::kGoOn;
}

BracedArguments::Step BracedArguments::close(std::string& text, std::string& json) {
  const char bracket = brackets_.back() == '{' ? '}' : ']';
  if (text[0] != bracket) return Step::kBroken;
  json += bracket;
  brackets_.pop_back();
  text.erase(0, 1);
  is_first_ = false;
  state_ = State::kAfter;
  return brackets_.empty() ? Step::kDone : Step::kGoOn;
}

void BracedArguments::separate(std::string& json) {
  if (!std::exchange(is_first_, false)) json += ", ";
}

}  // namespace flashmoe
