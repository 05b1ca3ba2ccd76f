// Syntaxes are told apart by what templates write.
#include "chat/call_syntax.h"

#include <gtest/gtest.h>

namespace flashmoe {
namespace {

ToolSyntax told(std::string_view text) { return syntax_of(text, "probe_tool", "probe_key"); }

TEST(CallSyntax, IsToldByACallAsTemplatesWriteIt) {
  EXPECT_EQ(told("probe\n<tool_call>\n{\"name\": \"probe_tool\", \"arguments\": {\"probe_key\": "
                 "\"x\"}}\n</tool_call>"),
            ToolSyntax::kHermes);
  EXPECT_EQ(told("<tool_call>\n<function=probe_tool>\n<parameter=probe_key>\nx\n</parameter>\n"
                 "</function>\n</tool_call>"),
            ToolSyntax::kQwenXml);
  EXPECT_EQ(told("<tool_call>probe_tool\n<arg_key>probe_key</arg_key>\n<arg_value>x</arg_value>\n"
                 "</tool_call>"),
            ToolSyntax::kGlm);
  EXPECT_EQ(told("<tool_call>probe_tool<arg_key>probe_key</arg_key><arg_value>x</arg_value>"
                 "</tool_call>"),
            ToolSyntax::kGlm);
  EXPECT_EQ(
      told("<minimax:tool_call>\n<invoke name=\"probe_tool\">\n<parameter name=\"probe_key\">x"
           "</parameter>\n</invoke>\n</minimax:tool_call>"),
      ToolSyntax::kMiniMax);
  EXPECT_EQ(told("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>probe_tool\n"
                 "```json\n{\"probe_key\": \"x\"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"),
            ToolSyntax::kDeepSeekV3);
  EXPECT_EQ(told("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>probe_tool<｜tool▁sep｜>"
                 "{\"probe_key\": \"x\"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"),
            ToolSyntax::kDeepSeekV31);
  EXPECT_EQ(told("<|tool_calls_section_begin|><|tool_call_begin|>functions.probe_tool:0"
                 "<|tool_call_argument_begin|>{\"probe_key\": \"x\"}<|tool_call_end|>"),
            ToolSyntax::kKimi);
  EXPECT_EQ(told("[TOOL_CALLS]probe_tool[ARGS]{\"probe_key\": \"x\"}</s>"), ToolSyntax::kMistral);
  EXPECT_EQ(told("<seed:tool_call>\n<function=probe_tool>\n<parameter=probe_key>x</parameter>\n"
                 "</function>\n</seed:tool_call>"),
            ToolSyntax::kSeed);
  EXPECT_EQ(told("I call probe_tool with probe_key x."), ToolSyntax::kNone);
  EXPECT_EQ(told("<tool_call>\n{\"name\": \"other\", \"arguments\": {}}\n</tool_call>"),
            ToolSyntax::kNone);
}

TEST(CallSyntax, KnowsTheTokensThatItsMarksAreMadeOf) {
  const CallSyntax& kimi = *call_syntax(ToolSyntax::kKimi);
  EXPECT_TRUE(kimi.spells("<|tool_calls_section_begin|>"));
  EXPECT_TRUE(kimi.spells("<|tool_call_argument_begin|>"));
  EXPECT_FALSE(kimi.spells("<|im_end|>"));
  EXPECT_FALSE(kimi.spells(""));
  EXPECT_TRUE(call_syntax(ToolSyntax::kMistral)->spells("[ARGS]"));
  EXPECT_TRUE(call_syntax(ToolSyntax::kGlm)->spells("<arg_value>"));
}

TEST(CallSyntax, HasANameOfItsOwn) {
  EXPECT_EQ(name_of(ToolSyntax::kNone), "none");
  for (const ToolSyntax each : call_syntaxes()) {
    for (const ToolSyntax other : call_syntaxes()) {
      EXPECT_EQ(name_of(each) == name_of(other), each == other);
    }
  }
}

}  // namespace
}  // namespace flashmoe
