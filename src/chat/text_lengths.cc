#include "chat/text_lengths.h"

namespace flashmoe {

TextLengths TextLengths::of(std::uint32_t least, std::uint32_t most) {
  TextLengths out;
  if (least > most) return out;
  out.least_ = least;
  out.most_ = most;
  out.add_certain(least, most);
  return out;
}

TextLengths TextLengths::unknown() {
  TextLengths out;
  out.least_ = 0;
  out.most_ = kUnlimited;
  return out;
}

/// The shortest are kept: where there is a longest, it is what short ones are needed for.
void TextLengths::add_certain(std::uint32_t least, std::uint32_t most) {
  std::array<Span, kSpansMax + 1> merged;
  std::size_t count = 0;
  Span added{least, most};
  bool is_placed = false;
  const auto touches = [](const Span& x, const Span& y) {
    return x.least <= sum(y.most, 1) && y.least <= sum(x.most, 1);
  };
  for (std::uint32_t i = 0; i < span_count_; ++i) {
    if (touches(spans_[i], added)) {
      added = {std::min(spans_[i].least, added.least), std::max(spans_[i].most, added.most)};
    } else if (spans_[i].least < added.least) {
      merged[count++] = spans_[i];
    } else {
      if (!is_placed) merged[count++] = added;
      is_placed = true;
      merged[count++] = spans_[i];
    }
  }
  if (!is_placed) merged[count++] = added;
  // Of too many the last but one goes: a length without an end stays.
  if (count > kSpansMax) merged[kSpansMax - 1] = merged[kSpansMax];
  span_count_ = static_cast<std::uint32_t>(std::min(count, kSpansMax));
  std::copy_n(merged.begin(), span_count_, spans_.begin());
}

TextLengths TextLengths::either(const TextLengths& x, const TextLengths& y) {
  TextLengths out = x;
  out.least_ = std::min(x.least_, y.least_);
  out.most_ = std::max(x.most_, y.most_);
  for (std::uint32_t i = 0; i < y.span_count_; ++i) {
    out.add_certain(y.spans_[i].least, y.spans_[i].most);
  }
  return out;
}

TextLengths TextLengths::sequence(const TextLengths& x, const TextLengths& y) {
  TextLengths out;
  if (x.is_nothing() || y.is_nothing()) return out;
  out.least_ = sum(x.least_, y.least_);
  out.most_ = sum(x.most_, y.most_);
  for (std::uint32_t i = 0; i < x.span_count_; ++i) {
    for (std::uint32_t k = 0; k < y.span_count_; ++k) {
      out.add_certain(sum(x.spans_[i].least, y.spans_[k].least),
                      sum(x.spans_[i].most, y.spans_[k].most));
    }
  }
  return out;
}

TextLengths TextLengths::repeated(const TextLengths& x, std::uint32_t count_min,
                                  std::uint32_t count_max) {
  if (x.is_nothing()) return count_min == 0 ? of(0, 0) : TextLengths();
  TextLengths out;
  out.least_ = product(x.least_, count_min);
  out.most_ = product(x.most_, count_max);
  if (count_min == 0) out.add_certain(0, 0);
  const std::uint32_t first = std::max(count_min, 1u);
  for (std::uint32_t i = 0; i < x.span_count_; ++i) {
    const Span& span = x.spans_[i];
    // From some count on, the lengths of so many and of one more leave no gap.
    for (std::uint32_t k = 0; k < kSpansMax && first + k <= count_max; ++k) {
      const std::uint32_t count = first + k;
      const std::uint32_t least = product(count, span.least);
      const bool is_gapless = sum(product(count, span.most), 1) >= sum(least, span.least);
      out.add_certain(least, product(is_gapless ? count_max : count, span.most));
      if (is_gapless) break;
    }
  }
  return out;
}

TextLengths TextLengths::both(const TextLengths& x, const TextLengths& y) {
  TextLengths out;
  out.least_ = std::max(x.least_, y.least_);
  out.most_ = std::min(x.most_, y.most_);
  return out.is_nothing() ? TextLengths() : out;
}

TextLengths TextLengths::within(std::uint32_t least, std::uint32_t most) const {
  TextLengths out;
  out.least_ = std::max(least_, least);
  out.most_ = std::min(most_, most);
  if (out.is_nothing()) return TextLengths();
  for (std::uint32_t i = 0; i < span_count_; ++i) {
    const Span span{std::max(spans_[i].least, least), std::min(spans_[i].most, most)};
    if (span.least <= span.most) out.add_certain(span.least, span.most);
  }
  return out;
}

TextLengths TextLengths::uncertain() const {
  TextLengths out = *this;
  out.span_count_ = 0;
  return out;
}

}  // namespace flashmoe
