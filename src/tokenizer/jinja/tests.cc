#include <cmath>

#include "base/result.h"
#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/operations.h"
#include "tokenizer/jinja/text.h"

namespace flashmoe::jinja {
namespace {

using Predicate = bool (*)(const Value& value);

// A test without arguments.
template <Predicate kPredicate>
Result<bool> test(Runtime&, const Value& value, const Arguments& arguments) {
  FM_RETURN_IF_ERROR(BoundArguments::bind("test", arguments, {}).status());
  return kPredicate(value);
}

// A comparison with its one argument.
template <Operator kOperator>
Result<bool> comparison(Runtime& runtime, const Value& value, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("test", arguments, {"other"}));
  FM_ASSIGN_OR_RETURN(const Value other, args.required(0));
  return compare(kOperator, value, other, runtime.heap);
}

bool is_boolean(const Value& v) { return v.is_bool(); }
bool is_callable(const Value& v) { return v.callable() != nullptr; }
bool is_defined(const Value& v) { return !v.is_undefined(); }
bool is_false(const Value& v) { return v.is_bool() && !v.as_bool(); }
bool is_float(const Value& v) { return v.is_real(); }
bool is_integer(const Value& v) { return v.is_integer(); }
bool is_lower(const Value& v) { return v.is_text() && is_cased(v.as_text(), false); }
bool is_mapping(const Value& v) { return v.dict() != nullptr; }
bool is_none(const Value& v) { return v.is_none(); }
bool is_number(const Value& v) { return v.is_number(); }
bool is_string(const Value& v) { return v.is_text(); }
bool is_true(const Value& v) { return v.is_bool() && v.as_bool(); }
bool is_undefined(const Value& v) { return v.is_undefined(); }
bool is_upper(const Value& v) { return v.is_text() && is_cased(v.as_text(), true); }

bool is_iterable(const Value& value) {
  return value.is_undefined() || value.is_text() || value.list() != nullptr ||
         value.dict() != nullptr || value.loop() != nullptr;
}

bool is_sequence(const Value& value) { return is_iterable(value) && value.loop() == nullptr; }

Result<bool> divisible(Runtime&, const Value& value, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("divisibleby", arguments, {"num"}));
  FM_RETURN_IF_ERROR(args.required(0).status());
  FM_ASSIGN_OR_RETURN(const std::int64_t divisor, args.integer_or(0, 0));
  const auto number = value.to_integer();
  if (!number) return wrong_type("divisibleby needs an int", value);
  if (divisor == 0) return fail("division by zero");
  return divisor == -1 || *number % divisor == 0;
}

template <bool kOdd>
Result<bool> parity(Runtime&, const Value& value, const Arguments&) {
  if (!value.is_number()) return wrong_type("even and odd need a number", value);
  const double remainder = std::fmod(std::abs(*value.to_real()), 2.0);
  return remainder == (kOdd ? 1.0 : 0.0);
}

Result<bool> same(Runtime&, const Value& value, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("sameas", arguments, {"other"}));
  FM_ASSIGN_OR_RETURN(const Value other, args.required(0));
  return value.same_as(other);
}

Result<bool> names_filter(Runtime&, const Value& value, const Arguments&) {
  return value.is_text() && find_filter(value.as_text()) != nullptr;
}

Result<bool> names_test(Runtime&, const Value& value, const Arguments&) {
  return value.is_text() && find_test(value.as_text()) != nullptr;
}

}  // namespace

TestFunction find_test(std::string_view name) {
  static const std::map<std::string_view, TestFunction> kTable = {
      {"!=", comparison<Operator::kNotEqual>},
      {"<", comparison<Operator::kLess>},
      {"<=", comparison<Operator::kLessEqual>},
      {"==", comparison<Operator::kEqual>},
      {">", comparison<Operator::kGreater>},
      {">=", comparison<Operator::kGreaterEqual>},
      {"boolean", test<is_boolean>},
      {"callable", test<is_callable>},
      {"defined", test<is_defined>},
      {"divisibleby", divisible},
      {"eq", comparison<Operator::kEqual>},
      {"equalto", comparison<Operator::kEqual>},
      {"even", parity<false>},
      {"false", test<is_false>},
      {"filter", names_filter},
      {"float", test<is_float>},
      {"ge", comparison<Operator::kGreaterEqual>},
      {"greaterthan", comparison<Operator::kGreater>},
      {"gt", comparison<Operator::kGreater>},
      {"in", comparison<Operator::kIn>},
      {"integer", test<is_integer>},
      {"iterable", test<is_iterable>},
      {"le", comparison<Operator::kLessEqual>},
      {"lessthan", comparison<Operator::kLess>},
      {"lower", test<is_lower>},
      {"lt", comparison<Operator::kLess>},
      {"mapping", test<is_mapping>},
      {"ne", comparison<Operator::kNotEqual>},
      {"none", test<is_none>},
      {"number", test<is_number>},
      {"odd", parity<true>},
      {"sameas", same},
      {"sequence", test<is_sequence>},
      {"string", test<is_string>},
      {"test", names_test},
      {"true", test<is_true>},
      {"undefined", test<is_undefined>},
      {"upper", test<is_upper>},
  };
  const auto found = kTable.find(name);
  return found == kTable.end() ? nullptr : found->second;
}

}  // namespace flashmoe::jinja
