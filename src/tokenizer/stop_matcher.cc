#include "tokenizer/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace flashmoe {

Result<StopMatcher> StopMatcher::create(std::vector<std::string> stops,
                                        std::vector<Passage> passages) {
  StopMatcher matcher;
  for (std::string& text : stops) {
    if (text.empty()) return error(StatusCode::kInvalidArgument, "a stop string is empty");
    matcher.stops_.push_back(sought(std::move(text)));
  }
  for (Passage& passage : passages) {
    matcher.passages_.push_back(
        {sought(std::move(passage.open)), sought(std::move(passage.close))});
  }
  return matcher;
}

StopMatcher::Sought StopMatcher::sought(std::string text) {
  Sought out{.text = std::move(text), .prefix_sizes = {0}};
  Sought scan = out;
  for (std::size_t i = 1; i < out.text.size(); ++i) {
    advance(scan, out.text[i]);
    scan.prefix_sizes.push_back(scan.matched);
  }
  out.prefix_sizes = std::move(scan.prefix_sizes);
  return out;
}

bool StopMatcher::advance(Sought& sought, char c) {
  std::size_t& matched = sought.matched;
  while (matched > 0 && (matched == sought.text.size() || sought.text[matched] != c)) {
    matched = sought.prefix_sizes[matched - 1];
  }
  if (sought.text[matched] == c) ++matched;
  return matched == sought.text.size();
}

void StopMatcher::push(std::string_view text, std::string& out) {
  push(text, /*is_hidden=*/false, out);
}

void StopMatcher::push_hidden(std::string_view text, std::string& out) {
  push(text, /*is_hidden=*/true, out);
}

void StopMatcher::release(std::size_t size, std::string& out) {
  for (std::size_t i = 0; i < size; ++i) {
    if (!is_hidden_[i]) out.push_back(held_[i]);
  }
  held_.erase(0, size);
  is_hidden_.erase(is_hidden_.begin(), is_hidden_.begin() + static_cast<std::ptrdiff_t>(size));
}

void StopMatcher::push(std::string_view text, bool is_hidden, std::string& out) {
  if (match_.has_value()) return;
  for (const char c : text) {
    held_.push_back(c);
    is_hidden_.push_back(is_hidden);
    take(c);
    // A mark that may still be completed, and that the candidate ends in, is waited for.
    const bool waits =
        candidate_ && std::any_of(passages_.begin(), passages_.end(), [&](const auto& passage) {
          return passage.open.matched > held_.size() - candidate_->end;
        });
    if (candidate_ && !waits) return end_at(*candidate_, out);
  }
  std::size_t kept = 0;
  for (const Sought& stop : stops_) kept = std::max(kept, stop.matched);
  if (candidate_) {
    kept = std::max(kept, held_.size() - candidate_->end + stops_[candidate_->stop].text.size());
  }
  const std::size_t released = held_.size() - kept;
  release(released, out);
  if (candidate_) candidate_->end -= released;
}

void StopMatcher::take(char c) {
  if (passage_) {
    if (advance(passages_[*passage_].close, c)) passage_.reset();
    return;
  }
  take_stops(c);
  for (std::size_t i = 0; i < passages_.size(); ++i) {
    if (!advance(passages_[i].open, c)) continue;
    passage_ = i;
    candidate_.reset();
    for (Sought& stop : stops_) stop.matched = 0;
    for (SoughtPassage& passage : passages_) passage.open.matched = passage.close.matched = 0;
    return;
  }
}

void StopMatcher::take_stops(char c) {
  for (std::size_t i = 0; i < stops_.size(); ++i) {
    if (!advance(stops_[i], c)) continue;
    const std::size_t size = stops_[i].text.size();
    const bool is_longer = candidate_ && candidate_->end == held_.size() &&
                           size > stops_[candidate_->stop].text.size();
    if (!candidate_ || is_longer) candidate_ = {.stop = i, .end = held_.size()};
  }
}

void StopMatcher::end_at(const Candidate& candidate, std::string& out) {
  match_ = candidate.stop;
  release(candidate.end - stops_[candidate.stop].text.size(), out);
  held_.clear();
  is_hidden_.clear();
}

void StopMatcher::finish(std::string& out) {
  if (match_) return;
  if (candidate_) return end_at(*candidate_, out);
  release(held_.size(), out);
  for (Sought& stop : stops_) stop.matched = 0;
}

}  // namespace flashmoe
