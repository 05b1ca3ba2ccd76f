#include "cli/benchmark_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include "base/units.h"
#include "validation/markup.h"

namespace flashmoe::cli {
namespace {

// All in pixels of the document.
constexpr double kWidth = 720;
constexpr double kHeight = 560;
constexpr double kLeft = 76;
constexpr double kRight = 24;
constexpr double kPanelHeight = 190;
constexpr double kFirstPanel = 84;
constexpr double kSecondPanel = kFirstPanel + kPanelHeight + 44;

// Middle tones, with contrast enough against white and against black.
constexpr std::string_view kHead =
    R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img">
<title>{2}</title>
<style>
text {{ font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #7a828c; }}
.title {{ font-size: 15px; font-weight: 600; }}
.value {{ font-size: 11px; font-weight: 600; }}
.grid {{ stroke: #7a828c; stroke-opacity: 0.25; }}
.axis {{ stroke: #7a828c; }}
.line, .spread {{ fill: none; stroke-width: 2; stroke-linejoin: round; }}
.dashed {{ stroke-dasharray: 5 4; }}
.spread {{ stroke-opacity: 0.55; }}
.decode {{ stroke: #2f81d7; }} .decode-fill {{ fill: #2f81d7; }}
.prefill {{ stroke: #d0702a; }} .prefill-fill {{ fill: #d0702a; }}
</style>
)";

std::string text_at(double x, double y, std::string_view anchor, std::string_view css,
                    std::string_view text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" class=\"{}\">{}</text>\n",
                     x, y, anchor, css, escape_markup(text));
}

std::string line(double x1, double y1, double x2, double y2, std::string_view css) {
  return fmt::format(
      "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" class=\"{}\"/>\n", x1, y1, x2,
      y2, css);
}

/// A scale from 0 to `end`, with a round step between ticks.
struct Scale {
  double step = 1;
  double end = 1;
};

/// Covers `most` with at most `ticks_max` steps of 1, 2 or 5 times a power of ten.
Scale scale_for(double most, int ticks_max) {
  if (!(most > 0)) return {};
  const double power = std::pow(10, std::floor(std::log10(most / ticks_max)));
  double step = 10 * power;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power * ticks_max >= most) {
      step = factor * power;
      break;
    }
  }
  return {.step = step, .end = step * std::ceil(most / step)};
}

struct Point {
  double budget = 0;  // GiB, or MiB for a small model
  Spread speed;
};

/// What one setting gave at several budgets.
struct Line {
  std::vector<Point> points;
  bool dashed = false;
};

/// Whether a line before or after `own` is above it at `point`: the figure then stands below.
bool is_below(const Point& point, const Line& own, const std::vector<Line>& lines) {
  return std::ranges::any_of(lines, [&](const Line& line) {
    return &line != &own && std::ranges::any_of(line.points, [&](const Point& other) {
      return other.budget == point.budget &&
             (other.speed.median > point.speed.median ||
              (other.speed.median == point.speed.median && &line > &own));
    });
  });
}

/// One chart with its own vertical axis.
class Panel {
 public:
  Panel(std::string_view css, std::string_view label, double top, const Scale& budgets)
      : css_(css), label_(label), top_(top), budgets_(budgets) {}

  std::string draw(const std::vector<Line>& lines) {
    double most = 0;
    for (const Line& line : lines) {
      for (const Point& point : line.points) most = std::max(most, point.speed.max);
    }
    speeds_ = scale_for(1.1 * most, 5);
    std::string svg = text_at(kLeft, top_ - 12, "start", "", label_);
    for (double v = 0; v <= speeds_.end * 1.0001; v += speeds_.step) {
      svg += line(kLeft, y(v), kWidth - kRight, y(v), v == 0 ? "axis" : "grid");
      svg += text_at(kLeft - 8, y(v) + 4, "end", "", fmt::format("{:.6g}", v));
    }
    for (const Line& line : lines) svg += draw_line(line, lines);
    return svg;
  }

  /// Ticks of the horizontal axis, below this panel.
  std::string draw_budgets(std::string_view unit) const {
    std::string svg;
    for (double v = 0; v <= budgets_.end * 1.0001; v += budgets_.step) {
      svg += line(x(v), y(0), x(v), y(0) + 5, "axis");
      svg += text_at(x(v), y(0) + 20, "middle", "", fmt::format("{:.6g}", v));
    }
    return svg + text_at((kLeft + kWidth - kRight) / 2, y(0) + 42, "middle", "",
                         fmt::format("memory budget of the process, {}", unit));
  }

 private:
  std::string draw_line(const Line& line, const std::vector<Line>& lines) const {
    std::string path;
    for (const Point& point : line.points) {
      path += fmt::format("{:.1f},{:.1f} ", x(point.budget), y(point.speed.median));
    }
    std::string svg = fmt::format("<polyline points=\"{}\" class=\"line {}{}\"/>\n", path, css_,
                                  line.dashed ? " dashed" : "");
    for (const Point& point : line.points) svg += draw_point(point, is_below(point, line, lines));
    return svg;
  }

  std::string draw_point(const Point& point, bool figure_below) const {
    const double at = x(point.budget);
    const double low = y(point.speed.min);
    const double high = y(point.speed.max);
    const std::string css = fmt::format("spread {}", css_);
    std::string svg = line(at, low, at, high, css);
    svg += line(at - 4, low, at + 4, low, css) + line(at - 4, high, at + 4, high, css);
    svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\" class=\"{}-fill\"/>\n", at,
                       y(point.speed.median), css_);
    return svg + text_at(at, figure_below ? low + 16 : high - 8, "middle", "value",
                         fmt::format("{:.3g}", point.speed.median));
  }

  double x(double budget) const {
    return kLeft + budget / budgets_.end * (kWidth - kRight - kLeft);
  }
  double y(double speed) const { return top_ + kPanelHeight * (1 - speed / speeds_.end); }

  std::string_view css_;
  std::string_view label_;
  double top_;
  Scale budgets_;
  Scale speeds_;
};

}  // namespace

std::string to_svg(const BenchReport& report) {
  double largest = 0;
  for (const BenchBudget& budget : report.budgets) {
    largest = std::max(largest, static_cast<double>(budget.budget_bytes));
  }
  constexpr double kMib = 1 << 20;
  constexpr double kGib = 1 << 30;
  const double unit = largest < 2 * kGib ? kMib : kGib;
  const auto is_speculative = [](const BenchBudget& budget) { return budget.speculation; };
  const bool compares = std::ranges::any_of(report.budgets, is_speculative) &&
                        !std::ranges::all_of(report.budgets, is_speculative);
  const auto lines = [&](BenchPhase BenchRun::*phase) {
    Line with;
    Line without{.points = {}, .dashed = true};
    for (const BenchBudget& budget : report.budgets) {
      Line& line = compares && !budget.speculation ? without : with;
      line.points.push_back({static_cast<double>(budget.budget_bytes) / unit,
                             summarize(budget.runs, phase).tokens_per_second});
    }
    for (Line* line : {&with, &without}) std::ranges::sort(line->points, {}, &Point::budget);
    return compares ? std::vector<Line>{without, with} : std::vector<Line>{with};
  };
  const Scale budgets = scale_for(1.05 * largest / unit, 8);
  const std::string title = fmt::format("{}: tokens per second by memory", report.model_name);
  std::string svg = fmt::format(kHead, kWidth, kHeight, escape_markup(title));
  svg += text_at(kLeft, 26, "start", "title", title);
  svg += text_at(kLeft, 46, "start", "",
                 fmt::format("{}; median and spread of {}, {}; ceilings: memory {}, disk {}",
                             describe_source(report),
                             report.repeat == 1 ? "1 run" : fmt::format("{} runs", report.repeat),
                             report.cold ? "cold" : "warm",
                             format_rate(report.ceilings.memory_bytes_per_second),
                             format_rate(report.ceilings.disk_bytes_per_second)));
  const std::string_view legend = compares ? "; dashed: without speculative reads" : "";
  const std::string decode_label =
      fmt::format("decode of {} tokens, tokens/s{}", report.decode_tokens, legend);
  const std::string prefill_label =
      fmt::format("prefill of {} tokens, tokens/s{}", report.prompt_tokens, legend);
  Panel decode("decode", decode_label, kFirstPanel, budgets);
  svg += decode.draw(lines(&BenchRun::decode));
  Panel prefill("prefill", prefill_label, kSecondPanel, budgets);
  svg += prefill.draw(lines(&BenchRun::prefill));
  svg += prefill.draw_budgets(unit == kMib ? "MiB" : "GiB");
  return svg + "</svg>\n";
}

}  // namespace flashmoe::cli
