// Byte 0 chooses the syntax, byte 1 where the text is cut, the rest is a model's output: the events
// do not depend on the cuts, and the arguments of complete calls are JSON.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/check.h"
#include "chat/output_parser.h"

namespace {

using namespace flashmoe;

const ToolSchemas& fuzz_schemas() {
  static const ToolSchemas schemas = {
      {"f", nlohmann::ordered_json::parse(R"({"properties": {"a": {"type": "string"},
                                              "b": {"type": "integer"}, "c": {"type": "array"}}})")}};
  return schemas;
}

std::string events_as_text(std::string_view output, std::uint8_t mode, std::size_t step) {
  const auto tools = static_cast<ToolSyntax>(mode % (call_syntaxes().size() + 1));
  OutputParser parser({.tools = tools, .begins_in_reasoning = mode > 127}, fuzz_schemas());
  OutputEvents events;
  for (std::size_t at = 0; at < output.size(); at += step) {
    parser.push(output.substr(at, step), events);
  }
  parser.finish(events);
  std::string text;
  std::string arguments;
  int last_kind = -1;
  for (const OutputEvent& event : events) {
    // Pieces of one kind are one, however they came.
    const int kind = static_cast<int>(event.kind);
    const bool is_piece = kind != static_cast<int>(OutputEvent::Kind::kCallBegin) &&
                          kind != static_cast<int>(OutputEvent::Kind::kCallEnd);
    if (!is_piece || kind != last_kind) text += static_cast<char>('0' + kind);
    last_kind = kind;
    text += event.text;
    FM_CHECK(event.kind != OutputEvent::Kind::kText ||
             output.substr(event.begin, event.text.size()) == event.text);
    if (event.kind == OutputEvent::Kind::kCallBegin) arguments.clear();
    if (event.kind == OutputEvent::Kind::kCallArguments) arguments += event.text;
    if (event.kind == OutputEvent::Kind::kCallEnd) {
      text += event.is_complete ? '+' : '-';
      // Numbers beyond a double are JSON that this library does not take.
      const bool has_exponent = arguments.find_first_of("eE") != std::string::npos;
      FM_CHECK(!event.is_complete || has_exponent || nlohmann::json::accept(arguments) ||
               arguments.find(static_cast<char>(0xFF)) != std::string::npos);
    }
  }
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view output(reinterpret_cast<const char*>(data) + 2, size - 2);
  // The parser is given whole characters: ASCII is enough to find its ways.
  for (const char c : output) {
    if (static_cast<unsigned char>(c) >= 0x80) return 0;
  }
  const std::string whole = events_as_text(output, data[0], output.size() + 1);
  FM_CHECK(events_as_text(output, data[0], 1 + data[1] % 16) == whole);
  FM_CHECK(events_as_text(output, data[0], 1) == whole);
  return 0;
}
