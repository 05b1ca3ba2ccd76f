#include "chat/call_syntax.h"

#include <algorithm>
#include <iterator>

#include "chat/json_object_calls.h"
#include "chat/named_json_calls.h"
#include "chat/tagged_calls.h"

namespace flashmoe {
namespace {

/// In the order in which a call is to be recognised: what is more particular comes first.
constexpr ToolSyntax kSyntaxes[] = {
    ToolSyntax::kQwenXml, ToolSyntax::kSeed,       ToolSyntax::kMiniMax,
    ToolSyntax::kGlm,     ToolSyntax::kDeepSeekV3, ToolSyntax::kDeepSeekV31,
    ToolSyntax::kKimi,    ToolSyntax::kMistral,    ToolSyntax::kHermes,
};

}  // namespace

std::vector<std::pair<std::string_view, std::string_view>> CallSyntax::passages() const {
  const std::string_view block_close =
      marks_.block_close.empty() ? marks_.call_close : marks_.block_close;
  std::vector<std::pair<std::string_view, std::string_view>> all = {
      {marks_.block_open, block_close}};
  if (!marks_.call_open.empty()) all.emplace_back(marks_.call_open, marks_.call_close);
  return all;
}

bool CallSyntax::spells(std::string_view text) const {
  std::vector<std::string> all = signs("", "");
  for (const std::string_view mark :
       {marks_.block_open, marks_.block_close, marks_.call_open, marks_.call_close}) {
    all.emplace_back(mark);
  }
  return !text.empty() && std::ranges::any_of(all, [&](const std::string& mark) {
    return mark.find(text) != std::string::npos;
  });
}

std::string_view name_of(ToolSyntax syntax) {
  const CallSyntax* const found = call_syntax(syntax);
  return found == nullptr ? "none" : found->name();
}

std::span<const ToolSyntax> call_syntaxes() { return kSyntaxes; }

ToolSyntax syntax_of(std::string_view text, const std::string& function, const std::string& key) {
  const auto is_written = [&](ToolSyntax syntax) {
    std::size_t at = 0;
    for (const std::string& sign : call_syntax(syntax)->signs(function, key)) {
      at = text.find(sign, at);
      if (at == std::string_view::npos) return false;
      at += sign.size();
    }
    return true;
  };
  const auto found = std::ranges::find_if(kSyntaxes, is_written);
  return found == std::end(kSyntaxes) ? ToolSyntax::kNone : *found;
}

const CallSyntax* call_syntax(ToolSyntax syntax) {
  static const JsonObjectSyntax hermes(
      "hermes", {.block_open = "<tool_call>", .call_close = "</tool_call>"}, "arguments");
  static const TaggedSyntax qwen_xml("qwen-xml",
                                     {.block_open = "<tool_call>",
                                      .block_close = "</tool_call>",
                                      .call_open = "<function=",
                                      .call_close = "</function>"},
                                     {.name_close = ">",
                                      .key_open = "<parameter=",
                                      .key_close = ">",
                                      .value_close = "</parameter>",
                                      .has_lines = true});
  static const TaggedSyntax minimax("minimax",
                                    {.block_open = "<minimax:tool_call>",
                                     .block_close = "</minimax:tool_call>",
                                     .call_open = "<invoke name=\"",
                                     .call_close = "</invoke>"},
                                    {.name_close = "\">",
                                     .key_open = "<parameter name=\"",
                                     .key_close = "\">",
                                     .value_close = "</parameter>"});
  // GLM-4.5 and 4.6 put each mark on a line of its own, later models none. Values have no newlines
  // around them in either.
  static const TaggedSyntax glm("glm", {.block_open = "<tool_call>", .call_close = "</tool_call>"},
                                {.key_open = "<arg_key>",
                                 .key_close = "</arg_key>",
                                 .value_open = "<arg_value>",
                                 .value_close = "</arg_value>"});
  // R1 writes as V3 does.
  static const NamedJsonSyntax deepseek_v3(
      "deepseek-v3",
      {.block_open = "<｜tool▁calls▁begin｜>",
       .block_close = "<｜tool▁calls▁end｜>",
       .call_open = "<｜tool▁call▁begin｜>",
       .call_close = "\n```<｜tool▁call▁end｜>"},
      {.prefix = "function<｜tool▁sep｜>", .separator = "\n```json\n"});
  static const NamedJsonSyntax deepseek_v31("deepseek-v3.1",
                                            {.block_open = "<｜tool▁calls▁begin｜>",
                                             .block_close = "<｜tool▁calls▁end｜>",
                                             .call_open = "<｜tool▁call▁begin｜>",
                                             .call_close = "<｜tool▁call▁end｜>"},
                                            {.separator = "<｜tool▁sep｜>"});
  static const NamedJsonSyntax kimi(
      "kimi",
      {.block_open = "<|tool_calls_section_begin|>",
       .block_close = "<|tool_calls_section_end|>",
       .call_open = "<|tool_call_begin|>",
       .call_close = "<|tool_call_end|>"},
      {.prefix = "functions.", .separator = "<|tool_call_argument_begin|>", .has_index = true});
  static const NamedJsonSyntax mistral("mistral", {.block_open = "[TOOL_CALLS]"},
                                       {.separator = "[ARGS]"});
  static const TaggedSyntax seed("seed",
                                 {.block_open = "<seed:tool_call>",
                                  .block_close = "</seed:tool_call>",
                                  .call_open = "<function=",
                                  .call_close = "</function>"},
                                 {.name_close = ">",
                                  .key_open = "<parameter=",
                                  .key_close = ">",
                                  .value_close = "</parameter>"});
  switch (syntax) {
    case ToolSyntax::kNone:
      return nullptr;
    case ToolSyntax::kHermes:
      return &hermes;
    case ToolSyntax::kQwenXml:
      return &qwen_xml;
    case ToolSyntax::kMiniMax:
      return &minimax;
    case ToolSyntax::kGlm:
      return &glm;
    case ToolSyntax::kDeepSeekV3:
      return &deepseek_v3;
    case ToolSyntax::kDeepSeekV31:
      return &deepseek_v31;
    case ToolSyntax::kKimi:
      return &kimi;
    case ToolSyntax::kMistral:
      return &mistral;
    case ToolSyntax::kSeed:
      return &seed;
  }
  return nullptr;
}

}  // namespace flashmoe
