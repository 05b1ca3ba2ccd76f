#include "cli/benchmark_plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <regex>
#include <string>
#include <vector>

namespace flashmoe::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

/// Whether every element that opens is closed, in order, and text holds no bare < or &.
bool is_well_formed(const std::string& svg) {
  std::vector<std::string> open;
  for (std::size_t at = 0; at < svg.size(); ++at) {
    if (svg[at] == '&' && svg.find(';', at) > at + 5) return false;
    if (svg[at] != '<') continue;
    const std::size_t end = svg.find('>', at);
    if (end == std::string::npos) return false;
    const std::string tag = svg.substr(at + 1, end - at - 1);
    if (tag.find('<') != std::string::npos) return false;
    const std::string name = tag.substr(0, tag.find_first_of(" \n"));
    if (name.starts_with('/')) {
      if (open.empty() || open.back() != name.substr(1)) return false;
      open.pop_back();
    } else if (!tag.ends_with('/')) {
      open.push_back(name);
    }
    at = end;
  }
  return open.empty();
}

BenchReport report_of(std::vector<std::uint64_t> budgets) {
  BenchReport report = {.model_name = "a < b & \"c\"",
                        .prompt_tokens = 100,
                        .decode_tokens = 10,
                        .repeat = 2,
                        .token_source = "random ids of seed 0"};
  double seconds = 8;
  for (const std::uint64_t budget : budgets) {
    BenchRun run;
    run.prefill = {.tokens = 100, .seconds = seconds};
    run.decode = {.tokens = 10, .seconds = seconds};
    report.budgets.push_back({.budget_bytes = budget, .runs = {run, run}});
    report.budgets.back().runs.back().decode.seconds *= 1.25;
    seconds /= 2;
  }
  return report;
}

TEST(BenchPlot, DrawsALineForEachSettingThatIsCompared) {
  const auto count = [](const std::string& text, const std::string& part) {
    std::size_t n = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
      ++n;
    }
    return n;
  };
  BenchReport report = report_of({std::uint64_t{8} << 30, std::uint64_t{8} << 30});
  EXPECT_EQ(count(to_svg(report), "<polyline"), 2u);
  EXPECT_EQ(count(to_svg(report), " dashed\""), 0u);
  report.budgets[0].speculation = false;
  const std::string svg = to_svg(report);
  EXPECT_TRUE(is_well_formed(svg)) << svg;
  EXPECT_EQ(count(svg, "<polyline"), 4u);
  EXPECT_EQ(count(svg, " dashed\""), 2u);
  EXPECT_THAT(svg, HasSubstr("dashed: without"));
}

/// Of every point whether its figure stands above it, by figure.
std::multimap<std::string, bool> figures_above(const std::string& svg) {
  const std::regex point(
      R"re(cy="([\d.]+)"[^\n]*\n<text x="[\d.]+" y="([\d.]+)"[^>]*>([\d.]+)<)re");
  std::multimap<std::string, bool> result;
  for (std::sregex_iterator i(svg.begin(), svg.end(), point), end; i != end; ++i) {
    result.emplace((*i)[3], std::stod((*i)[2]) < std::stod((*i)[1]));
  }
  return result;
}

TEST(BenchPlot, PutsTheFigureOfTheHigherPointAboveAndOfTheLowerBelow) {
  BenchReport report = report_of({std::uint64_t{8} << 30, std::uint64_t{8} << 30});
  for (const bool first_speculates : {false, true}) {
    report.budgets[0].speculation = first_speculates;
    report.budgets[1].speculation = !first_speculates;
    EXPECT_THAT(figures_above(to_svg(report)),
                UnorderedElementsAre(Pair("1.12", false), Pair("2.25", true), Pair("12.5", false),
                                     Pair("25", true)));
  }
}

TEST(BenchPlot, IsWellFormed) {
  EXPECT_FALSE(is_well_formed("<a><b></a></b>"));
  const std::string svg = to_svg(report_of({std::uint64_t{12} << 30, std::uint64_t{8} << 30}));
  EXPECT_TRUE(is_well_formed(svg)) << svg;
  EXPECT_THAT(svg, HasSubstr("a &lt; b &amp; &quot;c&quot;"));
  EXPECT_THAT(svg, HasSubstr(", GiB"));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

TEST(BenchPlot, DrawsOnePointAndNoSpeed) {
  BenchReport report = report_of({40 << 20});
  EXPECT_THAT(to_svg(report), HasSubstr(", MiB"));
  for (BenchRun& run : report.budgets[0].runs) run.decode.seconds = 0;
  const std::string svg = to_svg(report);
  EXPECT_TRUE(is_well_formed(svg)) << svg;
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
}

}  // namespace
}  // namespace flashmoe::cli
