#include "tokenizer/jinja/runtime.h"

#include <algorithm>

namespace flashmoe::jinja {

Status wrong_type(std::string_view what, const Value& value) {
  if (value.is_undefined()) {
    const std::string_view name = value.undefined_name();
    return name.empty() ? fail("the value is undefined") : fail("'{}' is undefined", name);
  }
  return fail("{}, got {}", what, value.type_name());
}

Result<BoundArguments> BoundArguments::bind(std::string_view callee, const Arguments& arguments,
                                            std::initializer_list<std::string_view> parameters) {
  BoundArguments bound;
  bound.callee_ = callee;
  bound.parameters_ = parameters;
  bound.values_.resize(parameters.size());
  if (arguments.positional.size() > parameters.size()) {
    return fail("{} takes at most {} arguments, got {}", callee, parameters.size(),
                arguments.positional.size());
  }
  std::copy(arguments.positional.begin(), arguments.positional.end(), bound.values_.begin());
  for (const auto& [marked_name, value] : arguments.named) {
    const std::string& name = marked_name.bytes();
    const auto found = std::find(bound.parameters_.begin(), bound.parameters_.end(), name);
    if (found == bound.parameters_.end()) return fail("{} takes no argument '{}'", callee, name);
    auto& slot = bound.values_[static_cast<std::size_t>(found - bound.parameters_.begin())];
    if (slot) return fail("{} got the argument '{}' twice", callee, name);
    slot = value;
  }
  return bound;
}

Result<std::int64_t> BoundArguments::integer_or(std::size_t i, std::int64_t fallback) const {
  if (!has(i) || values_[i]->is_none()) return fallback;
  if (const auto value = values_[i]->to_integer()) return *value;
  return wrong_type(fmt::format("{}: '{}' must be an int", callee_, parameters_[i]), *values_[i]);
}

Result<std::string_view> BoundArguments::text(std::size_t i) const {
  if (!has(i)) return std::string_view();
  if (values_[i]->is_text()) return std::string_view(values_[i]->as_text());
  return wrong_type(fmt::format("{}: '{}' must be a str", callee_, parameters_[i]), *values_[i]);
}

Result<Value> BoundArguments::required(std::size_t i) const {
  if (has(i)) return *values_[i];
  return fail("{} needs the argument '{}'", callee_, parameters_[i]);
}

}  // namespace flashmoe::jinja
