#include "tokenizer/jinja/template.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace flashmoe::jinja {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::HasSubstr;

// The rendered text, or "error: " and the message.
std::string render(std::string_view source, const Json& variables = Json::object(),
                   const RenderOptions& options = {}) {
  const auto parsed = Template::parse(source);
  if (!parsed.ok()) return "error: " + parsed.status().message();
  const auto text = parsed->render(variables, options);
  return text.ok() ? text->bytes() : "error: " + text.status().message();
}

std::string repeat(std::string_view part, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += part;
  return text;
}

// Limits that are reached quickly.
const RenderOptions kSmall = {.limits = {.step_count = 1'000'000, .memory_bytes = 32U << 20U}};

TEST(Template, SyntaxErrorsNameTheirLine) {
  EXPECT_EQ(render("a\nb\n{% if x %}\nc"),
            "error: chat template line 4: the template ends without 'endif'");
  EXPECT_EQ(render("\n{{ 1 + }}"), "error: chat template line 2: an expression expected, got '}}'");
  EXPECT_EQ(render("\n\n{{ 'a }}"),
            "error: chat template line 3: string without its closing quote");
  EXPECT_EQ(render("{# a\n"), "error: chat template line 1: comment without its end '#}'");
  EXPECT_EQ(render("{% nosuch %}"), "error: chat template line 1: unknown tag 'nosuch'");
  EXPECT_EQ(Template::parse("{{ ( }}").status().code(), StatusCode::kCorrupt);
}

TEST(Template, TagsThatLoadOtherTemplatesAreUnsupported) {
  for (const char* tag : {"include", "import", "from", "extends", "block"}) {
    const auto parsed = Template::parse("{% " + std::string(tag) + " 'x' %}");
    ASSERT_FALSE(parsed.ok());
    EXPECT_EQ(parsed.status().code(), StatusCode::kUnsupported);
    EXPECT_THAT(parsed.status().message(), HasSubstr(tag));
  }
}

TEST(Template, RenderingErrorsNameTheLineOfTheInnermostFailure) {
  const std::string source =
      "{% for m in messages %}\n{% if true %}\n{{ m.x.y }}\n{% endif %}\n{% endfor %}";
  EXPECT_EQ(render(source, {{"messages", {{{"role", "user"}}}}}),
            "error: chat template line 3: 'x' is undefined");
  EXPECT_EQ(render("{% macro f() %}\n\n{{ 1 + 'a' }}{% endmacro %}\n{{ f() }}"),
            "error: chat template line 3: '+' not supported between int and str");
}

TEST(Template, RaiseExceptionGivesItsMessage) {
  EXPECT_EQ(render("\n{{ raise_exception('roles must alternate') }}"),
            "error: chat template line 2: roles must alternate");
}

TEST(Template, UnknownFiltersAndTestsFailOnlyWhereTheyRun) {
  EXPECT_EQ(render("{% if false %}{{ 1|nosuch }}{% endif %}ok"), "ok");
  EXPECT_EQ(render("{{ 1|nosuch }}"), "error: chat template line 1: no filter named 'nosuch'");
  EXPECT_EQ(render("{{ 1 is nosuch }}"), "error: chat template line 1: no test named 'nosuch'");
}

TEST(Template, FromJsonKeepsTheOrderOfKeys) {
  EXPECT_EQ(render("{{ s|from_json|tojson }}", {{"s", R"({"b": [1, null], "a": 1.5})"}}),
            R"({"b": [1, null], "a": 1.5})");
  EXPECT_THAT(render("{{ '{'|from_json }}"), HasSubstr("not valid JSON"));
}

TEST(Template, InvalidUtf8PassesThrough) {
  const std::string bytes = "a\xFF\xC3";
  const auto parsed = Template::parse("{{ m }}|{{ m[1] }}|{{ m|length }}|{{ m|upper }}");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->render({{"m", bytes}})->bytes(), bytes + "|\xFF|3|A\xFF\xC3");
}

TEST(Template, IntegersStayExactAndOverflowIsAnError) {
  EXPECT_EQ(render("{{ n }}", {{"n", 9223372036854775807LL}}), "9223372036854775807");
  EXPECT_THAT(render("{{ n + 1 }}", {{"n", 9223372036854775807LL}}), HasSubstr("64 bits"));
  EXPECT_THAT(render("{{ -n - 2 }}", {{"n", 9223372036854775807LL}}), HasSubstr("64 bits"));
  EXPECT_THAT(render("{{ 10 ** 19 }}"), HasSubstr("64 bits"));
  EXPECT_THAT(render("{{ 99999999999999999999 }}"), HasSubstr("too large"));
  EXPECT_EQ(render("{{ (-n - 1) % -1 }}", {{"n", 9223372036854775807LL}}), "0");
  EXPECT_THAT(render("{{ (-n - 1) // -1 }}", {{"n", 9223372036854775807LL}}), HasSubstr("64 bits"));
}

TEST(Template, ClockIsInjected) {
  const Clock clock = [] {
    std::tm time{};
    time.tm_year = 99;
    time.tm_mday = 1;
    return time;
  };
  EXPECT_EQ(render("{{ strftime_now('%Y-%m-%d') }}", Json::object(), {.clock = clock}),
            "1999-01-01");
  EXPECT_EQ(render("[{{ strftime_now('') }}]", Json::object(), {.clock = clock}), "[]");
  EXPECT_THAT(render("{{ strftime_now('%c' * 1000) }}", Json::object(), {.clock = clock}),
              HasSubstr("longer than"));
}

// --- templates that mean harm: a clear error, soon, in little memory

TEST(HostileTemplate, DeepNestingOfTheSourceIsRefused) {
  for (const std::string& source :
       {"{{ " + repeat("(", 100'000) + "1" + repeat(")", 100'000) + " }}",
        "{{ " + repeat("[", 100'000) + repeat("]", 100'000) + " }}",
        "{{ " + repeat("-", 100'000) + "1 }}", "{{ " + repeat("not ", 100'000) + "1 }}",
        "{{ 1" + repeat(" + 1", 100'000) + " }}", "{{ a" + repeat(".a", 100'000) + " }}",
        "{{ a" + repeat("|trim", 100'000) + " }}", "{{ a" + repeat("()", 100'000) + " }}",
        "{{ 1 " + repeat("if 1 else 1 ", 50'000) + " }}", repeat("{% if 1 %}", 100'000),
        repeat("{% for a in b %}", 60'000),
        "{% set " + repeat("(", 100'000) + "a" + repeat(")", 100'000) + " = 1 %}"}) {
    EXPECT_THAT(render(source), HasSubstr("nested more than")) << source.substr(0, 20);
  }
}

TEST(HostileTemplate, ASourceOfManyMebibytesIsRefused) {
  EXPECT_THAT(render(std::string(3U << 20U, 'x')), HasSubstr("chat template of 3 MiB, more than"));
}

TEST(HostileTemplate, RecursionWithoutEndIsRefused) {
  EXPECT_THAT(render("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
              HasSubstr("nested more than"));
  EXPECT_THAT(render("{% macro f() %}{% call f() %}{% endcall %}{{ caller() }}{% endmacro %}"
                     "{% call f() %}{% endcall %}"),
              HasSubstr("nested more than"));
  EXPECT_THAT(render("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"),
              HasSubstr("nested more than"));
}

TEST(HostileTemplate, EndlessWorkIsRefused) {
  EXPECT_THAT(render("{{ range(10 ** 9) }}"), HasSubstr("range of more than"));
  EXPECT_THAT(render("{{ range(-9223372036854775807, 9223372036854775807) }}"),
              HasSubstr("range of more than"));
  const std::string loops =
      "{% set r = range(99999) %}{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}";
  EXPECT_THAT(render(loops, Json::object(), kSmall), HasSubstr("steps"));
  // Each call doubles the work.
  EXPECT_THAT(
      render("{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
             "{{ f(40) }}",
             Json::object(), kSmall),
      HasSubstr("steps"));
}

// What a step may cost is bounded: long strings count by their length, in searches by that of both.
TEST(HostileTemplate, FewStepsOverLongStringsAreRefused) {
  const std::string strings =
      "{% set s = 'x' * 2000000 %}{% set t = 'x' * 2000000 %}{% set d = {s: 1} %}";
  for (const char* expression :
       {"s == t", "s < t", "s in d", "d[s]", "d.get(s)", "d.pop(s, 0)", "d.setdefault(s, 0)",
        "{s: 1}", "dict([(s, 1)])", "[s]|unique(case_sensitive=true)", "s.isalpha()", "s.islower()",
        "s.startswith(t)", "s.partition('y')", "s.removeprefix('y')", "s.strip()"}) {
    const std::string source = fmt::format(
        "{}{{% for i in range(99999) %}}{{% set y = {} %}}{{% endfor %}}", strings, expression);
    EXPECT_THAT(render(source, Json::object(), kSmall), HasSubstr("steps")) << expression;
  }
  for (const char* expression :
       {"(s ~ 'y') in s ~ t", "(s ~ t).find(s ~ 'y')", "(s ~ t).count(s ~ 'y')",
        "(s ~ t).split(s ~ 'y')", "(s ~ t).partition(s ~ 'y')", "(s ~ t).replace(s ~ 'y', '')",
        "s.strip('y' * 2000000 ~ 'x')", "s|trim('y' * 2000000 ~ 'x')"}) {
    EXPECT_THAT(
        render(fmt::format("{}{{% set y = {} %}}", strings, expression), Json::object(), kSmall),
        HasSubstr("steps"))
        << expression;
  }
}

TEST(HostileTemplate, EndlessMemoryIsRefused) {
  for (const char* source : {
           "{{ 'x' * 10 ** 15 }}",
           "{{ [1] * 10 ** 15 }}",
           "{{ [[1] * 1000] * 10 ** 17 }}",
           "{{ 'x'|center(10 ** 12) }}",
           "{{ 'x'.ljust(10 ** 12) }}",
           "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(99) %}{% set ns.s = ns.s + "
           "ns.s %}{% endfor %}",
           "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% "
           "endfor %}",
           "{% set s = 'x' * 100000 %}{{ s.replace('x', s) }}",
           "{% set s = 'x' * 100000 %}{{ s|replace('', s) }}",
           "{% set s = 'x' * 100000 %}{{ s.join(s|list) }}",
           "{% set s = 'x' * 9999999 %}{% for i in range(9999) %}{{ s }}{% endfor %}",
           "{% set s = 'x' * 9999999 %}{{ s ~ s ~ s ~ s ~ s ~ s ~ s ~ s ~ s ~ s ~ s ~ s ~ s ~ s ~ "
           "s ~ s ~ s ~ s ~ s ~ s ~ s ~ s ~ s ~ s ~ s ~ s ~ s }}",
           "{{ [1]|batch(10 ** 15, 0)|list }}",
           // A list that holds the previous one twice prints as 2^60 items.
           "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% "
           "endfor %}{{ ns.l }}",
           "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% "
           "endfor %}{{ ns.l|tojson }}",
           "{% set ns = namespace(l=[1], m=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, "
           "ns.l] %}{% set ns.m = [ns.m, ns.m] %}{% endfor %}{{ ns.l == ns.m }}",
       }) {
    EXPECT_THAT(render(source, Json::object(), kSmall),
                ::testing::AnyOf(HasSubstr("memory"), HasSubstr("steps")))
        << source;
  }
}

TEST(HostileTemplate, AbsurdWidthsAreRefused) {
  EXPECT_THAT(render("{{ '%999999999d' % 1 }}"), HasSubstr("width or precision"));
  EXPECT_THAT(render("{{ '%.999999999f' % 1 }}"), HasSubstr("width or precision"));
  EXPECT_THAT(render("{{ 'a'|indent(10 ** 9) }}"), HasSubstr("indentation"));
  EXPECT_THAT(render("{{ [1]|tojson(indent=10 ** 9) }}"), HasSubstr("indentation"));
  EXPECT_THAT(render("{{ 1.5|round(10 ** 6) }}"), HasSubstr("precision"));
}

TEST(HostileTemplate, CyclicStructuresNeitherLoopNorLeak) {
  const std::string cycle = "{% set l = [] %}{% set _ = l.append(l) %}";
  EXPECT_THAT(render(cycle + "{{ l }}"), HasSubstr("nested more than"));
  EXPECT_THAT(render(cycle + "{{ l|tojson }}"), HasSubstr("nested more than"));
  EXPECT_THAT(render(cycle + "{% set m = [] %}{% set _ = m.append(m) %}{{ l == m }}"),
              HasSubstr("nested more than"));
  EXPECT_THAT(render(cycle + "{{ [l, l]|sort }}"), HasSubstr("nested more than"));
  EXPECT_EQ(render("{% set d = {} %}{% set _ = d.update(d) %}{{ d }}"), "{}");
  EXPECT_EQ(render("{% set l = [1] %}{% for x in l %}{% set _ = l.append(1) %}{% endfor %}{{ l }}"),
            "[1, 1]");
}

TEST(HostileTemplate, VariablesOfEndlessDepthAreRefused) {
  Json deep = 1;
  for (int i = 0; i < 5000; ++i) deep = Json::array({std::move(deep)});
  EXPECT_THAT(render("{{ 1 }}", {{"deep", deep}}), HasSubstr("nested more than"));
  const std::string text = repeat("[", 100'000) + repeat("]", 100'000);
  EXPECT_THAT(render("{{ s|from_json }}", {{"s", text}}), HasSubstr("nested more than"));
}

TEST(HostileTemplate, ScopesOfMacrosOutliveTheirBlocks) {
  EXPECT_EQ(render("{% set ns = namespace() %}"
                   "{% for i in [1, 2] %}{% set x = i %}{% macro f() %}{{ x }}{% endmacro %}"
                   "{% set ns.f = f %}{% endfor %}{% for i in [8, 9] %}{% set y = i %}{% endfor %}"
                   "{{ ns.f() }}"),
            "2");
  EXPECT_EQ(render("{% set ns = namespace() %}{% for i in [1] recursive %}{% set ns.l = loop %}"
                   "{{ i }}{% endfor %}{{ ns.l([5]) }}"),
            "15");
}

}  // namespace
}  // namespace flashmoe::jinja
