#include "tokenizer/jinja/marked_text.h"

#include <algorithm>

namespace flashmoe::jinja {

std::vector<MarkedText::Run> MarkedText::runs() const {
  if (!runs_.empty() || bytes_.empty()) return runs_;
  return {{.end = bytes_.size(), .origin = origin_}};
}

Origin MarkedText::least_trusted() const {
  Origin least = runs_.empty() ? origin_ : Origin::kTemplate;
  for (const Run& run : runs_) least = std::max(least, run.origin);
  return least;
}

void MarkedText::append(std::string_view bytes, Origin origin) {
  if (bytes.empty()) return;
  if (bytes_.empty()) {
    origin_ = origin;
  } else if (last_origin() != origin) {
    if (runs_.empty()) runs_.push_back({.end = bytes_.size(), .origin = origin_});
    runs_.push_back({.end = bytes_.size(), .origin = origin});
  }
  bytes_ += bytes;
  if (!runs_.empty()) runs_.back().end = bytes_.size();
}

void MarkedText::append_part(const MarkedText& whole, std::string_view part) {
  if (part.empty()) return;
  const auto begin = static_cast<std::size_t>(part.data() - whole.bytes_.data());
  whole.for_each_run(begin, begin + part.size(),
                     [&](std::size_t from, std::size_t to, Origin origin) {
                       append(std::string_view(whole.bytes_).substr(from, to - from), origin);
                     });
}

std::size_t MarkedText::run_at(std::size_t offset) const {
  const auto found =
      std::upper_bound(runs_.begin(), runs_.end(), offset,
                       [](std::size_t wanted, const Run& run) { return wanted < run.end; });
  return static_cast<std::size_t>(found - runs_.begin());
}

}  // namespace flashmoe::jinja
