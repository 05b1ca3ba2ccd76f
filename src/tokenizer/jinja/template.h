#ifndef FLASHMOE_TOKENIZER_JINJA_TEMPLATE_H_
#define FLASHMOE_TOKENIZER_JINJA_TEMPLATE_H_

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"
#include "tokenizer/jinja/json.h"
#include "tokenizer/jinja/runtime.h"

namespace flashmoe::jinja {

struct RenderOptions {
  Limits limits{};
  Clock clock{};  // local time of the system when empty
  /// Who wrote the strings in these values among the variables; the others count as the template's.
  OriginMap origins{};
};

/// A parsed template in the dialect of chat templates: Jinja2 with trim_blocks, lstrip_blocks,
/// loop controls and Hugging Face's tojson (docs/chat_templates.md). Immutable: one template may be
/// rendered by several threads at once.
class Template {
 public:
  /// Error kCorrupt (syntax) or kUnsupported, "chat template line N: ...".
  static Result<Template> parse(std::string_view source);

  /// Renders with the members of the JSON object `variables` as variables. Errors
  /// (kInvalidArgument): what Jinja2 would raise, raise_exception(), and exceeded limits; "chat
  /// template line N: ...".
  Result<MarkedText> render(const nlohmann::ordered_json& variables,
                            const RenderOptions& options = {}) const;

 private:
  struct Tree;
  explicit Template(std::shared_ptr<const Tree> tree) : tree_(std::move(tree)) {}

  std::shared_ptr<const Tree> tree_;
};

}  // namespace flashmoe::jinja

#endif  // FLASHMOE_TOKENIZER_JINJA_TEMPLATE_H_
