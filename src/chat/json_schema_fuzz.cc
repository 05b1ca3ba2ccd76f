// A schema, a NUL byte and a text: both are read within bounds, and what the automaton of any JSON
// takes is what a JSON parser takes.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "chat/json_automaton.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using flashmoe::JsonAutomaton;
  using flashmoe::JsonSchema;
  using Json = nlohmann::ordered_json;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = input.find('\0');
  if (end == std::string_view::npos) return 0;
  const std::string_view text = input.substr(end + 1);
  const Json schema = Json::parse(input.substr(0, end), nullptr, false);
  if (!schema.is_discarded()) {
    const auto compiled = JsonSchema::compile(schema, /*is_strict=*/size % 2 == 0);
    if (compiled.ok()) {
      JsonAutomaton automaton(compiled->root(), {.space_max = 8});
      if (automaton.push(text)) static_cast<void>(automaton.can_end());
    }
  }
  JsonAutomaton any(JsonSchema::any());
  const bool is_taken = any.push(text) && any.can_end();
  bool is_json = false;
  try {
    const Json parsed = Json::parse(text);
    is_json = !parsed.is_discarded();
  } catch (const Json::out_of_range&) {
    return 0;  // a number beyond a double
  } catch (const Json::exception&) {
  }
  // The automaton bounds how deep values are nested; the parser knows more of UTF-8, and takes a
  // NUL byte for the end.
  if (is_taken != is_json && text.size() < 200 && text.find('\0') == std::string_view::npos) {
    for (const char c : text) {
      if (static_cast<unsigned char>(c) >= 0x80) return 0;
    }
    FM_CHECK(is_taken == is_json);
  }
  return 0;
}
