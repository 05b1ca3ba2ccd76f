// A template, then optionally a NUL byte and its variables as JSON: parsing and rendering end with
// a text or an error, within small limits.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tokenizer/jinja/template.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using Json = nlohmann::ordered_json;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = input.find('\0');
  const auto parsed = flashmoe::jinja::Template::parse(input.substr(0, end));
  if (!parsed.ok()) return 0;
  Json variables = Json::object();
  if (end != std::string_view::npos) variables = Json::parse(input.substr(end + 1), nullptr, false);
  if (!variables.is_object()) variables = {{"messages", {{{"role", "user"}, {"content", "hi"}}}}};
  const flashmoe::jinja::RenderOptions options{
      .limits = {.step_count = 100'000, .memory_bytes = 8U << 20U},
      .clock = [] { return std::tm{}; }};
  static_cast<void>(parsed->render(variables, options).ok());
  return 0;
}
