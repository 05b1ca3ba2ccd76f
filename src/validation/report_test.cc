#include "validation/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "validation/markup.h"

namespace flashmoe {
namespace {

using testing::HasSubstr;
using testing::Not;

ValidationReport example() {
  ValidationReport report;
  report.setting = {{"model", "a <model>"}};
  report.definitions = {"KL & others"};
  Experiment experiment{.number = 4, .title = "A switch", .question = "When?"};
  experiment.tables.push_back(
      {.title = "tokens",
       .columns = {{"token", "token"}, {"seconds", "time, s"}},
       .rows = {{.cells = {{1, "1", ""}, {0.5, "500 ms", "398"}}, .sample = 0}}});
  experiment.plots.push_back({.title = "KL",
                              .x_label = "token",
                              .y_label = "nats",
                              .series = {{"old", {{1, 0.5}, {2, 0.25}}}},
                              .marks = {{2, "last swap"}}});
  experiment.samples.push_back({"old | new", "<prompt>", "text & more"});
  report.experiments.push_back(std::move(experiment));
  report.claims = {{"0 % fallback", "refuted", "30 % at 192"}};
  report.origin_arithmetic = {.columns = {{"what", "what"}}, .rows = {{.cells = {{"a", "a", ""}}}}};
  return report;
}

TEST(Report, PageHasEverythingAndNothingFromElsewhere) {
  const std::string html = to_html(example());
  for (const char* part :
       {"a &lt;model&gt;", "KL &amp; others", "4. A switch", "500 ms", "class=\"origin\">398",
        "<polyline", "last swap", "href=\"#text-4-1\"", "id=\"text-4-1\"", "text &amp; more",
        "class=\"refuted\">refuted", "30 % at 192"}) {
    EXPECT_THAT(html, HasSubstr(part));
  }
  EXPECT_THAT(html, Not(HasSubstr("<prompt>")));
  EXPECT_THAT(html, Not(HasSubstr("src=")));
  EXPECT_THAT(html, Not(HasSubstr("http-equiv")));
}

TEST(Report, MarkdownHasTheTables) {
  const std::string text = to_markdown(example());
  EXPECT_THAT(text, HasSubstr("| token | time, s |\n|---|---|\n| 1 | 500 ms (398) |"));
  EXPECT_THAT(text, HasSubstr("| 0 % fallback | refuted | 30 % at 192 |"));
}

TEST(Report, JsonHasValuesByColumn) {
  const nlohmann::ordered_json json = to_json(example());
  const nlohmann::ordered_json& row = json["experiments"][0]["tables"][0]["rows"][0];
  EXPECT_EQ(row["token"], 1);
  EXPECT_EQ(row["seconds"], 0.5);
  EXPECT_EQ(row["seconds_origin"], "398");
  EXPECT_EQ(json["experiments"][0]["texts"][0]["text"], "text & more");
  EXPECT_EQ(json["claims"][0]["verdict"], "refuted");
}

TEST(Excerpt, ShowsBeginningMiddleAndEnd) {
  EXPECT_EQ(excerpt("short", 30), "short");
  const std::string text = std::string(50, 'a') + "春" + std::string(50, 'b');
  const std::string cut = excerpt(text, 30);
  EXPECT_THAT(cut, HasSubstr("aaaaaaaaaa\n[...]\n"));
  EXPECT_THAT(cut, HasSubstr("春"));
  EXPECT_THAT(cut, HasSubstr("\n[...]\nbbbbbbbbbb"));
}

TEST(EscapeMarkup, LeavesNoControls) {
  EXPECT_EQ(escape_markup("a\x01<b>\"&\n"), "a\xef\xbf\xbd&lt;b&gt;&quot;&amp;\n");
}

TEST(Plot, OfAFlatLineOrOnePointIsDrawn) {
  for (const auto& points : {std::vector<std::pair<double, double>>{{1, 0}, {2, 0}},
                             std::vector<std::pair<double, double>>{{3, 7}}}) {
    const std::string svg = to_svg({.title = "t", .series = {{"s", points}}});
    EXPECT_THAT(svg, HasSubstr("<polyline"));
    EXPECT_THAT(svg, Not(HasSubstr("nan")));
    EXPECT_THAT(svg, Not(HasSubstr("inf")));
  }
}

}  // namespace
}  // namespace flashmoe
