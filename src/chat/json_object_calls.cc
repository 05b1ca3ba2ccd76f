#include "chat/json_object_calls.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/check.h"
#include "chat/argument_values.h"
#include "chat/json_reader.h"
#include "chat/marks.h"

namespace flashmoe {
namespace {

/// {"name": NAME, "arguments": {...}}: the arguments are passed on as they come once the name is
/// known, and word for word, so that a conversation that is rendered again gives the same tokens.
class ObjectCallReader : public ToolCallReader {
 public:
  /// `known`: the tools that there are, where nothing but its members tells a call; else null.
  ObjectCallReader(std::string_view close, const ToolSchemas* known)
      : close_(close), known_(known) {}

  Verdict read(std::string& text, OutputEvents& events) override {
    if (state_ == State::kBroken) return skip_rest(text);
    std::size_t at = 0;
    while (at < text.size()) {
      if (state_ == State::kEnd) return read_end(text, at, /*is_last=*/false);
      if (!take(text[at])) return fail(text, at, events);
      ++at;
      if (state_ == State::kEnd) tell_whole(events);
    }
    if (state_ == State::kEnd) return read_end(text, at, /*is_last=*/false);
    if (has_begun_) {
      tell_part(events);
      text.clear();
    } else if (may_tell_early_) {
      begin(events);
      tell_part(events);
      text.clear();
    } else if (!is_last_) {
      // It may yet turn out to be no call: what was taken stays to be seen.
      rewind();
    }
    return Verdict::kMore;
  }

  Verdict finish(std::string& text, OutputEvents& events) override {
    is_last_ = true;
    const Verdict verdict = read(text, events);
    if (verdict != Verdict::kMore) return verdict;
    text.clear();
    if (state_ == State::kEnd || state_ == State::kBroken) return Verdict::kDone;
    if (!has_begun_ && !has_name()) return Verdict::kCut;
    if (!has_begun_) begin(events);
    events.push_back({.kind = OutputEvent::Kind::kCallEnd, .is_complete = false});
    return Verdict::kDone;
  }

 private:
  enum class State : std::uint8_t {
    kOpen,
    kKeyOrClose,
    kKey,
    kColon,
    kValue,
    kNext,
    kEnd,
    kBroken
  };
  enum class Member : std::uint8_t { kName, kArguments, kOther };

  /// Nothing is consumed before a call is told of: the text is read from its beginning again.
  void rewind() {
    state_ = State::kOpen;
    key_.clear();
    value_.clear();
    name_.clear();
    arguments_.clear();
    automaton_.reset();
    may_tell_early_ = false;
  }

  bool take(char c) {
    const bool is_space = kWhiteSpace.find(c) != std::string_view::npos;
    switch (state_) {
      case State::kOpen:
        if (c == '{') state_ = State::kKeyOrClose;
        return is_space || c == '{';
      case State::kKeyOrClose:
        if (is_space) return true;
        if (c != '"') return false;
        key_.assign(1, c);
        state_ = State::kKey;
        return true;
      case State::kKey:
        key_ += c;
        if (c == '"' && key_[key_.size() - 2] != '\\') {
          state_ = State::kColon;
          if (known_ != nullptr && !has_name() && !may_come_first(key_)) return false;
        }
        return key_.size() < 256;
      case State::kColon:
        if (is_space) return true;
        if (c != ':') return false;
        member_ = member_of(key_);
        value_.clear();
        automaton_.emplace();
        state_ = State::kValue;
        return true;
      case State::kValue:
        return take_value(c, is_space);
      case State::kNext:
        if (is_space) return true;
        if (c == ',') state_ = State::kKeyOrClose;
        if (c == '}') state_ = has_name() ? State::kEnd : State::kNext;
        return c == ',' || (c == '}' && has_name());
      case State::kEnd:
      case State::kBroken:
        break;
    }
    return false;
  }

  /// Of several with one name the first counts: it may have been told already.
  Member member_of(std::string_view key) const {
    if (key == "\"name\"" && !has_name()) return Member::kName;
    const bool is_arguments = key == "\"arguments\"" || key == "\"parameters\"";
    return is_arguments && arguments_.empty() ? Member::kArguments : Member::kOther;
  }

  bool take_value(char c, bool is_space) {
    if (value_.empty() && is_space) return true;
    if (automaton_->push(c)) {
      value_ += c;
      // The name is known, and these are the arguments, and an object.
      may_tell_early_ |= has_name() && member_ == Member::kArguments && value_[0] == '{';
      return !automaton_->must_end() || end_value();
    }
    // A number ends with what comes after it.
    if (!automaton_->can_end()) return false;
    return end_value() && take(c);
  }

  /// False if no call goes on with it.
  bool end_value() {
    state_ = State::kNext;
    if (member_ == Member::kName) {
      const auto name = nlohmann::json::parse(value_, nullptr, false);
      if (name.is_string()) name_ = name.get<std::string>();
      if (known_ != nullptr && !known_->contains(name_)) return false;
    } else if (member_ == Member::kArguments) {
      arguments_ = value_;
    }
    return true;
  }

  /// Of members before the name: what else begins so is an answer in JSON.
  static bool may_come_first(std::string_view key) {
    return key == R"("name")" || key == R"("type")" || key == R"("id")" ||
           key == R"("arguments")" || key == R"("parameters")";
  }

  bool has_name() const { return !name_.empty(); }

  void begin(OutputEvents& events) {
    events.push_back({.kind = OutputEvent::Kind::kCallBegin, .text = name_});
    has_begun_ = true;
  }

  void tell_part(OutputEvents& events) {
    const std::string& all =
        state_ == State::kValue && member_ == Member::kArguments ? value_ : arguments_;
    if (all.size() <= told_) return;
    events.push_back({.kind = OutputEvent::Kind::kCallArguments, .text = all.substr(told_)});
    told_ = all.size();
  }

  void tell_whole(OutputEvents& events) {
    if (!has_begun_) begin(events);
    if (told_ == 0) arguments_ = usual_arguments(arguments_);
    tell_part(events);
    events.push_back({.kind = OutputEvent::Kind::kCallEnd});
  }

  /// Arguments may have been encoded twice, or not be given at all.
  static std::string usual_arguments(const std::string& arguments) {
    if (arguments.empty()) return "{}";
    const auto value = nlohmann::json::parse(arguments, nullptr, false);
    if (value.is_null()) return "{}";
    if (!value.is_string()) return arguments;
    const auto text = value.get<std::string>();
    return whole_json(text).is_object() ? text : arguments;
  }

  /// Takes the mark at the end, if it comes.
  Verdict read_end(std::string& text, std::size_t at, bool is_last) const {
    const std::size_t mark = skip_space(text, at);
    const std::string_view rest = std::string_view(text).substr(mark);
    if (rest.starts_with(close_)) {
      text.erase(0, mark + close_.size());
      return Verdict::kDone;
    }
    if (!is_last && (rest.empty() || may_become(rest, close_))) {
      text.erase(0, at);
      return Verdict::kMore;
    }
    text.erase(0, at);
    return Verdict::kDone;
  }

  /// `at`: the byte that no call goes on with.
  Verdict fail(std::string& text, std::size_t at, OutputEvents& events) {
    if (!has_begun_ && !may_tell_early_) return Verdict::kNoCall;
    if (!has_begun_) begin(events);
    tell_part(events);
    events.push_back({.kind = OutputEvent::Kind::kCallEnd, .is_complete = false});
    state_ = State::kBroken;
    text.erase(0, at);
    return skip_rest(text);
  }

  /// What follows is of the broken call, up to its end.
  Verdict skip_rest(std::string& text) const {
    if (close_.empty()) {
      text.clear();
      return Verdict::kMore;
    }
    const std::size_t close = text.find(close_);
    if (close == std::string::npos) {
      text.erase(0, possible_mark(text, close_));
      return Verdict::kMore;
    }
    text.erase(0, close + close_.size());
    return Verdict::kDone;
  }

  const std::string_view close_;  // may be empty
  const ToolSchemas* const known_;
  State state_ = State::kOpen;
  Member member_ = Member::kOther;
  std::string key_;
  std::string value_;
  std::string name_;
  std::string arguments_;
  std::optional<JsonReader> automaton_;
  bool is_last_ = false;
  bool has_begun_ = false;
  bool may_tell_early_ = false;
  std::size_t told_ = 0;  // bytes of the arguments
};

}  // namespace

std::vector<std::string> JsonObjectSyntax::signs(const std::string& function,
                                                 const std::string& key) const {
  return {std::string(marks().block_open), fmt::format("{{\"name\": \"{}\"", function),
          fmt::format("\"{}\":", arguments_key_), fmt::format("\"{}\"", key)};
}

std::unique_ptr<ToolCallReader> JsonObjectSyntax::make_reader(const ToolSchemas& schemas) const {
  return std::make_unique<ObjectCallReader>(marks().call_close,
                                            marks().is_bare ? &schemas : nullptr);
}

OutputForm::Track JsonObjectSyntax::call(CallForm& form, const std::string& function,
                                         std::optional<SchemaNode::Id> arguments,
                                         bool is_free) const {
  using Literal = OutputForm::Literal;
  const std::string close(marks().call_close);
  if (!is_free) {
    FM_CHECK(arguments.has_value());
    return {Literal{fmt::format("{{\"name\": {}, \"{}\": ", nlohmann::json(function).dump(),
                                arguments_key_)},
            OutputForm::Value{*arguments}, Literal{close.empty() ? "}" : "}\n" + close}};
  }
  SchemaNode call{.kind = SchemaNode::Kind::kObject};
  call.properties = {
      {"\"name\"", form.add_text_node(function), true},
      {fmt::format("\"{}\"", arguments_key_), arguments.value_or(SchemaGraph::kAnyObject), true}};
  const OutputForm::Value value{form.add_node(std::move(call))};
  if (close.empty()) return {value};
  return {value, OutputForm::Space{CallForm::kLayoutMax}, Literal{close}};
}

}  // namespace flashmoe
