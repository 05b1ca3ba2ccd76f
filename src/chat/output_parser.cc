#include "chat/output_parser.h"

#include <algorithm>
#include <utility>

#include "base/utf8.h"
#include "chat/marks.h"

namespace flashmoe {
namespace {

/// Where `mark` stands, or may begin to; the text's size if nowhere. Empty: nowhere.
std::size_t possible_call(std::string_view text, std::string_view mark) {
  if (mark.empty()) return text.size();
  // An output may be cut within a character of its mark.
  std::string_view whole = text;
  while (whole.ends_with(kReplacementCharacter)) whole.remove_suffix(kReplacementCharacter.size());
  const std::size_t at = possible_mark(whole, mark);
  return at == whole.size() ? text.size() : at;
}

}  // namespace

OutputParser::OutputParser(const Options& options, const ToolSchemas& schemas)
    : syntax_(options.is_plain ? nullptr : call_syntax(options.tools)),
      thoughts_(thought_marks(options.style)),
      schemas_(schemas),
      state_(options.is_plain              ? State::kText
             : options.begins_in_reasoning ? State::kReasoning
                                           : State::kBeginning) {
  if (options.style != AnswerStyle::kHarmony || options.is_plain) return;
  messages_ = std::make_unique<HarmonyReader>(options.opening, syntax_, schemas);
}

void OutputParser::push(std::string_view text, OutputEvents& events) {
  text_ += text;
  received_ += text.size();
  if (messages_ != nullptr) return messages_->read(text_, received_, events);
  run(events, /*is_last=*/false);
}

void OutputParser::finish(OutputEvents& events, bool is_cut) {
  if (messages_ != nullptr) return messages_->finish(text_, received_, is_cut, events);
  if (is_cut && syntax_ != nullptr && state_ != State::kCall && state_ != State::kReasoning) {
    drop_cut_mark();
  }
  run(events, /*is_last=*/true);
}

void OutputParser::drop_cut_mark() {
  const std::size_t at = possible_calls(text_);
  if (text_.size() - at < kCutMarkBytes) return;
  received_ -= text_.size() - at;
  text_.resize(at);
  ends_in_call_ = true;
}

std::size_t OutputParser::possible_calls(std::string_view text) const {
  const CallMarks& marks = syntax_->marks();
  return std::min(possible_call(text, marks.block_open), possible_call(text, marks.call_open));
}

void OutputParser::run(OutputEvents& events, bool is_last) {
  bool goes_on = true;
  while (goes_on) {
    switch (state_) {
      case State::kBeginning:
        goes_on = run_beginning(events, is_last);
        break;
      case State::kReasoning:
        goes_on = run_reasoning(events, is_last);
        break;
      case State::kText:
        goes_on = run_text(events, is_last);
        break;
      case State::kCall:
        goes_on = run_call(events, is_last);
        break;
    }
  }
}

void OutputParser::tell(OutputEvent::Kind kind, std::string_view text, OutputEvents& events) {
  if (!text.empty()) events.push_back({.kind = kind, .text = std::string(text)});
}

bool OutputParser::run_beginning(OutputEvents& /*events*/, bool is_last) {
  const std::size_t begin = skip_space(text_);
  const std::string_view rest = std::string_view(text_).substr(begin);
  if (rest.starts_with(thoughts_.open)) {
    text_.erase(0, begin + thoughts_.open.size());
    state_ = State::kReasoning;
    return true;
  }
  if (!is_last && (rest.empty() || may_become(rest, thoughts_.open))) return false;
  state_ = State::kText;
  return true;
}

bool OutputParser::run_reasoning(OutputEvents& events, bool is_last) {
  if (!has_text_) text_.erase(0, skip_space(text_));
  const std::size_t close = text_.find(thoughts_.close);
  if (close == std::string::npos) {
    std::size_t certain = is_last ? text_.size() : possible_mark(text_, thoughts_.close);
    // White space before the mark is not of the reasoning.
    const std::size_t last = text_.find_last_not_of(kWhiteSpace, certain == 0 ? 0 : certain - 1);
    certain = certain == 0 || last == std::string::npos ? 0 : std::min(certain, last + 1);
    has_text_ |= certain > 0;
    tell(OutputEvent::Kind::kReasoning, std::string_view(text_).substr(0, certain), events);
    text_.erase(0, certain);
    return false;
  }
  std::string_view thought = std::string_view(text_).substr(0, close);
  const std::size_t last = thought.find_last_not_of(kWhiteSpace);
  thought = thought.substr(0, last == std::string_view::npos ? 0 : last + 1);
  tell(OutputEvent::Kind::kReasoning, thought, events);
  text_.erase(0, close + thoughts_.close.size());
  has_text_ = false;
  // Blank lines between thoughts and answer are of neither.
  state_ = State::kText;
  space_.clear();
  skips_space_ = true;
  return true;
}

void OutputParser::tell_text(std::string_view text, OutputEvents& events) {
  if (skips_space_) text.remove_prefix(skip_space(text));
  if (text.empty()) return;
  skips_space_ = false;
  const std::size_t begin = position_of(text);
  // Where a mark that was none lay between, they are not of one piece.
  if (space_begin_ + space_.size() != begin) tell_space(events);
  if (space_.empty()) space_begin_ = begin;
  const std::size_t last = text.find_last_not_of(kWhiteSpace);
  if (last == std::string_view::npos) {
    space_ += text;
    return;
  }
  space_ += text.substr(0, last + 1);
  tell_space(events);
  space_ = text.substr(last + 1);
  space_begin_ = begin + last + 1;
}

void OutputParser::tell_space(OutputEvents& events) {
  if (space_.empty()) return;
  events.push_back(
      {.kind = OutputEvent::Kind::kText, .text = std::move(space_), .begin = space_begin_});
  space_.clear();
}

/// Of a part of text_ that is still there.
std::size_t OutputParser::position_of(std::string_view part) const {
  return received_ - text_.size() + static_cast<std::size_t>(part.data() - text_.data());
}

void OutputParser::tell_rest(OutputEvents& events) {
  // Nothing can follow that white space would have to wait for.
  if (skips_space_) text_.erase(0, skip_space(text_));
  if (text_.empty()) return;
  skips_space_ = false;
  const std::size_t begin = position_of(text_);
  events.push_back({.kind = OutputEvent::Kind::kText, .text = text_, .begin = begin});
  text_.clear();
}

/// Of calls without marks: an answer begins with them, or has none.
bool OutputParser::run_bare(OutputEvents& events, bool is_last) {
  if (may_be_bare_) {
    const std::string_view prefix = syntax_->marks().bare_prefix;
    std::size_t at = skip_space(text_);
    if (has_called_ && at < text_.size() && text_[at] == ';') at = skip_space(text_, at + 1);
    std::string_view rest = std::string_view(text_).substr(at);
    if (rest.starts_with(prefix)) {
      at = skip_space(text_, at + prefix.size());
      rest = std::string_view(text_).substr(at);
    }
    if (!is_last && (rest.empty() || may_become(rest, prefix))) return false;
    if (rest.starts_with('{')) {
      text_.erase(0, at);
      call_ = syntax_->make_reader(schemas_);
      state_ = State::kCall;
      return true;
    }
    may_be_bare_ = false;
    const std::size_t mark = text_.find(prefix);
    if (mark == skip_space(text_)) text_.erase(0, mark + prefix.size());
  }
  tell_rest(events);
  return false;
}

bool OutputParser::run_text(OutputEvents& events, bool is_last) {
  if (syntax_ == nullptr) {
    tell_rest(events);
    return false;
  }
  if (syntax_->marks().is_bare) return run_bare(events, is_last);
  const CallMarks& marks = syntax_->marks();
  const auto find = [&](std::string_view mark) {
    return mark.empty() ? std::string::npos : text_.find(mark);
  };
  // A block's first call stands behind its mark, the others bare. Models forget the mark, too.
  const std::size_t open = find(marks.block_open);
  const std::size_t bare = find(marks.call_open);
  const std::size_t at = std::min(open, bare);
  if (at == std::string::npos) {
    const std::size_t certain = is_last ? text_.size() : possible_calls(text_);
    tell_text(std::string_view(text_).substr(0, certain), events);
    text_.erase(0, certain);
    if (is_last) tell_space(events);
    return false;
  }
  tell_text(std::string_view(text_).substr(0, at), events);
  mark_ = at == open ? marks.block_open : std::string_view();
  text_.erase(0, at + mark_.size());
  call_ = syntax_->make_reader(schemas_);
  state_ = State::kCall;
  return true;
}

bool OutputParser::run_call(OutputEvents& events, bool is_last) {
  const ToolCallReader::Verdict verdict =
      is_last ? call_->finish(text_, events) : call_->read(text_, events);
  if (verdict == ToolCallReader::Verdict::kMore) return false;
  call_ = nullptr;
  state_ = State::kText;
  if (verdict == ToolCallReader::Verdict::kCut) {
    ends_in_call_ = true;
    space_.clear();
    text_.clear();
    return false;
  }
  if (verdict == ToolCallReader::Verdict::kDone) {
    // White space before a call and after it is layout.
    has_called_ = true;
    space_.clear();
    skips_space_ = true;
    return true;
  }
  // What looked like a call is text: without the mark, which would be taken for one again.
  may_be_bare_ = false;
  tell_text(std::string_view(text_).substr(0, 1), events);
  text_.erase(0, std::min<std::size_t>(1, text_.size()));
  return true;
}

}  // namespace flashmoe
