#include "chat/tool_call_reader.h"

#include "base/check.h"

namespace flashmoe {

std::string_view to_string(ToolSyntax syntax) {
  switch (syntax) {
    case ToolSyntax::kNone:
      return "none";
    case ToolSyntax::kHermes:
      return "hermes";
    case ToolSyntax::kQwenXml:
      return "qwen-xml";
  }
  return "unknown";
}

std::vector<std::pair<std::string, std::string>> call_marks(ToolSyntax syntax) {
  if (syntax == ToolSyntax::kNone) return {};
  std::vector<std::pair<std::string, std::string>> marks = {{"<tool_call>", "</tool_call>"}};
  // Models forget the mark before it.
  if (syntax == ToolSyntax::kQwenXml) marks.emplace_back("<function=", "</function>");
  return marks;
}

std::unique_ptr<ToolCallReader> make_tool_call_reader(ToolSyntax syntax,
                                                      const ToolSchemas& schemas) {
  FM_CHECK(syntax != ToolSyntax::kNone);
  return syntax == ToolSyntax::kHermes ? make_hermes_call_reader()
                                       : make_qwen_xml_call_reader(schemas);
}

}  // namespace flashmoe
