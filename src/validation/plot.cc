#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "validation/markup.h"
#include "validation/report.h"

namespace flashmoe {
namespace {

// All in pixels of the drawing.
constexpr double kWidth = 640;
constexpr double kHeight = 300;
constexpr double kLeft = 64;
constexpr double kRight = 16;
constexpr double kTop = 24;
constexpr double kBottom = 78;  // axis, its label, the legend

// Middle tones, with contrast enough against white and against black.
constexpr std::array<std::string_view, 6> kColours = {"#2f81d7", "#d0702a", "#3a9d5d",
                                                      "#a35bc4", "#c0455b", "#7a828c"};

struct Range {
  double low = 0;
  double high = 1;
};

/// A step of 1, 2 or 5 times a power of ten that cuts `span` into some five parts.
double nice_step(double span) {
  const double raw = span / 5;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  const double part = raw / power;
  return power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
}

Range range_of(const Plot& plot, bool x) {
  bool is_first = true;
  Range range;
  for (const Series& series : plot.series) {
    for (const auto& point : series.points) {
      const double value = x ? point.first : point.second;
      range.low = is_first ? value : std::min(range.low, value);
      range.high = is_first ? value : std::max(range.high, value);
      is_first = false;
    }
  }
  if (!x) range.low = std::min(0.0, range.low);  // heights are compared
  if (range.high <= range.low) range.high = range.low + 1;
  return range;
}

class Drawing {
 public:
  explicit Drawing(const Plot& plot)
      : plot_(plot), x_(range_of(plot, true)), y_(range_of(plot, false)) {
    y_.high = std::ceil(y_.high / nice_step(y_.high - y_.low)) * nice_step(y_.high - y_.low);
  }

  std::string draw() {
    svg_ = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" role=\"img\" "
        "aria-label=\"{}\">\n",
        kWidth, kHeight, escape_markup(plot_.title));
    axes();
    marks();
    for (std::size_t i = 0; i < plot_.series.size(); ++i) line(plot_.series[i], i);
    return svg_ + "</svg>\n";
  }

 private:
  double px(double x) const {
    return kLeft + (x - x_.low) / (x_.high - x_.low) * (kWidth - kLeft - kRight);
  }
  double py(double y) const {
    return kHeight - kBottom - (y - y_.low) / (y_.high - y_.low) * (kHeight - kTop - kBottom);
  }

  void text(double x, double y, std::string_view anchor, std::string_view content) {
    svg_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", x, y,
                        anchor, escape_markup(content));
  }

  void axes() {
    const double y_step = nice_step(y_.high - y_.low);
    for (double y = y_.low; y <= y_.high + y_step / 100; y += y_step) {
      svg_ +=
          fmt::format("<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>\n",
                      kLeft, kWidth - kRight, py(y), py(y));
      text(kLeft - 8, py(y) + 4, "end", fmt::format("{:.4g}", y));
    }
    const double x_step = nice_step(x_.high - x_.low);
    for (double x = std::ceil(x_.low / x_step) * x_step; x <= x_.high + x_step / 100; x += x_step) {
      text(px(x), kHeight - kBottom + 18, "middle", fmt::format("{:.4g}", x));
    }
    text((kLeft + kWidth - kRight) / 2, kHeight - kBottom + 36, "middle", plot_.x_label);
    text(kLeft - 52, kTop - 10, "start", plot_.y_label);
  }

  void marks() {
    double y = kTop + 4;
    for (const Mark& mark : plot_.marks) {
      if (mark.x < x_.low || mark.x > x_.high) continue;
      svg_ += fmt::format(
          "<line class=\"mark\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"/>\n",
          px(mark.x), kTop - 6, kHeight - kBottom);
      const bool is_right = px(mark.x) > kWidth * 0.7;
      text(px(mark.x) + (is_right ? -5 : 5), y, is_right ? "end" : "start", mark.label);
      y += 15;
    }
  }

  void line(const Series& series, std::size_t index) {
    const std::string_view colour = kColours[index % kColours.size()];
    std::string points;
    for (const auto& [x, y] : series.points) points += fmt::format("{:.1f},{:.1f} ", px(x), py(y));
    svg_ +=
        fmt::format("<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"2\" points=\"{}\"/>\n",
                    colour, points);
    if (series.points.size() <= 40) {
      for (const auto& [x, y] : series.points) {
        svg_ += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\"/>\n", px(x),
                            py(y), colour);
      }
    }
    const double x = kLeft + 150 * static_cast<double>(index % 4);
    const double y = kHeight - 22 + 16 * static_cast<double>(index / 4);
    svg_ += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"14\" height=\"4\" fill=\"{}\"/>\n", x,
                        y - 6, colour);
    text(x + 20, y, "start", series.name);
  }

  const Plot& plot_;
  Range x_;
  Range y_;
  std::string svg_;
};

}  // namespace

std::string to_svg(const Plot& plot) { return Drawing(plot).draw(); }

}  // namespace flashmoe
