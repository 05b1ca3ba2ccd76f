// A schema, a NUL byte and a text: both are read within bounds, whatever can still come can be
// completed, and what is read as JSON is what a JSON parser reads.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "chat/form_automaton.h"
#include "chat/json_reader.h"

namespace {

using namespace flashmoe;
using Json = nlohmann::ordered_json;

void read_with(const Json& schema, bool is_strict, std::string_view text) {
  auto form = std::make_shared<OutputForm>();
  std::vector<std::string> hints;
  const auto node = compile_schema(schema, {.is_strict = is_strict}, form->graph, hints);
  if (!node.ok()) return;
  form->rules = {{{OutputForm::Value{*node}}}};
  FormAutomaton automaton(form, FormAutomaton::Options());
  FormAutomaton::State state = automaton.start();
  for (const char c : text) {
    const FormAutomaton::State next = automaton.next(state, static_cast<unsigned char>(c));
    if (next == FormAutomaton::kDead) break;
    state = next;
  }
  bool goes_on = automaton.can_end(state);
  for (int byte = 0; byte < 256 && !goes_on; ++byte) {
    goes_on = automaton.next(state, static_cast<unsigned char>(byte)) != FormAutomaton::kDead;
  }
  FM_CHECK(goes_on);
}

bool is_ascii(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = input.find('\0');
  if (end == std::string_view::npos) return 0;
  std::string_view text = input.substr(end + 1);
  const Json schema = Json::parse(input.substr(0, end), nullptr, false);
  if (!schema.is_discarded()) read_with(schema, /*is_strict=*/size % 2 == 0, text);
  while (!text.empty() && std::string_view(" \n\r\t").find(text.back()) != std::string_view::npos) {
    text.remove_suffix(1);
  }
  JsonReader reader;
  const bool is_read = reader.push(text) && reader.can_end();
  bool is_json = false;
  try {
    is_json = !Json::parse(text).is_discarded();
  } catch (const Json::out_of_range&) {
    return 0;  // a number beyond a double
  } catch (const Json::exception&) {
  }
  // The reader bounds how deep values are nested; the parser takes a NUL byte for the end.
  if (text.size() < 200 && text.find('\0') == std::string_view::npos && is_ascii(text)) {
    FM_CHECK(is_read == is_json);
  }
  return 0;
}
