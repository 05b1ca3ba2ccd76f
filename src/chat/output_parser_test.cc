#include "chat/output_parser.h"

#include <gtest/gtest.h>

#include <vector>

namespace flashmoe {
namespace {

using Kind = OutputEvent::Kind;

const ToolSchemas& schemas() {
  static const ToolSchemas tools = {
      {"edit", nlohmann::ordered_json::parse(R"({"type": "object", "properties": {
         "path": {"type": "string"}, "text": {"type": "string"}, "line": {"type": "integer"},
         "flags": {"type": "array"}, "force": {"type": "boolean"}}})")},
      {"now", nlohmann::ordered_json::object()}};
  return tools;
}

/// Events as one text: reasoning as (..), calls as name[arguments] with ! if they broke off.
std::string shown(const OutputEvents& events) {
  std::string text;
  std::string thought;
  const auto flush = [&] {
    if (!thought.empty()) text += "(" + thought + ")";
    thought.clear();
  };
  for (const OutputEvent& event : events) {
    if (event.kind != Kind::kReasoning) flush();
    switch (event.kind) {
      case Kind::kText:
      case Kind::kCallArguments:
        text += event.text;
        break;
      case Kind::kReasoning:
        thought += event.text;
        break;
      case Kind::kCallBegin:
        text += event.text + "[";
        break;
      case Kind::kCallEnd:
        text += event.is_complete ? "]" : "!]";
        break;
    }
  }
  flush();
  return text;
}

/// Texts say where in the output they stand.
void expect_places(const OutputEvents& events, const std::string& output) {
  std::size_t end = 0;
  for (const OutputEvent& event : events) {
    if (event.kind != Kind::kText || event.is_layout) continue;
    EXPECT_GE(event.begin, end) << output;
    end = event.begin + event.text.size();
    ASSERT_LE(end, output.size()) << output;
    EXPECT_EQ(output.substr(event.begin, event.text.size()), event.text) << output;
  }
}

/// The end of the character at `at`, if that is within one: the parser is given whole ones.
std::size_t character_end(const std::string& text, std::size_t at) {
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) ++at;
  return at;
}

/// Parsed at once, and cut in all ways that two places allow, which must not matter.
std::string parsed(const OutputParser::Options& options, const std::string& output) {
  const auto parse = [&](std::size_t a, std::size_t b) {
    OutputParser parser(options, schemas());
    OutputEvents events;
    parser.push(output.substr(0, a), events);
    parser.push(output.substr(a, b - a), events);
    parser.push(output.substr(b), events);
    parser.finish(events);
    expect_places(events, output);
    return shown(events);
  };
  const std::string whole = parse(output.size(), output.size());
  for (std::size_t a = 0; a <= output.size(); a = character_end(output, a + 1)) {
    const std::size_t b = character_end(output, std::min(output.size(), a + 1 + a % 7));
    EXPECT_EQ(parse(a, b), whole) << "cut at " << a << " and " << b << " of " << output;
  }
  OutputParser parser(options, schemas());
  OutputEvents events;
  for (std::size_t at = 0; at < output.size();) {
    const std::size_t end = character_end(output, at + 1);
    parser.push(std::string_view(output).substr(at, end - at), events);
    at = end;
  }
  parser.finish(events);
  expect_places(events, output);
  EXPECT_EQ(shown(events), whole) << "one by one: " << output;
  return whole;
}
std::string parsed(ToolSyntax syntax, const std::string& output, bool begins_in_reasoning = false) {
  return parsed({.tools = syntax, .begins_in_reasoning = begins_in_reasoning}, output);
}

std::string hermes(const std::string& output) { return parsed(ToolSyntax::kHermes, output); }
std::string minimax(const std::string& output) { return parsed(ToolSyntax::kMiniMax, output); }
std::string glm(const std::string& output) { return parsed(ToolSyntax::kGlm, output); }
std::string qwen(const std::string& output) { return parsed(ToolSyntax::kQwenXml, output); }

TEST(OutputParser, LeavesTextAsItIs) {
  EXPECT_EQ(hermes("Hello, <b>world</b> <tool \n"), "Hello, <b>world</b> <tool \n");
  EXPECT_EQ(parsed(ToolSyntax::kNone, "a <tool_call>{}</tool_call> "),
            "a <tool_call>{}</tool_call> ");
  EXPECT_EQ(hermes(""), "");
}

TEST(OutputParser, TakesNothingApartThatIsPlain) {
  OutputParser parser({.is_plain = true}, schemas());
  OutputEvents events;
  parser.push("\n<think>", events);
  parser.push("a</think>\n\nb ", events);
  parser.finish(events);
  EXPECT_EQ(shown(events), "\n<think>a</think>\n\nb ");
}

TEST(OutputParser, SplitsReasoningFromTheAnswer) {
  EXPECT_EQ(hermes("<think>\nWell.\n\nYes.\n</think>\n\nNo."), "(Well.\n\nYes.)No.");
  EXPECT_EQ(parsed(ToolSyntax::kHermes, "\nWell.\n</think>\n\nNo. ", true), "(Well.)No. ");
  EXPECT_EQ(parsed(ToolSyntax::kNone, "Well.\n</think>\n\nNo.\n", true), "(Well.)No.\n");
  EXPECT_EQ(parsed(ToolSyntax::kNone, "Well, I am cut", true), "(Well, I am cut)");
  EXPECT_EQ(hermes("a <think> b"), "a <think> b");
  EXPECT_EQ(hermes("<think>\n\n</think>\n\nYes"), "Yes");
}

TEST(HermesCalls, AreToldAsTheyWereWritten) {
  EXPECT_EQ(hermes("Let me see.\n<tool_call>\n{\"name\": \"edit\", \"arguments\": {\"path\":  "
                   "\"a}\\\"b\", \"line\": 3}}\n</tool_call>"),
            "Let me see.edit[{\"path\":  \"a}\\\"b\", \"line\": 3}]");
  EXPECT_EQ(hermes("<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>\n<tool_call>"
                   "{\"name\": \"now\", \"arguments\": {\"a\": [1, {}]}}</tool_call>\n"),
            "now[{}]now[{\"a\": [1, {}]}]");
}

TEST(HermesCalls, MayComeInAnyOrder) {
  EXPECT_EQ(
      hermes("<tool_call>{\"arguments\": {\"a\": 1}, \"id\": 7, \"name\": \"now\"}</tool_call>"),
      "now[{\"a\": 1}]");
  EXPECT_EQ(hermes("<tool_call>{\"name\": \"now\"}</tool_call>"), "now[{}]");
  EXPECT_EQ(
      hermes("<tool_call>{\"name\": \"now\", \"parameters\": \"{\\\"a\\\": 1}\"}</tool_call>"),
      "now[{\"a\": 1}]");
}

TEST(HermesCalls, KeepArgumentsThatAreNoObjectAsJson) {
  EXPECT_EQ(hermes("<tool_call>{\"name\": \"now\", \"arguments\": \"x\"}</tool_call>"),
            "now[\"x\"]");
  EXPECT_EQ(hermes("<tool_call>{\"name\": \"now\", \"arguments\": null}</tool_call>"), "now[{}]");
  EXPECT_EQ(hermes("<tool_call>{\"name\": \"now\", \"arguments\": [1]}</tool_call>"), "now[[1]]");
}

TEST(HermesCalls, TakeTheFirstOfMembersThatComeTwice) {
  EXPECT_EQ(hermes("<tool_call>{\"name\": \"now\", \"arguments\": {\"a\": 1}, \"name\": \"edit\", "
                   "\"parameters\": {\"b\": 22222}}</tool_call>"),
            "now[{\"a\": 1}]");
}

TEST(HermesCalls, ThatBreakOffOrGoWrongSaySo) {
  EXPECT_EQ(hermes("<tool_call>{\"name\": \"edit\", \"arguments\": {\"path\": \"a"),
            "edit[{\"path\": \"a!]");
  EXPECT_EQ(hermes("<tool_call>{\"name\": \"edit\", \"arguments\": {\"path\": oh}}</tool_call> x"),
            "edit[{\"path\": !]x");
  EXPECT_EQ(hermes("<tool_call>{\"name\": \"edit\", \"arguments\": {}}"), "edit[{}]");
  // The mark within the string is of the string.
  EXPECT_EQ(hermes("<tool_call>{\"name\": \"edit\", \"arguments\": {\"a</tool_call>\x02 x"),
            "edit[{\"a</tool_call>!]");
}

TEST(HermesCalls, ThatAreNoneAreText) {
  EXPECT_EQ(hermes("Say <tool_call> to call."), "Say  to call.");
  EXPECT_EQ(hermes("<tool_call>{\"x\": 1} and more"), "{\"x\": 1} and more");
}

/// What a cut output tells, and whether it is one that ends in a call.
std::pair<std::string, bool> cut(const OutputParser::Options& options, const std::string& output) {
  OutputParser parser(options, schemas());
  OutputEvents events;
  parser.push(output, events);
  parser.finish(events, /*is_cut=*/true);
  return {shown(events), parser.ends_in_call()};
}
std::pair<std::string, bool> cut(ToolSyntax syntax, const std::string& output) {
  return cut({.tools = syntax}, output);
}

TEST(CutCalls, NeverShowTheirMarkup) {
  const std::string hermes_call =
      "<tool_call>\n{\"name\": \"edit\", \"arguments\": {\"path\": \"a\"}}\n</tool_call>";
  const std::string qwen_call =
      "<tool_call>\n<function=edit>\n<parameter=path>\na\n</parameter>\n</function>\n</tool_call>";
  const std::string minimax_call =
      "<minimax:tool_call>\n<invoke name=\"edit\">\n<parameter name=\"path\">a</parameter>\n"
      "</invoke>\n</minimax:tool_call>";
  const std::string deepseek3_call =
      "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>edit\n```json\n{\"path\": "
      "\"a\"}\n"
      "```<｜tool▁call▁end｜><｜tool▁calls▁end｜>";
  const std::string deepseek31_call =
      "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>edit<｜tool▁sep｜>{\"path\": \"a\"}"
      "<｜tool▁call▁end｜><｜tool▁calls▁end｜>";
  const std::string kimi_call =
      "<|tool_calls_section_begin|><|tool_call_begin|>functions.edit:0<|tool_call_argument_begin|>"
      "{\"path\": \"a\"}<|tool_call_end|><|tool_calls_section_end|>";
  const std::string mistral_call = "[TOOL_CALLS]edit[ARGS]{\"path\": \"a\"}";
  const std::string seed_call =
      "<seed:tool_call>\n<function=edit>\n<parameter=path>a</parameter>\n</function>\n"
      "</seed:tool_call>";
  const std::string glm_call =
      "<tool_call>edit\n<arg_key>path</arg_key>\n<arg_value>a</arg_value>\n</tool_call>";
  const std::string gemma_call = "<|tool_call>call:edit{path:<|\"|>a<|\"|>}<tool_call|>";
  for (const auto& [syntax, call] :
       {std::pair(ToolSyntax::kGemma, gemma_call), std::pair(ToolSyntax::kHermes, hermes_call),
        std::pair(ToolSyntax::kQwenXml, qwen_call), std::pair(ToolSyntax::kGlm, glm_call),
        std::pair(ToolSyntax::kMiniMax, minimax_call), std::pair(ToolSyntax::kSeed, seed_call),
        std::pair(ToolSyntax::kDeepSeekV3, deepseek3_call),
        std::pair(ToolSyntax::kDeepSeekV31, deepseek31_call),
        std::pair(ToolSyntax::kKimi, kimi_call), std::pair(ToolSyntax::kMistral, mistral_call)}) {
    for (std::size_t size = 6; size < call.size(); size = character_end(call, size + 1)) {
      const auto [text, ends_in_call] = cut(syntax, "I edit. " + call.substr(0, size));
      EXPECT_TRUE(text.starts_with("I edit.")) << text;
      EXPECT_EQ(text.find_first_of("<|`"), std::string::npos) << text;
      EXPECT_EQ(text.find("TOOL"), std::string::npos) << text;
      EXPECT_EQ(text.find("name"), std::string::npos) << text;
      // Either there is a name to tell, or it is said that there was a call.
      EXPECT_NE(text.find("edit[") != std::string::npos, ends_in_call) << text << " of " << size;
    }
  }
  EXPECT_EQ(cut(ToolSyntax::kDeepSeekV31, "Now: <｜tool\xEF\xBF\xBD"),
            std::pair(std::string("Now: "), true));
  EXPECT_EQ(cut(ToolSyntax::kQwenXml, "Now: <function=ed"), std::pair(std::string("Now:"), true));
  EXPECT_EQ(cut(ToolSyntax::kHermes, "a <b"), std::pair(std::string("a <b"), false));
  EXPECT_EQ(cut(ToolSyntax::kNone, "a <tool_"), std::pair(std::string("a <tool_"), false));
}

TEST(CutCalls, WithANameAreToldAsCallsThatBrokeOff) {
  EXPECT_EQ(cut(ToolSyntax::kHermes, "<tool_call>{\"name\": \"edit\", \"argu").first, "edit[!]");
  EXPECT_EQ(cut(ToolSyntax::kHermes, "<tool_call>{\"name\": \"ed").first, "");
  EXPECT_EQ(cut(ToolSyntax::kQwenXml, "<tool_call>\n<function=edit>\n<par").first, "edit[{}!]");
}

TEST(QwenXmlCalls, TakeTheirTypesFromTheSchema) {
  EXPECT_EQ(
      qwen("I edit.\n\n<tool_call>\n<function=edit>\n<parameter=path>\na.py\n</parameter>\n"
           "<parameter=line>\n12\n</parameter>\n<parameter=flags>\n[1, \"x\"]\n</parameter>\n"
           "<parameter=force>\nTrue\n</parameter>\n</function>\n</tool_call>"),
      "I edit.edit[{\"path\": \"a.py\", \"line\": 12, \"flags\": [1,\"x\"], \"force\": true}]");
  EXPECT_EQ(qwen("<tool_call>\n<function=now>\n</function>\n</tool_call>"), "now[{}]");
}

TEST(QwenXmlCalls, KeepWhiteSpaceButOneNewlineAtEitherEnd) {
  EXPECT_EQ(qwen("<tool_call>\n<function=edit>\n<parameter=text>\n\n  a\n\tb \n\n</parameter>\n"
                 "</function>\n</tool_call>"),
            "edit[{\"text\": \"\\n  a\\n\\tb \\n\"}]");
  EXPECT_EQ(qwen("<tool_call><function=edit><parameter=text>a</parameter></function></tool_call>"),
            "edit[{\"text\": \"a\"}]");
}

TEST(QwenXmlCalls, MayHoldTheirOwnMarks) {
  EXPECT_EQ(
      qwen("<tool_call>\n<function=edit>\n<parameter=text>\nuse </parameter> and "
           "<parameter=x> and <tool_call>\n</parameter>\n<parameter=line>\n3\n</parameter>\n"
           "</function>\n</tool_call>"),
      "edit[{\"text\": \"use </parameter> and <parameter=x> and <tool_call>\", \"line\": 3}]");
}

TEST(QwenXmlCalls, ForgiveWhatModelsForget) {
  EXPECT_EQ(qwen("Now:\n<function=edit>\n<parameter=path>\na\n</parameter>\n</function>\n"),
            "Now:edit[{\"path\": \"a\"}]");
  EXPECT_EQ(qwen("<tool_call>\n<function=edit>\n<parameter=path>\na\n<parameter=line>\n3\n"
                 "</function>\n</tool_call>"),
            "edit[{\"path\": \"a\", \"line\": 3}]");
  EXPECT_EQ(qwen("<tool_call>\n<function=edit>\n<parameter=path>\na\n</parameter>\n</tool_call>"),
            "edit[{\"path\": \"a\"}]");
}

TEST(QwenXmlCalls, ThatBreakOffSaySo) {
  EXPECT_EQ(qwen("<tool_call>\n<function=edit>\n<parameter=path>\nab\n"),
            "edit[{\"path\": \"ab\"}!]");
  EXPECT_EQ(qwen("<tool_call>\n<function=edit>\n<parameter=path>\na\n</parameter>\n<para"),
            "edit[{\"path\": \"a\"}!]");
  EXPECT_EQ(qwen("<tool_call>\n<function=edit>\n<parameter=line>\n1"), "edit[{\"line\": 1}!]");
}

TEST(GlmCalls, TakeTheirTypesFromTheSchema) {
  const std::string expected =
      "I edit.edit[{\"path\": \"a \\\"b\\\" é\", \"line\": 12, \"flags\": [1,\"x\"], \"force\": "
      "true}]";
  EXPECT_EQ(glm("I edit.\n<tool_call>edit\n<arg_key>path</arg_key>\n<arg_value>a \"b\" é"
                "</arg_value>\n<arg_key>line</arg_key>\n<arg_value>12</arg_value>\n"
                "<arg_key>flags</arg_key>\n<arg_value>[1, \"x\"]</arg_value>\n"
                "<arg_key>force</arg_key>\n<arg_value>true</arg_value>\n</tool_call>"),
            expected);
  EXPECT_EQ(glm("I edit.<tool_call>edit<arg_key>path</arg_key><arg_value>a \"b\" é</arg_value>"
                "<arg_key>line</arg_key><arg_value>12</arg_value><arg_key>flags</arg_key>"
                "<arg_value>[1, \"x\"]</arg_value><arg_key>force</arg_key>"
                "<arg_value>true</arg_value></tool_call>"),
            expected);
  // What is a number to one parameter is a text to another.
  EXPECT_EQ(glm("<tool_call>edit<arg_key>path</arg_key><arg_value>12</arg_value></tool_call>"),
            "edit[{\"path\": \"12\"}]");
}

TEST(GlmCalls, MayHaveNoArgumentsAndStandSideBySide) {
  EXPECT_EQ(glm("<tool_call>now</tool_call><tool_call>now\n</tool_call>\n<tool_call>edit"
                "<arg_key>text</arg_key><arg_value></arg_value></tool_call>"),
            "now[{}]now[{}]edit[{\"text\": \"\"}]");
}

TEST(GlmCalls, KeepTheWhiteSpaceAndTheMarksOfValues) {
  EXPECT_EQ(glm("<tool_call>edit<arg_key>text</arg_key><arg_value>\n a</arg_value> and "
                "<arg_key>x</arg_key> <tool_call>\n\n</arg_value></tool_call>"),
            "edit[{\"text\": \"\\n a</arg_value> and <arg_key>x</arg_key> <tool_call>\\n\\n\"}]");
}

TEST(GlmCalls, ThatAreNoneAreText) {
  EXPECT_EQ(glm("Say <tool_call> to call, or <tool_call>now, then."),
            "Say  to call, or now, then.");
  EXPECT_EQ(glm("<tool_call><arg_key>a</arg_key></tool_call>"), "<arg_key>a</arg_key></tool_call>");
}

TEST(GlmCalls, ForgiveWhatModelsForget) {
  EXPECT_EQ(glm("<tool_call>edit\n<arg_key>path</arg_key>\n<arg_value>a</tool_call>"),
            "edit[{\"path\": \"a\"}]");
  EXPECT_EQ(glm("<tool_call>edit\n<arg_key>path</arg_key> oh <arg_key>line</arg_key>"
                "<arg_value>3</arg_value></tool_call>"),
            "edit[{\"line\": 3}]");
}

TEST(GlmCalls, ThatBreakOffSaySo) {
  EXPECT_EQ(glm("<tool_call>edit\n<arg_key>path</arg_key>\n<arg_value>ab"),
            "edit[{\"path\": \"ab\"}!]");
  EXPECT_EQ(glm("<tool_call>edit\n<arg_key>path</arg_key>\n<arg_value>ab</arg_va"),
            "edit[{\"path\": \"ab\"}!]");
  EXPECT_EQ(glm("<tool_call>edit\n<arg_key>line</arg_key>\n<arg_value>1</arg_value>\n<arg"),
            "edit[{\"line\": 1}!]");
  EXPECT_EQ(cut(ToolSyntax::kGlm, "I <tool_call>edit\n<arg"), std::pair(std::string("I"), true));
}

TEST(MiniMaxCalls, TakeTheirTypesFromTheSchema) {
  EXPECT_EQ(
      minimax("I edit.\n<minimax:tool_call>\n<invoke name=\"edit\">\n<parameter name=\"path\">"
              "a \"é\"</parameter>\n<parameter name=\"line\">3</parameter>\n"
              "<parameter name=\"flags\">[{\"a\": \"</invoke>\"}]</parameter>\n</invoke>\n"
              "</minimax:tool_call>"),
      "I edit.edit[{\"path\": \"a \\\"é\\\"\", \"line\": 3, \"flags\": [{\"a\":\"</invoke>\"}]}]");
  EXPECT_EQ(minimax("<minimax:tool_call>\n<invoke name=\"edit\">\n<parameter name=\"path\">7"
                    "</parameter>\n</invoke>\n</minimax:tool_call>"),
            "edit[{\"path\": \"7\"}]");
}

TEST(SeedCalls, KeepTheNewlinesOfValues) {
  EXPECT_EQ(parsed(ToolSyntax::kSeed,
                   "I.\n<seed:tool_call>\n<function=edit>\n<parameter=text>\n\"é\"\n</parameter>\n"
                   "<parameter=line>3</parameter>\n</function>\n<function=now>\n</function>\n"
                   "</seed:tool_call>"),
            "I.edit[{\"text\": \"\\n\\\"é\\\"\\n\", \"line\": 3}]now[{}]");
  EXPECT_EQ(parsed(ToolSyntax::kSeed, "<seed:tool_call>\n<function=edit>\n<parameter=path>ab"),
            "edit[{\"path\": \"ab\"}!]");
}

TEST(MiniMaxCalls, StandSideBySideInABlock) {
  EXPECT_EQ(
      minimax("<minimax:tool_call>\n<invoke name=\"now\">\n</invoke>\n<invoke name=\"edit\">\n"
              "<parameter name=\"text\">\n a\n</parameter>\n</invoke>\n"
              "</minimax:tool_call>\nDone."),
      "now[{}]edit[{\"text\": \"\\n a\\n\"}]Done.");
}

TEST(MiniMaxCalls, HaveNamesBetweenWholeMarks) {
  EXPECT_EQ(
      minimax("<minimax:tool_call>\n<invoke name=\"edit\">\n<parameter name=\">x</parameter>\n"
              "<parameter name=\"line\">3</parameter>\n</invoke>\n</minimax:tool_call>"),
      "edit[{\">x</parameter>\\n<parameter name=\\\"line\": \"3\"}]");
}

TEST(MiniMaxCalls, ThatBreakOffOrAreNoneSaySo) {
  EXPECT_EQ(
      minimax("<minimax:tool_call>\n<invoke name=\"edit\">\n<parameter name=\"path\">ab</para"),
      "edit[{\"path\": \"ab\"}!]");
  EXPECT_EQ(minimax("Say <minimax:tool_call> to call."), "Say  to call.");
  EXPECT_EQ(cut(ToolSyntax::kMiniMax, "I <minimax:tool_call>\n<invoke na"),
            std::pair(std::string("I"), true));
}

/// Of the syntaxes that are a name and JSON: how a block begins, a call, its arguments, and so on.
struct NamedJson {
  ToolSyntax syntax;
  std::string block_open;
  std::string call_open;
  std::string separator;
  std::string call_close;
  std::string block_close;

  std::string call(const std::string& name, const std::string& arguments) const {
    return call_open + name + separator + arguments + call_close;
  }
  std::string block(const std::string& calls) const { return block_open + calls + block_close; }
  std::string parse(const std::string& output) const { return parsed(syntax, output); }
};

const std::vector<NamedJson>& named_json() {
  static const std::vector<NamedJson> all = {
      {ToolSyntax::kDeepSeekV3, "<｜tool▁calls▁begin｜>",
       "<｜tool▁call▁begin｜>function<｜tool▁sep｜>", "\n```json\n", "\n```<｜tool▁call▁end｜>",
       "<｜tool▁calls▁end｜>"},
      {ToolSyntax::kDeepSeekV31, "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>",
       "<｜tool▁sep｜>", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"},
      {ToolSyntax::kKimi, "<|tool_calls_section_begin|>", "<|tool_call_begin|>functions.",
       ":3<|tool_call_argument_begin|>", "<|tool_call_end|>", "<|tool_calls_section_end|>"},
      {ToolSyntax::kMistral, "", "[TOOL_CALLS]", "[ARGS]", "", ""},
  };
  return all;
}

TEST(NamedJsonCalls, AreToldAsTheyWereWritten) {
  for (const NamedJson& each : named_json()) {
    const std::string arguments =
        R"({"path":  "a}\"é</tool_call>", "line": 3, "flags": ["3", {}]})";
    EXPECT_EQ(each.parse("I edit.\n" + each.block(each.call("edit", arguments)) + "\nDone."),
              "I edit.edit[" + arguments + "]Done.");
    EXPECT_EQ(each.parse(each.block(each.call("now", "{}"))), "now[{}]");
    EXPECT_EQ(each.parse(each.block(each.call("now", "{}") + "\n" +
                                    each.call("edit", "{\"path\": \"1\"}"))),
              "now[{}]edit[{\"path\": \"1\"}]");
    if (!each.call_close.empty()) {
      EXPECT_EQ(each.parse(each.block(each.call("now", ""))), "now[{}]");
    }
  }
}

TEST(NamedJsonCalls, ThatBreakOffOrGoWrongSaySo) {
  for (const NamedJson& each : named_json()) {
    const std::string begin = each.block_open + each.call_open + "edit" + each.separator;
    EXPECT_EQ(each.parse(begin + "{\"path\": \"a"), "edit[{\"path\": \"a!]");
    EXPECT_EQ(each.parse(begin + "{\"path\": \"a\"}"), "edit[{\"path\": \"a\"}]");
    EXPECT_EQ(each.parse("I" + each.block_open + each.call_open + "ed"), "I");
    if (!each.call_close.empty()) {
      EXPECT_EQ(each.parse(each.block(each.call("edit", "{\"path\": oh}")) + "x"),
                "edit[{\"path\": !]x");
      EXPECT_EQ(each.parse("Say " + each.block_open + " and go on."), "Say  and go on.");
    }
    EXPECT_EQ(cut(each.syntax, "I " + each.block_open + each.call_open + "ed"),
              std::pair(std::string("I"), true));
  }
}

OutputParser::Options in_messages(ToolSyntax tools = ToolSyntax::kHarmony,
                                  const std::string& opening = "assistant") {
  return {.tools = tools, .style = AnswerStyle::kHarmony, .opening = opening};
}
std::string harmony(const std::string& output) { return parsed(in_messages(), output); }

TEST(HarmonyMessages, AreToldByTheirChannels) {
  EXPECT_EQ(harmony("<|channel|>analysis<|message|>Well.\n\nYes. <|end|><|start|>assistant"
                    "<|channel|>final<|message|>\"No\" é.\n<|return|>"),
            "(Well.\n\nYes. )\"No\" é.\n");
  EXPECT_EQ(harmony("<|channel|>final<|message|>Yes"), "Yes");
  EXPECT_EQ(harmony("<|channel|>analysis<|message|>I am cut"), "(I am cut)");
  EXPECT_EQ(parsed(in_messages(ToolSyntax::kNone),
                   "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final"
                   "<|message|>b"),
            "(a)b");
  EXPECT_EQ(harmony(""), "");
}

TEST(HarmonyMessages, OfOneKindAreParagraphs) {
  EXPECT_EQ(harmony("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary"
                    "<|message|>I look.<|end|><|start|>assistant<|channel|>analysis<|message|>b"
                    "<|end|><|start|>assistant<|channel|>final<|message|>It is.<|end|>"),
            "(a)I look.(\n\nb)\n\nIt is.");
}

TEST(HarmonyMessages, ToFunctionsAreCalls) {
  const std::string arguments = R"({"path":  "a}\"é<|call|>", "line": 3, "flags": ["3", {}]})";
  const std::string call = "edit[" + arguments + "]";
  for (const std::string header :
       {"<|channel|>commentary to=functions.edit <|constrain|>json",
        "<|channel|>commentary to=functions.edit json", "<|channel|>commentary to=functions.edit",
        " to=functions.edit<|channel|>commentary json",
        " to=functions.edit<|channel|>commentary <|constrain|>json",
        "<|channel|>analysis to=functions.edit <|constrain|>json"}) {
    EXPECT_EQ(harmony(header + "<|message|>" + arguments), call) << header;
    EXPECT_EQ(harmony(header + "<|message|>" + arguments + "<|call|>"), call) << header;
    EXPECT_EQ(harmony("<|channel|>analysis<|message|>I edit.<|end|><|start|>assistant" + header +
                      "<|message|>" + arguments + "<|call|>"),
              "(I edit.)" + call)
        << header;
  }
  EXPECT_EQ(harmony("<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>"
                    "commentary to=functions.now <|constrain|>json<|message|>{}<|call|><|start|>"
                    "assistant to=functions.now<|channel|>commentary json<|message|>{\"a\": 1}"),
            "I look.now[{}]now[{\"a\": 1}]");
}

TEST(HarmonyMessages, ToFunctionsAreTextWithoutTools) {
  EXPECT_EQ(parsed(in_messages(ToolSyntax::kNone),
                   "<|channel|>commentary to=functions.now <|constrain|>json<|message|>{}"),
            "{}");
}

TEST(HarmonyMessages, ThatBreakOffOrGoWrongSaySo) {
  const std::string header = "<|channel|>commentary to=functions.edit <|constrain|>json<|message|>";
  EXPECT_EQ(harmony(header + "{\"path\": \"a"), "edit[{\"path\": \"a!]");
  EXPECT_EQ(
      harmony(header + "{\"path\": oh}<|call|><|start|>assistant<|channel|>final<|message|>x"),
      "edit[{\"path\": !]x");
  EXPECT_EQ(harmony("<|channel|>commentary to=functions. <|constrain|>json<|message|>{}"), "{}");
  for (std::size_t size = 6; size < header.size(); ++size) {
    const auto [text, ends_in_call] = cut(in_messages(), header.substr(0, size));
    EXPECT_EQ(text, "") << size;
    EXPECT_EQ(ends_in_call, header.substr(0, size).find("to=") != std::string::npos) << size;
  }
  EXPECT_EQ(cut(in_messages(), "<|channel|>final<|message|>Yes <|retu").first, "Yes ");
  EXPECT_EQ(cut(in_messages(), "<|channel|>final<|message|>a <b").first, "a <b");
}

TEST(HarmonyMessages, ForgiveWhatModelsForget) {
  EXPECT_EQ(harmony("<|channel|>analysis<|message|>a<|channel|>final<|message|>b"), "(a)b");
  EXPECT_EQ(harmony("<|channel|>analysis<|message|>a<|end|>assistant<|channel|>final<|message|>b"),
            "(a)b");
  EXPECT_EQ(harmony("<|channel|>analysis<|message|>a<|start|>assistant<|message|>b<|end|>\n"),
            "(a)b");
  EXPECT_EQ(harmony("<|start|>assistant<|channel|>final<|message|>b"), "b");
}

TEST(HarmonyMessages, ThatAreNoneAreText) {
  EXPECT_EQ(harmony("Hello, world"), "Hello, world");
  EXPECT_EQ(harmony("assume that"), "assume that");
  EXPECT_EQ(harmony("today"), "today");
  const std::string longer(300, 'x');
  EXPECT_EQ(harmony("<|channel|>" + longer + "<|message|>b"), longer + "<|message|>b");
  EXPECT_EQ(harmony("<|channel|>final<|message|>Say <|channel|> or <|end|>, then."),
            "Say  or , then.");
}

TEST(HarmonyMessages, GoOnWithWhatThePromptHasBegun) {
  EXPECT_EQ(parsed(in_messages(ToolSyntax::kHarmony, "assistant<|channel|>analysis<|message|>"),
                   "a<|end|><|start|>assistant<|channel|>final<|message|>b"),
            "(a)b");
  EXPECT_EQ(
      parsed(in_messages(ToolSyntax::kHarmony, "assistant<|channel|>final<|message|>I s"), "ay b"),
      "ay b");
  EXPECT_EQ(parsed(in_messages(ToolSyntax::kHarmony, "assistant<|channel|>"), "final<|message|>b"),
            "b");
  EXPECT_EQ(parsed(in_messages(ToolSyntax::kHarmony, "assistant to=functions."),
                   "now<|channel|>commentary json<|message|>{}"),
            "now[{}]");
}

TEST(Harmony, FindsWhereAnAnswerBegins) {
  EXPECT_EQ(harmony_opening("<|start|>user<|message|>x<|end|><|start|>assistant"), "assistant");
  EXPECT_EQ(harmony_opening("no marks"), "assistant");
  EXPECT_EQ(harmony_place("assistant"), HarmonyPlace::kHeader);
  EXPECT_EQ(harmony_place("assistant<|channel|>analysis<|message|>a"), HarmonyPlace::kThoughts);
  EXPECT_EQ(harmony_place("assistant<|channel|>final<|message|>"), HarmonyPlace::kText);
  EXPECT_TRUE(harmony_spells("<|constrain|>"));
  EXPECT_FALSE(harmony_spells("<|im_end|>"));
  EXPECT_FALSE(harmony_spells(""));
}

std::string llama(const std::string& output) { return parsed(ToolSyntax::kLlama, output); }

TEST(BareCalls, AreToldWhereAnAnswerBegins) {
  EXPECT_EQ(llama("{\"name\": \"edit\", \"parameters\": {\"path\":  \"a}\\\"é\", \"line\": 3}}"),
            "edit[{\"path\":  \"a}\\\"é\", \"line\": 3}]");
  EXPECT_EQ(llama("\n<|python_tag|>{\"name\": \"now\", \"arguments\": {}}"), "now[{}]");
  EXPECT_EQ(llama("{\"type\": \"function\", \"name\": \"now\", \"parameters\": {}}"), "now[{}]");
  EXPECT_EQ(llama("{\"parameters\": {\"a\": 1}, \"name\": \"now\"}"), "now[{\"a\": 1}]");
  EXPECT_EQ(llama("{\"name\": \"now\", \"parameters\": {}}; {\"name\": \"edit\", \"parameters\": "
                  "{\"line\": 1}}\n<|python_tag|>{\"name\": \"now\", \"parameters\": {}}\nDone."),
            "now[{}]edit[{\"line\": 1}]now[{}]Done.");
}

TEST(BareCalls, ThatAreNoneAreText) {
  EXPECT_EQ(llama("Use {\"name\": \"now\", \"parameters\": {}}."),
            "Use {\"name\": \"now\", \"parameters\": {}}.");
  EXPECT_EQ(llama("{\"name\": \"other\", \"parameters\": {}}"),
            "{\"name\": \"other\", \"parameters\": {}}");
  EXPECT_EQ(llama("{\"sky\": \"rain\", \"name\": \"now\"}\n"),
            "{\"sky\": \"rain\", \"name\": \"now\"}\n");
  EXPECT_EQ(llama("{\"name\": 3}"), "{\"name\": 3}");
  EXPECT_EQ(llama("<|python_tag|>print(1)\n"), "print(1)\n");
  EXPECT_EQ(llama(" Hello; {} <|python_tag|>\n"), " Hello; {} <|python_tag|>\n");
  EXPECT_EQ(llama("{\"name\": \"now\", \"parameters\": {}}; and {}"), "now[{}]; and {}");
  EXPECT_EQ(llama(" \n"), " \n");
}

TEST(BareCalls, ThatBreakOffOrGoWrongSaySo) {
  EXPECT_EQ(llama("{\"name\": \"edit\", \"parameters\": {\"path\": \"a"), "edit[{\"path\": \"a!]");
  EXPECT_EQ(llama("{\"name\": \"edit\", \"parameters\": {\"path\": oh}} x"), "edit[{\"path\": !]");
  EXPECT_EQ(cut(ToolSyntax::kLlama, "{\"name\": \"ed"), std::pair(std::string(), true));
}

std::string gemma(const std::string& output) {
  return parsed({.tools = ToolSyntax::kGemma, .style = AnswerStyle::kChannel}, output);
}

TEST(GemmaCalls, AreToldAsJson) {
  EXPECT_EQ(gemma("I edit.\n<|tool_call>call:edit{path:<|\"|>a \"b\" "
                  "é\n}<|\"|>,line:3,flags:[<|\"|>x<|\"|>,"
                  "{a:null,b:[]},-1.5],force:true}<tool_call|>"),
            "I edit.edit[{\"path\": \"a \\\"b\\\" é\\n}\", \"line\": 3, \"flags\": [\"x\", "
            "{\"a\": null, \"b\": []}, -1.5], \"force\": true}]");
  EXPECT_EQ(
      gemma(
          "<|tool_call>call:now{}<tool_call|><|tool_call>call:edit{path:<|\"|><|\"|>}<tool_call|>"),
      "now[{}]edit[{\"path\": \"\"}]");
}

TEST(GemmaCalls, TakeJsonAndWordsToo) {
  EXPECT_EQ(
      gemma(
          "<|tool_call>call:edit{\"path\": \"a\\\"}\", <|\"|>text<|\"|> : None , flags: [ True, ],"
          "x:a word}<tool_call|>"),
      "edit[{\"path\": \"a\\\"}\", \"text\": null, \"flags\": [true], \"x\": \"a word\"}]");
}

TEST(GemmaCalls, ThatBreakOffOrGoWrongSaySo) {
  EXPECT_EQ(gemma("<|tool_call>call:edit{path:<|\"|>ab"), "edit[{\"path\": \"ab!]");
  EXPECT_EQ(gemma("<|tool_call>call:edit{path:<|\"|>ab<|\""), "edit[{\"path\": \"ab!]");
  EXPECT_EQ(gemma("<|tool_call>call:edit{line:1"), "edit[{\"line\": !]");
  EXPECT_EQ(gemma("<|tool_call>call:edit{line:1]}<tool_call|>x"), "edit[{\"line\": 1!]x");
  EXPECT_EQ(gemma("<|tool_call>call:edit{:1}<tool_call|>x"), "edit[{!]x");
  EXPECT_EQ(gemma("<|tool_call>call:edit{line:" + std::string(200, '[') + "}<tool_call|>x"),
            "edit[{\"line\": " + std::string(127, '[') + "!]x");
  // A word that has no end holds back no more than a word would.
  const std::string word(4096, 'x');
  EXPECT_EQ(gemma("<|tool_call>call:edit{text:" + word + "}<tool_call|>y"),
            "edit[{\"text\": \"" + word + "\"}]y");
  EXPECT_EQ(gemma("<|tool_call>call:edit{text:x" + word + "}<tool_call|>y"), "edit[{\"text\": !]y");
  // A number ends at no NUL byte.
  EXPECT_EQ(gemma(std::string("<|tool_call>call:edit{line:12\0[0}<tool_call|>", 44)),
            "edit[{\"line\": \"12\\u0000[0\"}]");
  EXPECT_EQ(gemma("Say <|tool_call> to call."), "Say  to call.");
  EXPECT_EQ(cut(ToolSyntax::kGemma, "I <|tool_call>call:ed"), std::pair(std::string("I"), true));
}

TEST(OutputParser, SplitsThoughtsInAChannelFromTheAnswer) {
  EXPECT_EQ(gemma("<|channel>thought\nWell.\n<channel|>No."), "(Well.)No.");
  EXPECT_EQ(gemma("<|channel>thought\n<channel|>Yes"), "Yes");
  EXPECT_EQ(parsed({.style = AnswerStyle::kChannel, .begins_in_reasoning = true},
                   "\nWell.<channel|>\n<think>No."),
            "(Well.)<think>No.");
}

}  // namespace
}  // namespace flashmoe
