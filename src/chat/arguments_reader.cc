#include "chat/arguments_reader.h"

#include <utility>

namespace flashmoe {

void ArgumentsReader::tell_none(OutputEvents& events) {
  tell("{}", events);
  tell_end(events, /*is_complete=*/true);
}

void ArgumentsReader::tell_end(OutputEvents& events, bool is_complete) {
  events.push_back({.kind = OutputEvent::Kind::kCallEnd, .is_complete = is_complete});
}

void ArgumentsReader::tell(std::string json, OutputEvents& events) {
  if (json.empty()) return;
  events.push_back({.kind = OutputEvent::Kind::kCallArguments, .text = std::move(json)});
}

ArgumentsReader::Verdict JsonArguments::read(std::string& text, OutputEvents& events) {
  if (text.empty()) return Verdict::kMore;
  has_begun_ = true;
  std::size_t at = 0;
  while (at < text.size() && !json_.must_end() && json_.push(text[at])) ++at;
  tell(text.substr(0, at), events);
  const bool has_stopped = at < text.size();
  text.erase(0, at);
  if (!has_stopped && !json_.must_end()) return Verdict::kMore;
  const bool is_complete = json_.can_end();
  tell_end(events, is_complete);
  return is_complete ? Verdict::kComplete : Verdict::kBroken;
}

}  // namespace flashmoe
