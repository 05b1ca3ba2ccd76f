#include "tokenizer/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace flashmoe {

Result<StopMatcher> StopMatcher::create(std::vector<std::string> stops) {
  StopMatcher matcher;
  for (std::string& text : stops) {
    if (text.empty()) return error(StatusCode::kInvalidArgument, "a stop string is empty");
    Stop stop{.text = std::move(text), .prefix_sizes = {0}};
    Stop scan = stop;
    for (std::size_t i = 1; i < stop.text.size(); ++i) {
      advance(scan, stop.text[i]);
      scan.prefix_sizes.push_back(scan.matched);
    }
    stop.prefix_sizes = std::move(scan.prefix_sizes);
    matcher.stops_.push_back(std::move(stop));
  }
  return matcher;
}

void StopMatcher::advance(Stop& stop, char c) {
  while (stop.matched > 0 && stop.text[stop.matched] != c) {
    stop.matched = stop.prefix_sizes[stop.matched - 1];
  }
  if (stop.text[stop.matched] == c) ++stop.matched;
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
    for (std::size_t i = 0; i < stops_.size(); ++i) {
      advance(stops_[i], c);
      const std::size_t size = stops_[i].text.size();
      if (stops_[i].matched < size) continue;
      if (!match_.has_value() || size > stops_[*match_].text.size()) match_ = i;
    }
    if (match_.has_value()) {
      release(held_.size() - stops_[*match_].text.size(), out);
      held_.clear();
      is_hidden_.clear();
      return;
    }
  }
  std::size_t kept = 0;
  for (const Stop& stop : stops_) kept = std::max(kept, stop.matched);
  release(held_.size() - kept, out);
}

void StopMatcher::finish(std::string& out) {
  release(held_.size(), out);
  for (Stop& stop : stops_) stop.matched = 0;
}

}  // namespace flashmoe
