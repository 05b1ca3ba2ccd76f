// What a model that is held to a request's form can and cannot write.
#include "server/answer_forms.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "chat/form_automaton.h"

namespace flashmoe::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

ChatRequest request_with_tools(bool is_strict = false) {
  ChatRequest request;
  Json weather = {{"name", "weather"},
                  {"parameters", Json::parse(R"({"type": "object", "properties": {
                     "city": {"type": "string", "maxLength": 6}, "days": {"type": "integer",
                     "maximum": 9}, "unit": {"$ref": "#/$defs/unit"}}, "required": ["city"],
                     "$defs": {"unit": {"enum": ["C", "F"]}}})")}};
  if (is_strict) weather["strict"] = true;
  request.tools = Json::array({{{"type", "function"}, {"function", weather}},
                               {{"type", "function"}, {"function", {{"name", "now"}}}}});
  return request;
}

/// How a text stands to a form.
enum class Is { kWhole, kBegun, kRefused };

class Held {
 public:
  Held(const ChatRequest& request, ToolSyntax syntax, Thoughts thoughts = Thoughts::kNone) {
    AnswerForms forms(syntax);
    error_ = forms.read(request, notes_);
    if (error_) return;
    is_bound_ = forms.is_bound();
    if (auto form = forms.form(thoughts)) {
      automaton_ = std::make_unique<FormAutomaton>(form, FormAutomaton::Options());
    }
  }

  Is operator()(std::string_view text) {
    const FormAutomaton::State state = automaton_->next(automaton_->start(), text);
    if (state == FormAutomaton::kDead) return Is::kRefused;
    return automaton_->can_end(state) ? Is::kWhole : Is::kBegun;
  }
  bool has_form() const { return automaton_ != nullptr; }
  bool is_bound() const { return is_bound_; }
  const std::vector<std::string>& notes() const { return notes_; }
  std::string error() const { return error_ ? error_->message : ""; }

 private:
  std::unique_ptr<FormAutomaton> automaton_;
  std::vector<std::string> notes_;
  std::optional<ApiError> error_;
  bool is_bound_ = false;
};

constexpr const char* kHermesCall =
    "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Oslo\"}}\n</tool_call>";
constexpr const char* kXmlCall =
    "<tool_call>\n<function=weather>\n<parameter=city>\nOslo\n</parameter>\n</function>\n</"
    "tool_call>";

TEST(AnswerForms, LeaveAnAnswerWithoutWishesFree) {
  EXPECT_FALSE(Held(ChatRequest(), ToolSyntax::kHermes).has_form());
  EXPECT_FALSE(Held(request_with_tools(), ToolSyntax::kNone).has_form());
  ChatRequest none = request_with_tools();
  none.tool_choice.kind = ToolChoice::Kind::kNone;
  EXPECT_FALSE(Held(none, ToolSyntax::kHermes).has_form());
}

TEST(AnswerForms, LetTheModelNameDeclaredToolsAlone) {
  Held hermes(request_with_tools(), ToolSyntax::kHermes);
  EXPECT_FALSE(hermes.is_bound());
  EXPECT_EQ(hermes("Any text, {\"name\": \"other\"} and <tool_ca"), Is::kWhole);
  EXPECT_EQ(hermes(std::string("I look. ") + kHermesCall), Is::kWhole);
  EXPECT_EQ(hermes(std::string(kHermesCall) + "\n" + kHermesCall + " and text"), Is::kWhole);
  EXPECT_EQ(hermes("<tool_call>{\"name\": \"now\", \"arguments\": {\"x\": [1]}}</tool_call>"),
            Is::kWhole);
  EXPECT_EQ(hermes("<tool_call>\n{\"name\": \"nowhere"), Is::kRefused);
  EXPECT_EQ(hermes("<tool_call>\n{\"name\": \"calculator"), Is::kRefused);
  EXPECT_EQ(hermes("<tool_call>\n"), Is::kBegun);
  Held xml(request_with_tools(), ToolSyntax::kQwenXml);
  EXPECT_EQ(xml(std::string("I look.\n\n") + kXmlCall + "\n" + kXmlCall), Is::kWhole);
  EXPECT_EQ(
      xml("<tool_call>\n<function=weather>\n<parameter=x>\n<tool_call>\n</parameter>\n</function>"),
      Is::kWhole);
  EXPECT_EQ(xml("<tool_call>\n<function=calc"), Is::kRefused);
  EXPECT_EQ(xml("<function=now>\n</function>\n</tool_call>"), Is::kWhole);
  EXPECT_EQ(xml("<function=never"), Is::kRefused);
  EXPECT_EQ(xml("<tool_call>\n<function=weather>\n<para"), Is::kBegun);
}

/// A call of `weather` in each syntax, cut where values begin and end.
struct Written {
  ToolSyntax syntax;
  std::string begin;        // to where the tool's name begins
  std::string before_city;  // from behind the name
  std::string after_city;   // to where another parameter may begin
  std::string before_days;
  std::string after_days;
  std::string end;

  std::string call(const std::string& city, const std::string& days = "") const {
    const std::string more = days.empty() ? "" : before_days + days + after_days;
    return begin + "weather" + before_city + city + after_city + more + end;
  }
};

const std::vector<Written>& all_written() {
  static const std::vector<Written> all = {
      {ToolSyntax::kGlm, "<tool_call>", "<arg_key>city</arg_key><arg_value>", "</arg_value>",
       "<arg_key>days</arg_key><arg_value>", "</arg_value>", "</tool_call>"},
      {ToolSyntax::kGlm, "<tool_call>", "\n<arg_key>city</arg_key>\n<arg_value>", "</arg_value>",
       "\n<arg_key>days</arg_key>\n<arg_value>", "</arg_value>", "\n</tool_call>"},
      {ToolSyntax::kSeed, "<seed:tool_call>\n<function=", ">\n<parameter=city>", "</parameter>\n",
       "<parameter=days>", "</parameter>\n", "</function>\n</seed:tool_call>"},
      {ToolSyntax::kMiniMax, "<minimax:tool_call>\n<invoke name=\"",
       "\">\n<parameter name=\"city\">", "</parameter>\n", "<parameter name=\"days\">",
       "</parameter>\n", "</invoke>\n</minimax:tool_call>"},
      {ToolSyntax::kDeepSeekV3, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>",
       "\n```json\n{\"city\": \"", "\"", ", \"days\": ", "",
       "}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"},
      {ToolSyntax::kDeepSeekV31, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>",
       "<｜tool▁sep｜>{\"city\": \"", "\"", ", \"days\": ", "",
       "}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"},
      {ToolSyntax::kKimi, "<|tool_calls_section_begin|><|tool_call_begin|>functions.",
       ":12<|tool_call_argument_begin|>{\"city\": \"", "\"", ", \"days\": ", "",
       "}<|tool_call_end|><|tool_calls_section_end|>"},
      {ToolSyntax::kMistral, "[TOOL_CALLS]", "[ARGS]{\"city\": \"", "\"", ", \"days\": ", "", "}"},
  };
  return all;
}

TEST(AnswerForms, HoldEverySyntaxToTheTools) {
  for (const Written& each : all_written()) {
    SCOPED_TRACE(each.begin);
    Held open(request_with_tools(), each.syntax);
    EXPECT_EQ(open("Any text"), Is::kWhole);
    EXPECT_EQ(open("I look. " + each.call("Oslo") + "\n" + each.call("Bergen", "3")), Is::kWhole);
    EXPECT_EQ(open(each.begin + "we"), Is::kBegun);
    EXPECT_EQ(open(each.begin + "weathers" + each.before_city), Is::kRefused);
    EXPECT_EQ(open(each.begin + "calculator"), Is::kRefused);
    Held strict(request_with_tools(/*is_strict=*/true), each.syntax);
    EXPECT_EQ(strict("Text. " + each.call("Oslo", "9")), Is::kWhole);
    EXPECT_EQ(strict(each.begin + "weather" + each.before_city + "Reykjavik"), Is::kRefused);
    ChatRequest request = request_with_tools();
    request.tool_choice.kind = ToolChoice::Kind::kRequired;
    Held bound(request, each.syntax);
    EXPECT_EQ(bound(each.call("Oslo")), Is::kWhole);
    EXPECT_EQ(bound(each.call("Oslo", "9")), Is::kWhole);
    EXPECT_EQ(bound("I look"), Is::kRefused);
    EXPECT_EQ(bound(each.begin + "weather" + each.before_city + "Reykjavik"), Is::kRefused);
    EXPECT_EQ(bound(each.begin + "weather" + each.before_city + "Oslo" + each.after_city +
                    each.before_days + "10"),
              Is::kRefused);
    EXPECT_EQ(bound(each.begin + "weather" + each.end), Is::kRefused);
    request.tool_choice = {ToolChoice::Kind::kRequired, {"now"}};
    EXPECT_EQ(Held(request, each.syntax)(each.begin + "w"), Is::kRefused);
    EXPECT_EQ(Held(request, each.syntax)(each.begin + "n"), Is::kBegun);
    ChatRequest either = request_with_tools();
    either.answer_schema = Json::parse(R"({"type": "boolean"})");
    EXPECT_EQ(Held(either, each.syntax)("true"), Is::kWhole);
    EXPECT_EQ(Held(either, each.syntax)(each.call("Oslo") + "\n" + each.call("x")), Is::kWhole);
    either.has_parallel_calls = false;
    EXPECT_EQ(Held(either, each.syntax)(each.call("Oslo") + "\n" + each.begin), Is::kRefused);
  }
}

TEST(AnswerForms, LeaveThoughtsFree) {
  const std::string thought = "I could <tool_call> {\"name\": \"other\"} or not.\n</think>\n\n";
  Held begun(request_with_tools(), ToolSyntax::kHermes, Thoughts::kBegun);
  EXPECT_EQ(begun(thought + kHermesCall), Is::kWhole);
  EXPECT_EQ(begun(thought + "<tool_call>\n{\"name\": \"other"), Is::kRefused);
  Held possible(request_with_tools(), ToolSyntax::kHermes, Thoughts::kPossible);
  EXPECT_EQ(possible("<think>\n" + thought + kHermesCall), Is::kWhole);
  EXPECT_EQ(possible("text"), Is::kWhole);
  ChatRequest bound;
  bound.answer_schema = Json::parse(R"({"type": "integer"})");
  EXPECT_EQ(Held(bound, ToolSyntax::kHermes, Thoughts::kBegun)("let me</think>\n\n12"), Is::kWhole);
  EXPECT_EQ(Held(bound, ToolSyntax::kHermes, Thoughts::kBegun)("let me"), Is::kBegun);
  EXPECT_EQ(Held(bound, ToolSyntax::kHermes, Thoughts::kPossible)("<think>x</think>12"),
            Is::kWhole);
  EXPECT_EQ(Held(bound, ToolSyntax::kHermes, Thoughts::kPossible)("12"), Is::kWhole);
}

TEST(AnswerForms, TakeACallOrJsonOfTheSchema) {
  ChatRequest request = request_with_tools();
  request.answer_schema = Json::parse(R"({"type": "object", "properties": {"ok": {"type":
                                          "boolean"}}, "required": ["ok"]})");
  Held hermes(request, ToolSyntax::kHermes);
  EXPECT_TRUE(hermes.is_bound());
  EXPECT_EQ(hermes("{\"ok\": true}"), Is::kWhole);
  EXPECT_EQ(hermes(kHermesCall), Is::kWhole);
  EXPECT_EQ(hermes(std::string(kHermesCall) + "\n" + kHermesCall), Is::kWhole);
  EXPECT_EQ(hermes("{\"ok\": 1"), Is::kRefused);
  EXPECT_EQ(hermes("Text"), Is::kRefused);
  EXPECT_EQ(hermes("<tool_call>\n{\"name\": \"other"), Is::kRefused);
  request.has_parallel_calls = false;
  EXPECT_EQ(Held(request, ToolSyntax::kHermes)(std::string(kHermesCall) + "\n<"), Is::kRefused);
  Held xml(request, ToolSyntax::kQwenXml);
  EXPECT_EQ(xml("{\"ok\": true}"), Is::kWhole);
  EXPECT_EQ(xml(kXmlCall), Is::kWhole);
  EXPECT_EQ(xml("<tool_call>\n<function=other"), Is::kRefused);
}

TEST(AnswerForms, HoldCallsThatMustComeToTheToolsSchema) {
  ChatRequest request = request_with_tools();
  request.tool_choice.kind = ToolChoice::Kind::kRequired;
  Held hermes(request, ToolSyntax::kHermes);
  EXPECT_EQ(hermes(kHermesCall), Is::kWhole);
  EXPECT_EQ(hermes("<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Reykjavik"),
            Is::kRefused);
  EXPECT_EQ(
      hermes("<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"x\", \"days\": 1"
             "0"),
      Is::kRefused);
  EXPECT_EQ(hermes("text"), Is::kRefused);
  Held xml(request, ToolSyntax::kQwenXml);
  EXPECT_EQ(xml(kXmlCall), Is::kWhole);
  const std::string begin =
      "<tool_call>\n<function=weather>\n<parameter=city>\nOslo\n</parameter>\n";
  EXPECT_EQ(xml(begin + "<parameter=days>\n9\n</parameter>\n<parameter=unit>\nF\n</parameter>\n"
                        "</function>\n</tool_call>"),
            Is::kWhole);
  EXPECT_EQ(xml(begin + "<parameter=days>\n10"), Is::kRefused);
  EXPECT_EQ(xml(begin + "<parameter=unit>\nK"), Is::kRefused);
  EXPECT_EQ(xml(begin + "<parameter=city>"), Is::kRefused);
  EXPECT_EQ(xml("<tool_call>\n<function=weather>\n<parameter=city>\nReykjav"), Is::kRefused);
  EXPECT_EQ(xml("<tool_call>\n<function=weather>\n</function>"), Is::kRefused);
  request.tool_choice = {ToolChoice::Kind::kRequired, {"now"}};
  EXPECT_EQ(Held(request, ToolSyntax::kHermes)("<tool_call>\n{\"name\": \"w"), Is::kRefused);
  request.tool_choice.allowed = {"never"};
  EXPECT_THAT(Held(request, ToolSyntax::kHermes).error(), HasSubstr("names no tool"));
  request.tool_choice = {ToolChoice::Kind::kAuto, {"now"}};
  EXPECT_EQ(Held(request, ToolSyntax::kHermes)("<tool_call>\n{\"name\": \"w"), Is::kRefused);
  EXPECT_EQ(Held(request, ToolSyntax::kHermes)("<tool_call>\n{\"name\": \"n"), Is::kBegun);
}

TEST(AnswerForms, HoldStrictToolsToTheirSchemaWheneverTheyAreCalled) {
  Held strict(request_with_tools(/*is_strict=*/true), ToolSyntax::kHermes);
  EXPECT_EQ(strict(std::string("Text. ") + kHermesCall), Is::kWhole);
  EXPECT_EQ(strict("<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"x"), Is::kRefused);
  Held xml(request_with_tools(/*is_strict=*/true), ToolSyntax::kQwenXml);
  EXPECT_EQ(xml(std::string("Text. ") + kXmlCall), Is::kWhole);
  EXPECT_EQ(xml("<tool_call>\n<function=weather>\n<parameter=x"), Is::kRefused);
  Held free(request_with_tools(), ToolSyntax::kHermes);
  EXPECT_EQ(free("<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"x\": 1}}</tool_call>"),
            Is::kWhole);
}

TEST(AnswerForms, SayWhatTheyDoNotHoldTo) {
  ChatRequest request;
  request.answer_schema = Json::parse(R"j({"type": "string", "pattern": "(?=x)"})j");
  EXPECT_THAT(Held(request, ToolSyntax::kNone).notes(), ElementsAre(HasSubstr("pattern")));
  request.is_schema_strict = true;
  EXPECT_THAT(Held(request, ToolSyntax::kNone).error(), HasSubstr("pattern"));
  ChatRequest tools = request_with_tools();
  tools.tools[1]["function"]["parameters"] = *request.answer_schema;
  tools.tool_choice.kind = ToolChoice::Kind::kRequired;
  EXPECT_THAT(Held(tools, ToolSyntax::kHermes).notes(), ElementsAre(HasSubstr("tool now")));
  tools.strict_tools = {"now"};
  EXPECT_THAT(Held(tools, ToolSyntax::kHermes).error(), HasSubstr("now"));
}

TEST(AnswerForms, GiveReadersOfCallsTheTypesThatPropertiesReferTo) {
  const Json types = with_types(request_with_tools().tools[0]["function"]["parameters"]);
  EXPECT_EQ(types["properties"]["unit"], Json::parse(R"({"enum": ["C", "F"]})"));
  EXPECT_EQ(with_types(Json()), Json());
}

}  // namespace
}  // namespace flashmoe::server
