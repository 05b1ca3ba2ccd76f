#include "tokenizer/jinja/marked_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>
#include <map>
#include <string>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/template.h"

namespace flashmoe::jinja {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::ElementsAre;
using TextRun = MarkedText::Run;

TEST(MarkedText, JoinsStretchesOfOneOrigin) {
  MarkedText text("ab", Origin::kOutside);
  text.append("c", Origin::kOutside);
  EXPECT_THAT(text.runs(), ElementsAre(TextRun{3, Origin::kOutside}));
  text.append("", Origin::kTemplate);
  text.append("d", Origin::kReply);
  text.append_joint(", ");
  text.append("e", Origin::kTemplate);
  EXPECT_EQ(text.bytes(), "abcd, e");
  EXPECT_THAT(text.runs(), ElementsAre(TextRun{3, Origin::kOutside}, TextRun{6, Origin::kReply},
                                       TextRun{7, Origin::kTemplate}));
  EXPECT_EQ(text.least_trusted(), Origin::kOutside);
  EXPECT_TRUE(MarkedText().runs().empty());
}

TEST(MarkedText, PartsKeepTheirOrigins) {
  MarkedText whole("ab", Origin::kOutside);
  whole.append("cd", Origin::kTemplate);
  whole.append("ef", Origin::kReply);
  const std::string_view bytes = whole.bytes();
  MarkedText part;
  part.append_part(whole, bytes.substr(1, 4));
  part.append_part(whole, bytes.substr(2, 2));
  part.append_part(whole, bytes.substr(6));
  EXPECT_EQ(part.bytes(), "bcdecd");
  EXPECT_THAT(part.runs(), ElementsAre(TextRun{1, Origin::kOutside}, TextRun{3, Origin::kTemplate},
                                       TextRun{4, Origin::kReply}, TextRun{6, Origin::kTemplate}));
}

// Letters q, w and z come from outside, in any case; a and b are the template's.
const Json& outside() {
  static const Json kVariables = {{"s", "qw z<>q"},
                                  {"n", " qqwz\nwz "},
                                  {"j", R"({"q": ["w", 1]})"},
                                  {"l", {"q", "w", "z"}},
                                  {"m", {{{"q", "w"}}, {{"q", "z"}}}},
                                  {"d", {{"q", "w"}, {"z", {1, "qw"}}}}};
  return kVariables;
}

// What `expression` prints, or an error; fails where a letter has another origin than its own.
std::string print_checked(const std::string& expression) {
  const auto parsed = Template::parse("ab{{ " + expression + " }}ba");
  if (!parsed.ok()) return "error: " + parsed.status().message();
  RenderOptions options;
  for (const auto& variable : outside().items()) {
    options.origins.emplace(&variable.value(), Origin::kOutside);
  }
  const auto text = parsed->render(outside(), options);
  if (!text.ok()) return "error: " + text.status().message();
  text->for_each_run(0, text->size(), [&](std::size_t begin, std::size_t end, Origin origin) {
    for (std::size_t i = begin; i < end; ++i) {
      const auto c = static_cast<unsigned char>(text->bytes()[i]);
      const char letter = static_cast<char>(std::tolower(c));
      const bool is_outside = letter == 'q' || letter == 'w' || letter == 'z';
      const bool is_own = letter == 'a' || letter == 'b';
      if (is_outside || is_own) {
        EXPECT_EQ(origin, is_own ? Origin::kTemplate : Origin::kOutside)
            << expression << ": " << text->bytes() << " at " << i;
      }
    }
  });
  return text->bytes();
}

struct Sample {
  const char* expression;
  const char* printed;
};

// An example of each, by name, so that none can be forgotten. An empty one prints no text of its
// operand.
const std::map<std::string_view, Sample> kFilters = {
    {"abs", {"", ""}},
    {"batch", {"l|batch(2)", "[['q', 'w'], ['z']]"}},
    {"capitalize", {"('q' ~ s ~ 'AB')|replace('q', '')|capitalize", "W z<>ab"}},
    {"center", {"('a' ~ l[0])|center(5)", "  aq "}},
    {"count", {"", ""}},
    {"d", {"nothing|d(s)", "qw z<>q"}},
    {"default", {"nothing|default('a')", "a"}},
    {"dictsort", {"(d|dictsort)[0]", "('q', 'w')"}},
    {"e", {"('a<' ~ s)|e", "a&lt;qw z&lt;&gt;q"}},
    {"escape", {"s|escape", "qw z&lt;&gt;q"}},
    {"first", {"s|first ~ l|first", "qq"}},
    {"float", {"", ""}},
    {"format", {"'a%sb%(q)5.1s'|replace('%(q)', '%')|format(s, n)", "aqw z<>qb     "}},
    {"from_json", {"j|from_json", "{'q': ['w', 1]}"}},
    {"indent", {"('a' ~ n)|indent(2, true)", "  a qqwz\n  wz "}},
    {"int", {"", ""}},
    {"items", {"d|items|list", "[('q', 'w'), ('z', [1, 'qw'])]"}},
    {"join", {"l|join('a')", "qawaz"}},
    {"last", {"s|last", "q"}},
    {"length", {"", ""}},
    {"list", {"s[:2]|list", "['q', 'w']"}},
    {"lower", {"('A' ~ s|upper)|lower", "aqw z<>q"}},
    {"map", {"m|map(attribute='q')|join('b')", "wbz"}},
    {"max", {"l|max", "z"}},
    {"min", {"l|min", "q"}},
    {"reject", {"l|reject('equalto', 'w')|list", "['q', 'z']"}},
    {"rejectattr", {"m|rejectattr('q', 'equalto', 'w')|list", "[{'q': 'z'}]"}},
    {"replace", {"s|replace('w', 'a')|replace('z', l[1])", "qa w<>q"}},
    {"reverse", {"('ab' ~ s)|reverse", "q><z wqba"}},
    {"round", {"", ""}},
    {"safe", {"s|safe", "qw z<>q"}},
    {"select", {"l|select('in', ['q'])|list", "['q']"}},
    {"selectattr", {"m|selectattr('q')|list", "[{'q': 'w'}, {'q': 'z'}]"}},
    {"sort", {"l|sort(reverse=true)|join", "zwq"}},
    {"string", {"(['a'] + l)|string", "['a', 'q', 'w', 'z']"}},
    {"sum", {"[['a'], l]|sum(start=[])", "['a', 'q', 'w', 'z']"}},
    {"title", {"('ab' ~ s)|title", "Abqw Z<>q"}},
    {"tojson", {"{'a': d, l[0]: 'b'}|tojson", R"({"a": {"q": "w", "z": [1, "qw"]}, "q": "b"})"}},
    {"trim", {"(' ' ~ n ~ 'a ')|trim", "qqwz\nwz a"}},
    {"unique", {"(l + l)|unique|join('b')", "qbwbz"}},
    {"upper", {"('a' ~ s)|upper", "AQW Z<>Q"}},
    {"wordcount", {"", ""}},
};

const std::map<std::string_view, Sample> kTextMethods = {
    {"capitalize", {"(s ~ 'AB').capitalize()", "Qw z<>qab"}},
    {"center", {"l[0].center(3, 'a')", "aqa"}},
    {"count", {"", ""}},
    {"endswith", {"", ""}},
    {"find", {"", ""}},
    {"format", {"'{a}{{{}'.format(s, a=l[0])", "q{qw z<>q"}},
    {"index", {"", ""}},
    {"isalnum", {"", ""}},
    {"isalpha", {"", ""}},
    {"isdecimal", {"", ""}},
    {"isdigit", {"", ""}},
    {"islower", {"", ""}},
    {"isnumeric", {"", ""}},
    {"isspace", {"", ""}},
    {"isupper", {"", ""}},
    {"join", {"l[1].join(['a', l[0], 'b'])", "awqwb"}},
    {"ljust", {"'a'.ljust(3, l[0])", "aqq"}},
    {"lower", {"('A' ~ s.upper()).lower()", "aqw z<>q"}},
    {"lstrip", {"(' a' ~ n).lstrip(' a')", "qqwz\nwz "}},
    {"partition", {"('b' ~ s).partition(' ')", "('bqw', ' ', 'z<>q')"}},
    {"removeprefix", {"('b' ~ s).removeprefix('bq')", "w z<>q"}},
    {"removesuffix", {"(s ~ 'b').removesuffix('qb')", "qw z<>"}},
    {"replace", {"('b' ~ s).replace('w', 'a')", "bqa z<>q"}},
    {"rfind", {"", ""}},
    {"rindex", {"", ""}},
    {"rjust", {"s[:1].rjust(3, 'a')", "aaq"}},
    {"rpartition", {"s.rpartition('w')[2]", " z<>q"}},
    {"rsplit", {"('a ' ~ s).rsplit(' ', 1)", "['a qw', 'z<>q']"}},
    {"rstrip", {"(n ~ 'b').rstrip('b ')", " qqwz\nwz"}},
    {"split", {"(s ~ ' ab').split()", "['qw', 'z<>q', 'ab']"}},
    {"splitlines", {"('a' ~ n).splitlines(true)", "['a qqwz\\n', 'wz ']"}},
    {"startswith", {"", ""}},
    {"strip", {"n.strip()", "qqwz\nwz"}},
    {"title", {"(s ~ ' ab').title()", "Qw Z<>Q Ab"}},
    {"upper", {"('a' ~ s).upper()", "AQW Z<>Q"}},
};

void check_all(const BuiltinTable& table, const std::map<std::string_view, Sample>& samples) {
  for (const auto& [name, builtin] : table) {
    const auto sample = samples.find(name);
    ASSERT_NE(sample, samples.end()) << "no example of " << name;
    if (*sample->second.expression == '\0') continue;
    EXPECT_EQ(print_checked(sample->second.expression),
              "ab" + std::string(sample->second.printed) + "ba")
        << name;
  }
}

TEST(Marks, GoThroughEveryFilterAndMethod) {
  for (const BuiltinTable* table :
       {&text_filters(), &sequence_filters(), &selection_filters(), &number_filters()}) {
    check_all(*table, kFilters);
  }
  check_all(text_methods(), kTextMethods);
}

TEST(Marks, GoThroughOperatorsAndStatements) {
  for (const auto& [expression, printed] : std::initializer_list<Sample>{
           {"'a' + s + 'b' ~ s[1:4] ~ 1", "aqw z<>qbw z1"},
           {"('a' ~ l[0]) * 3", "aqaqaq"},
           {"('a' ~ s)[::-2]", "q< q"},
           {"s[0] ~ ('a' ~ s)[-1]", "qq"},
           {"'%s|%-4s|%r|%c|%%' % (s, l[0], 'a', l[1])", "qw z<>q|q   |'a'|w|%"},
           {"('%s' ~ l[0]) % 'a'", "aq"},
           {"dict(**{l[0]: 'a'})", "{'q': 'a'}"},
           {"dict([(l[0], 'b')], a=l[1])", "{'q': 'b', 'a': 'w'}"},
           {"d.keys()|list ~ d.pop('q') ~ d.get('x', l[2])", "['q', 'z']wz"},
           {"[l[0], 'a', none, 1.5, true]", "['q', 'a', None, 1.5, True]"},
           {"cycler(l[0], 'a').next() ~ joiner(l[1])()", "q"},
           {"'x' if false else s", "qw z<>q"},
       }) {
    EXPECT_EQ(print_checked(expression), "ab" + std::string(printed) + "ba") << expression;
  }
  for (const auto& [statements, printed] : std::initializer_list<Sample>{
           {"1 }}{% for c in s %}{{ c }}a{% endfor %}{{ 1", "1qawa aza<a>aqa1"},
           {"1 }}{% set x %}a{{ s }}{% endset %}{{ x|upper", "1AQW Z<>Q"},
           {"1 }}{% filter upper %}a{{ l[0] }}{% endfilter %}{{ 1", "1AQ1"},
           {"1 }}{% macro f() %}a{{ kwargs }}{% endmacro %}{{ f(**m[0])", "1a{'q': 'w'}"},
           {"1 }}{% macro f(t) %}{{ t }}{{ caller() }}{% endmacro %}{% call f(s) %}a{% endcall %}"
            "{{ 1",
            "1qw z<>qa1"},
           {"1 }}{% set ns = namespace(t='') %}{% for c in l %}{% set ns.t = ns.t + c + 'a' %}"
            "{% endfor %}{{ ns.t",
            "1qawaza"},
       }) {
    EXPECT_EQ(print_checked(statements), "ab" + std::string(printed) + "ba") << statements;
  }
}

TEST(Marks, TojsonIsOneStretchHoweverManyStringsItHolds) {
  const auto parsed = Template::parse("a{{ l|tojson }}b");
  const auto text = parsed->render(outside(), {.origins = {{&outside()["l"], Origin::kOutside}}});
  EXPECT_EQ(text->bytes(), R"(a["q", "w", "z"]b)");
  EXPECT_THAT(text->runs(),
              ElementsAre(TextRun{3, Origin::kTemplate}, TextRun{16, Origin::kOutside},
                          TextRun{17, Origin::kTemplate}));
}

}  // namespace
}  // namespace flashmoe::jinja
