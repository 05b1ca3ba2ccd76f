#include "tokenizer/jinja/template.h"

#include <ctime>
#include <utility>

#include "base/units.h"
#include "tokenizer/jinja/ast.h"
#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/json.h"
#include "tokenizer/jinja/parser.h"

namespace flashmoe::jinja {
namespace {

constexpr std::size_t kMaxSourceBytes = 1U << 20U;
constexpr std::string_view kErrorPrefix = "chat template ";

std::tm local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm broken_down{};
  localtime_r(&now, &broken_down);
  return broken_down;
}

Status prefixed(const Status& status) {
  return Status(status.code(), std::string(kErrorPrefix) + status.message());
}

}  // namespace

struct Template::Tree {
  Body body;
};

Result<Template> Template::parse(std::string_view source) {
  if (source.size() > kMaxSourceBytes) {
    return error(StatusCode::kUnsupported, "chat template of {}, more than {}",
                 format_size(source.size()), format_size(kMaxSourceBytes));
  }
  Result<Body> body = parse_template(source);
  if (!body.ok()) return prefixed(body.status());
  return Template(std::make_shared<const Tree>(Tree{std::move(body).value()}));
}

Result<MarkedText> Template::render(const nlohmann::ordered_json& variables,
                                    const RenderOptions& options) const {
  if (!variables.is_object()) return fail("chat template variables must be a JSON object");
  Interpreter interpreter(options.limits, options.clock ? options.clock : local_time);
  for (auto variable = variables.begin(); variable != variables.end(); ++variable) {
    auto value =
        from_json(variable.value(), interpreter.heap(), Origin::kTemplate, options.origins);
    if (!value.ok()) {
      return value.status().with_prefix(fmt::format("chat template variable '{}'", variable.key()));
    }
    interpreter.define(variable.key(), std::move(value).value());
  }
  Result<MarkedText> text = interpreter.render(tree_->body);
  if (!text.ok()) return prefixed(text.status());
  return text;
}

}  // namespace flashmoe::jinja
