#include "chat/harmony.h"

#include <algorithm>
#include <array>
#include <optional>

#include "chat/marks.h"

namespace flashmoe {
namespace {

constexpr std::string_view kStart = "<|start|>";
constexpr std::string_view kChannel = "<|channel|>";
constexpr std::string_view kConstrain = "<|constrain|>";
constexpr std::string_view kMessage = "<|message|>";
constexpr std::string_view kEndOfMessage = "<|end|>";
constexpr std::string_view kRole = "assistant";
constexpr std::string_view kAnalysis = "analysis";
constexpr std::string_view kRecipient = "to=";

// Those that end a body. Mostly <|call|> and <|return|> end the output, and do not come.
constexpr std::array kClosings = {kEndOfMessage, std::string_view("<|call|>"),
                                  std::string_view("<|return|>")};
/// What begins the next message where a model forgets to end one.
constexpr std::array kOpenings = {kStart, kChannel};

/// What is longer is no header.
constexpr std::size_t kHeaderMax = 256;

/// The word in `header` behind the last `mark`.
std::string_view word_behind(std::string_view header, std::string_view mark) {
  const std::size_t at = header.rfind(mark);
  if (at == std::string_view::npos) return {};
  header.remove_prefix(at + mark.size());
  return header.substr(0, header.find_first_of(" \t\r\n<"));
}

enum class Likeness : std::uint8_t { kNone, kPossible, kHeader };

/// Whether `text` begins as a header does.
Likeness likeness_of_header(std::string_view text) {
  const auto skip = [&text](std::string_view part) {
    text.remove_prefix(skip_space(text));
    if (!text.starts_with(part)) return false;
    text.remove_prefix(part.size());
    return true;
  };
  // Whoever it says is speaking: behind this mark nothing else stands.
  if (skip(kStart)) return Likeness::kHeader;
  const bool has_role = skip(kRole);
  text.remove_prefix(skip_space(text));
  if (text.empty()) return Likeness::kPossible;
  // Some models begin what the prompt has begun once more.
  for (const std::string_view part : {kRecipient, kChannel, kConstrain, kMessage, kStart}) {
    if (text.starts_with(part)) return Likeness::kHeader;
    if (may_become(text, part)) return Likeness::kPossible;
  }
  const bool may_begin = !has_role && may_become(text, kRole);
  return may_begin ? Likeness::kPossible : Likeness::kNone;
}

}  // namespace

std::string_view harmony_opening(std::string_view prompt) {
  const std::size_t at = prompt.rfind(kStart);
  return at == std::string_view::npos ? kRole : prompt.substr(at + kStart.size());
}

HarmonyPlace harmony_place(std::string_view opening) {
  const std::size_t body = opening.find(kMessage);
  if (body == std::string_view::npos) return HarmonyPlace::kHeader;
  return word_behind(opening.substr(0, body), kChannel) == kAnalysis ? HarmonyPlace::kThoughts
                                                                     : HarmonyPlace::kText;
}

bool harmony_spells(std::string_view text) {
  static constexpr std::array kAll = {kStart, kChannel, kConstrain, kMessage};
  const auto has_text = [&](std::string_view mark) {
    return mark.find(text) != std::string_view::npos;
  };
  return !text.empty() &&
         (std::ranges::any_of(kAll, has_text) || std::ranges::any_of(kClosings, has_text));
}

std::vector<std::pair<std::string_view, std::string_view>> harmony_headers() {
  return {{kStart, kRole},
          {"<|channel|>analysis", kMessage},
          {"<|channel|>final", kMessage},
          {"<|channel|>commentary<", kMessage.substr(1)},
          {"<|channel|>commentary to=", "<|call|>"}};
}

HarmonyReader::HarmonyReader(std::string_view opening, const CallSyntax* calls,
                             const ToolSchemas& schemas)
    : calls_(calls), schemas_(schemas) {
  const HarmonyPlace place = harmony_place(opening);
  if (place == HarmonyPlace::kHeader) {
    head_ = opening;
    return;
  }
  state_ = State::kBody;
  if (place == HarmonyPlace::kThoughts) kind_ = OutputEvent::Kind::kReasoning;
}

void HarmonyReader::read(std::string& text, std::size_t received, OutputEvents& events) {
  run(text, received, events);
}

void HarmonyReader::finish(std::string& text, std::size_t received, bool is_cut,
                           OutputEvents& events) {
  is_last_ = true;
  is_cut_ = is_cut;
  run(text, received, events);
}

void HarmonyReader::run(std::string& text, std::size_t received, OutputEvents& events) {
  bool goes_on = true;
  while (goes_on) {
    switch (state_) {
      case State::kHeader:
        goes_on = run_header(text);
        break;
      case State::kBody:
        goes_on = run_body(text, received, events);
        break;
      case State::kCall:
        goes_on = run_call(text, events);
        break;
    }
  }
}

bool HarmonyReader::run_header(std::string& text) {
  if (text.empty()) return false;
  const std::string whole = head_ + text;
  const Likeness likeness = likeness_of_header(whole);
  const std::size_t end = whole.find(kMessage);
  if (likeness == Likeness::kHeader && end <= kHeaderMax) {
    const std::string_view header = std::string_view(whole).substr(0, end);
    std::string_view recipient = calls_ == nullptr ? "" : calls_->marks().block_open;
    recipient.remove_prefix(skip_space(recipient));
    const std::size_t call = recipient.empty() ? std::string::npos : header.find(recipient);
    head_.clear();
    if (call != std::string::npos) {
      // Between the name and the arguments stands more of the header.
      text = whole.substr(call + recipient.size());
      call_ = calls_->make_reader(schemas_);
      state_ = State::kCall;
      return true;
    }
    kind_ = word_behind(header, kChannel) == kAnalysis ? OutputEvent::Kind::kReasoning
                                                       : OutputEvent::Kind::kText;
    is_new_ = true;
    text = whole.substr(end + kMessage.size());
    state_ = State::kBody;
    return true;
  }
  const bool may_go_on = likeness != Likeness::kNone && end == std::string::npos &&
                         whole.size() < kHeaderMax + kMessage.size();
  if (may_go_on && !is_last_) return false;
  const bool is_of_call = calls_ != nullptr && whole.find(kRecipient) != std::string::npos;
  if (may_go_on && (is_cut_ || is_of_call || skip_space(text) == text.size())) {
    ends_in_call_ = is_of_call;
    text.clear();
    return false;
  }
  take_as_text(text);
  return true;
}

/// What looked like a header is text: without the mark, which would be taken for one again.
void HarmonyReader::take_as_text(std::string& text) {
  head_.clear();
  const auto drop = [&](std::string_view mark) {
    const bool is_there = text.starts_with(mark);
    if (is_there) text.erase(0, mark.size());
    return is_there;
  };
  // The end of a message that there is not.
  if (std::ranges::any_of(kClosings, drop)) return;
  std::ranges::any_of(kOpenings, drop);
  kind_ = OutputEvent::Kind::kText;
  is_new_ = false;
  state_ = State::kBody;
}

bool HarmonyReader::run_body(std::string& text, std::size_t received, OutputEvents& events) {
  std::size_t end = std::string::npos;
  std::size_t closing = 0;  // bytes of the mark there that are of no header
  std::size_t certain = text.size();
  const auto look_for = [&](std::string_view mark, std::size_t closing_size) {
    const std::size_t at = text.find(mark);
    if (at < end) {
      end = at;
      closing = closing_size;
    }
    certain = std::min(certain, possible_mark(text, mark));
  };
  for (const std::string_view mark : kClosings) look_for(mark, mark.size());
  for (const std::string_view mark : kOpenings) look_for(mark, 0);
  const std::size_t begin = received - text.size();
  if (end == std::string::npos) {
    const bool is_cut_mark = is_cut_ && text.size() - certain >= kCutMarkBytes;
    if (is_last_ && !is_cut_mark) certain = text.size();
    tell(std::string_view(text).substr(0, certain), begin, events);
    text.erase(0, is_last_ ? text.size() : certain);
    return false;
  }
  tell(std::string_view(text).substr(0, end), begin, events);
  text.erase(0, end + closing);
  state_ = State::kHeader;
  return true;
}

bool HarmonyReader::run_call(std::string& text, OutputEvents& events) {
  const ToolCallReader::Verdict verdict =
      is_last_ ? call_->finish(text, events) : call_->read(text, events);
  if (verdict == ToolCallReader::Verdict::kMore) return false;
  call_ = nullptr;
  if (verdict == ToolCallReader::Verdict::kDone) {
    state_ = State::kHeader;
    return true;
  }
  if (verdict == ToolCallReader::Verdict::kCut) {
    ends_in_call_ = true;
    text.clear();
    state_ = State::kHeader;
    return false;
  }
  // It names no function.
  text.erase(0, text.find(kMessage) + kMessage.size());
  kind_ = OutputEvent::Kind::kText;
  is_new_ = true;
  state_ = State::kBody;
  return true;
}

/// Messages of one kind are paragraphs. `begin`: where in the output the body stands.
void HarmonyReader::tell(std::string_view body, std::size_t begin, OutputEvents& events) {
  if (body.empty()) return;
  const bool is_text = kind_ == OutputEvent::Kind::kText;
  bool& has_some = is_text ? has_text_ : has_reasoning_;
  if (is_new_ && has_some) events.push_back({.kind = kind_, .text = "\n\n", .is_layout = true});
  is_new_ = false;
  has_some = true;
  events.push_back(
      {.kind = kind_, .text = std::string(body), .begin = is_text ? begin : std::size_t{0}});
}

std::vector<OutputForm::Track> harmony_answer(CallForm& form, const HarmonyAnswer& answer,
                                              HarmonyPlace place) {
  using Literal = OutputForm::Literal;
  using Track = OutputForm::Track;
  const OutputForm::Rule messages = form.add_rule();  // from behind <|start|>assistant
  const OutputForm::Reference next{messages};
  const std::string role(kRole);
  const auto header = [&](std::string_view channel) {
    return Literal{std::string(kChannel) + std::string(channel) + std::string(kMessage)};
  };
  const OutputForm::Free thought{.marks = {{.text = std::string(kEndOfMessage)}},
                                 .is_open = answer.is_open};
  const Literal opening{std::string(kStart) + role};
  std::vector<Track> texts = answer.texts;
  if (answer.has_free_text) {
    texts = {{OutputForm::Free{.marks = {{.text = std::string(kStart)}}, .is_open = true},
              Literal{role}, next}};
  }

  std::vector<Track> tracks;
  if (answer.has_thoughts) tracks.push_back({header(kAnalysis), thought, opening, next});
  if (answer.has_preambles) tracks.push_back({header("commentary"), thought, opening, next});
  if (!texts.empty()) {
    tracks.push_back({header("final"), OutputForm::Reference{form.add_rule(texts)}});
  }
  if (!answer.calls.empty()) {
    const OutputForm::Reference call{form.add_rule(answer.calls)};
    tracks.push_back({call});
    tracks.push_back({Literal{std::string(kChannel) + "commentary"}, call});
  }
  form.set_rule(messages, std::move(tracks));

  if (place == HarmonyPlace::kHeader) return {{next}};
  if (place == HarmonyPlace::kThoughts) return {{thought, opening, next}};
  // Where the text that is gone on with is not wanted, it ends.
  if (texts.empty()) return {{Literal{std::string(kEndOfMessage)}, opening, next}};
  return texts;
}

}  // namespace flashmoe
