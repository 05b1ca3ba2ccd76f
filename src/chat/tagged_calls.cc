#include "chat/tagged_calls.h"

#include <utility>

#include "chat/argument_values.h"
#include "chat/marks.h"

namespace flashmoe {
namespace {

/// A name that is longer is none.
constexpr std::size_t kNameMax = 256;

bool begins_with(std::string_view text, std::string_view mark) {
  return !mark.empty() && text.starts_with(mark);
}

/// The function's name, then any number of times a parameter's name and value, and the end. A value
/// may hold any text, these marks included: a mark ends it only where what follows goes on as a
/// call does. Where parameters take text, values are passed on as they come.
class TaggedCallReader : public ToolCallReader {
 public:
  TaggedCallReader(const CallMarks& marks, const ParameterTags& tags, const ToolSchemas& schemas)
      : marks_(marks), tags_(tags), schemas_(schemas) {}

  Verdict read(std::string& text, OutputEvents& events) override {
    return run(text, events, /*is_last=*/false);
  }
  Verdict finish(std::string& text, OutputEvents& events) override {
    Verdict verdict = run(text, events, /*is_last=*/true);
    if (verdict != Verdict::kMore) return verdict;
    text.clear();
    if (state_ == State::kFunction) return Verdict::kCut;
    // It broke off between parameters, or within the name of one.
    if (state_ != State::kEnd) end_call(events, /*is_complete=*/false);
    return Verdict::kDone;
  }

 private:
  enum class State : std::uint8_t { kFunction, kBetween, kValue, kEnd };
  enum class Progress : std::uint8_t { kGoOn, kWait, kDone, kNoCall };

  Verdict run(std::string& text, OutputEvents& events, bool is_last) {
    while (true) {
      switch (advance(text, events, is_last)) {
        case Progress::kGoOn:
          break;
        case Progress::kWait:
          return Verdict::kMore;
        case Progress::kDone:
          return Verdict::kDone;
        case Progress::kNoCall:
          return Verdict::kNoCall;
      }
    }
  }

  Progress advance(std::string& text, OutputEvents& events, bool is_last) {
    switch (state_) {
      case State::kFunction:
        return read_function(text, events);
      case State::kBetween:
        return read_between(text, events);
      case State::kValue:
        return read_value(text, events, is_last);
      case State::kEnd:
        return read_end(text, is_last);
    }
    return Progress::kDone;
  }

  Progress read_function(std::string& text, OutputEvents& events) {
    std::size_t begin = skip_space(text);
    std::string_view rest = std::string_view(text).substr(begin);
    if (rest.empty() || may_become(rest, marks_.call_open)) return Progress::kWait;
    if (!rest.starts_with(marks_.call_open)) return Progress::kNoCall;
    begin += marks_.call_open.size();
    rest.remove_prefix(marks_.call_open.size());
    const std::size_t end =
        tags_.name_close.empty() ? rest.find_first_of(" \t\r\n<") : rest.find(tags_.name_close);
    if (end == std::string_view::npos) {
      return rest.size() > kNameMax ? Progress::kNoCall : Progress::kWait;
    }
    const std::string name(rest.substr(0, end));
    if (name.empty()) return Progress::kNoCall;
    if (tags_.name_close.empty()) {
      // Any word is a name, if a call goes on behind it.
      const std::string_view after = rest.substr(skip_space(rest, end));
      if (after.empty() || may_become(after, tags_.key_open) ||
          may_become(after, marks_.call_close)) {
        return Progress::kWait;
      }
      if (!after.starts_with(tags_.key_open) && !after.starts_with(marks_.call_close)) {
        return Progress::kNoCall;
      }
    }
    if (const auto schema = schemas_.find(name); schema != schemas_.end()) {
      const auto properties = schema->second.find("properties");
      if (schema->second.is_object() && properties != schema->second.end() &&
          properties->is_object()) {
        properties_ = &*properties;
      }
    }
    text.erase(0, begin + end + tags_.name_close.size());
    events.push_back({.kind = OutputEvent::Kind::kCallBegin, .text = name});
    state_ = State::kBetween;
    return Progress::kGoOn;
  }

  Progress read_between(std::string& text, OutputEvents& events) {
    const std::size_t begin = skip_space(text);
    const std::string_view rest = std::string_view(text).substr(begin);
    if (rest.empty() || may_become(rest, tags_.key_open) || may_become(rest, marks_.call_close) ||
        may_become(rest, marks_.block_close)) {
      return Progress::kWait;
    }
    if (rest.starts_with(marks_.call_close)) {
      text.erase(0, begin + marks_.call_close.size());
      end_call(events, /*is_complete=*/true);
      return Progress::kGoOn;
    }
    if (begins_with(rest, marks_.block_close)) {
      text.erase(0, begin);
      end_call(events, /*is_complete=*/true);
      return Progress::kGoOn;
    }
    if (!rest.starts_with(tags_.key_open)) {
      // Stray text between parameters says nothing.
      const std::size_t next = rest.find('<', 1);
      text.erase(0, next == std::string_view::npos ? text.size() : begin + next);
      return Progress::kGoOn;
    }
    const std::size_t end = rest.find(tags_.key_close);
    if (end == std::string_view::npos) {
      if (rest.size() <= kNameMax) return Progress::kWait;
      text.erase(0, begin + 1);
      return Progress::kGoOn;
    }
    std::size_t value = end + tags_.key_close.size();
    if (!tags_.value_open.empty()) {
      value = skip_space(rest, value);
      const std::string_view after = rest.substr(value);
      if (after.empty() || may_become(after, tags_.value_open)) return Progress::kWait;
      if (!after.starts_with(tags_.value_open)) {
        text.erase(0, begin + 1);
        return Progress::kGoOn;
      }
      value += tags_.value_open.size();
    }
    key_ = rest.substr(tags_.key_open.size(), end - tags_.key_open.size());
    text.erase(0, begin + value);
    schema_ = properties_ != nullptr && properties_->contains(key_) ? (*properties_)[key_]
                                                                    : nlohmann::ordered_json();
    streams_ = takes_text(schema_);
    is_at_start_ = true;
    seen_.push_back(key_);
    tell(events,
         (has_parameters_ ? ", \"" : "{\"") + json_escaped(key_) + "\": " + (streams_ ? "\"" : ""));
    has_parameters_ = true;
    state_ = State::kValue;
    return Progress::kGoOn;
  }

  Progress read_value(std::string& text, OutputEvents& events, bool is_last) {
    if (is_at_start_ && text.empty() && !is_last) return Progress::kWait;
    // One newline after the mark, and one before the next, are not of the value.
    if (tags_.has_lines && is_at_start_ && text.starts_with('\n')) text.erase(0, 1);
    is_at_start_ = false;
    std::size_t mark_size = 0;
    bool is_certain = true;
    const std::size_t end = find_end(text, is_last, mark_size, is_certain);
    if (is_certain && (end < text.size() || is_last)) {
      std::string_view value = std::string_view(text).substr(0, end);
      if (tags_.has_lines && value.ends_with('\n')) value.remove_suffix(1);
      const bool is_broken_off = end == text.size();
      if (streams_) {
        tell(events, json_escaped(value) + "\"");
      } else {
        tell(events, argument_json(pending_.append(value), schema_));
      }
      pending_.clear();
      text.erase(0, end + mark_size);
      state_ = State::kBetween;
      if (!is_broken_off) return Progress::kGoOn;
      end_call(events, /*is_complete=*/false);
      return Progress::kDone;
    }
    // What is before anything that may end the value is of it, but for a newline.
    std::size_t safe = end;
    if (safe > 0 && text[safe - 1] == '\n') --safe;
    if (streams_) {
      if (safe > 0) tell(events, json_escaped(std::string_view(text).substr(0, safe)));
    } else {
      pending_.append(text, 0, safe);
    }
    text.erase(0, safe);
    return Progress::kWait;
  }

  /// Where the value ends, or may end if `is_certain` is false; the text's size if it goes on.
  /// `mark_size`: bytes of the mark that are to be taken with it.
  std::size_t find_end(std::string_view text, bool is_last, std::size_t& mark_size,
                       bool& is_certain) const {
    for (std::size_t at = text.find('<'); at < text.size(); at = text.find('<', at + 1)) {
      const std::string_view rest = text.substr(at);
      if (!is_last &&
          (may_become(rest, tags_.value_close) || may_become(rest, marks_.call_close))) {
        is_certain = false;
        return at;
      }
      // Where the output was cut, so was the mark.
      const bool is_cut_mark = is_last && may_become(rest, tags_.value_close);
      const bool ends_line = at > 0 && text[at - 1] == '\n';
      if (is_cut_mark && (ends_line || !tags_.has_lines)) {
        mark_size = rest.size();
        return at;
      }
      if (rest.starts_with(tags_.value_close)) {
        const Follow follow = what_follows(rest.substr(tags_.value_close.size()), is_last);
        if (follow == Follow::kOther) continue;
        mark_size = tags_.value_close.size();
        is_certain = follow == Follow::kCall;
        return at;
      }
      // Models forget to close a parameter.
      if (rest.starts_with(marks_.call_close)) {
        const std::string_view after = rest.substr(marks_.call_close.size());
        const std::string_view next = after.substr(skip_space(after));
        if (!is_last && (next.empty() || may_become(next, behind_call()))) {
          is_certain = false;
          return at;
        }
        if (next.empty() || next.starts_with(behind_call())) return at;
      }
      if (ends_line && (rest.starts_with(tags_.key_open) || may_become(rest, tags_.key_open))) {
        const Follow follow = what_follows(rest, is_last);
        if (follow == Follow::kOther) continue;
        is_certain = follow == Follow::kCall;
        return at;
      }
    }
    return text.size();
  }

  enum class Follow : std::uint8_t { kCall, kMaybe, kOther };

  /// Whether a call goes on with `text`: by a parameter that the function has and that has not been
  /// given, or by its end.
  Follow what_follows(std::string_view text, bool is_last) const {
    const std::string_view rest = text.substr(skip_space(text));
    if (rest.empty()) return is_last ? Follow::kCall : Follow::kMaybe;
    if (rest.starts_with(marks_.call_close) || begins_with(rest, marks_.block_close))
      return Follow::kCall;
    const Follow unfinished = is_last ? Follow::kCall : Follow::kMaybe;
    if (may_become(rest, marks_.call_close) || may_become(rest, marks_.block_close) ||
        may_become(rest, tags_.key_open)) {
      return unfinished;
    }
    if (!rest.starts_with(tags_.key_open)) return Follow::kOther;
    const std::size_t end = rest.find(tags_.key_close);
    if (end == std::string_view::npos) {
      return rest.size() > kNameMax ? Follow::kOther : unfinished;
    }
    const std::string key(rest.substr(tags_.key_open.size(), end - tags_.key_open.size()));
    for (const std::string& seen : seen_) {
      if (seen == key) return Follow::kOther;
    }
    return properties_ == nullptr || properties_->contains(key) ? Follow::kCall : Follow::kOther;
  }

  /// What comes where a block goes on, or ends, behind a call.
  std::string_view behind_call() const {
    return marks_.block_close.empty() ? marks_.block_open : marks_.block_close;
  }

  Progress read_end(std::string& text, bool is_last) const {
    if (marks_.block_close.empty()) return Progress::kDone;
    const std::size_t begin = skip_space(text);
    const std::string_view rest = std::string_view(text).substr(begin);
    if (begins_with(rest, marks_.block_close)) {
      text.erase(0, begin + marks_.block_close.size());
    } else if (rest.empty() || may_become(rest, marks_.block_close)) {
      if (!is_last) return Progress::kWait;
      text.clear();  // the mark was cut
    }
    return Progress::kDone;
  }

  static void tell(OutputEvents& events, std::string part) {
    events.push_back({.kind = OutputEvent::Kind::kCallArguments, .text = std::move(part)});
  }

  void end_call(OutputEvents& events, bool is_complete) {
    tell(events, has_parameters_ ? "}" : "{}");
    events.push_back({.kind = OutputEvent::Kind::kCallEnd, .is_complete = is_complete});
    state_ = State::kEnd;
  }

  const CallMarks marks_;
  const ParameterTags tags_;
  const ToolSchemas& schemas_;
  State state_ = State::kFunction;
  const nlohmann::ordered_json* properties_ = nullptr;  // of the function; null: not known
  nlohmann::ordered_json schema_;                       // of the parameter
  std::string key_;
  std::vector<std::string> seen_;
  std::string pending_;  // of a value that has to be whole to be understood
  bool streams_ = false;
  bool is_at_start_ = false;
  bool has_parameters_ = false;
};

}  // namespace

std::vector<std::string> TaggedSyntax::signs(const std::string& function,
                                             const std::string& key) const {
  const std::string_view begin = marks().call_open.empty() ? marks().block_open : marks().call_open;
  return {std::string(marks().call_open.empty() ? "" : marks().block_open),
          std::string(begin) + function + std::string(tags_.name_close),
          std::string(tags_.key_open) + key + std::string(tags_.key_close),
          std::string(tags_.value_open), std::string(tags_.value_close)};
}

std::unique_ptr<ToolCallReader> TaggedSyntax::make_reader(const ToolSchemas& schemas) const {
  return std::make_unique<TaggedCallReader>(marks(), tags_, schemas);
}

OutputForm::Part TaggedSyntax::line() const {
  if (tags_.has_lines) return OutputForm::Literal{"\n"};
  return CallSyntax::line();
}

OutputForm::Track TaggedSyntax::call(CallForm& form, const std::string& function,
                                     std::optional<SchemaNode::Id> arguments,
                                     bool /*is_free*/) const {
  using Literal = OutputForm::Literal;
  const std::string head =
      std::string(marks().call_open) + function + std::string(tags_.name_close);
  const std::string end(marks().call_close);
  const OutputForm::Space layout{CallForm::kLayoutMax};
  if (arguments) {
    CallForm::ParameterMarks parameters{.close = std::string(tags_.value_close),
                                        .within = tags_.value_close};
    if (tags_.has_lines) parameters.close = "\n" + parameters.close + "\n";
    parameters.open = [&](const std::string& key) -> OutputForm::Track {
      const std::string name = std::string(tags_.key_open) + key + std::string(tags_.key_close);
      if (tags_.has_lines) return {Literal{name + "\n"}};
      if (tags_.value_open.empty()) return {layout, Literal{name}};
      return {layout, Literal{name}, layout, Literal{std::string(tags_.value_open)}};
    };
    OutputForm::Track last = {Literal{end}};
    if (!tags_.has_lines) last.insert(last.begin(), layout);
    if (const auto rule = form.add_parameters(*arguments, parameters, std::move(last))) {
      return {Literal{tags_.has_lines ? head + "\n" : head}, OutputForm::Reference{*rule}};
    }
  }
  // A name that only what follows ends is told from a longer one by it.
  if (tags_.name_close.empty()) {
    const OutputForm::Rule rest = form.add_rule(
        {{Literal{end}},
         {Literal{std::string(tags_.key_open)}, OutputForm::Free{.marks = {{.text = end}}}}});
    return {Literal{head}, layout, OutputForm::Reference{rest}};
  }
  return {Literal{head}, layout, OutputForm::Free{.marks = {{.text = end}}}};
}

}  // namespace flashmoe
