#include "tokenizer/jinja/operations.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "tokenizer/jinja/text.h"

namespace flashmoe::jinja {
namespace {

Result<bool> equal_at(const Value& a, const Value& b, Heap& heap, int depth);

Result<bool> equal_items(const List& a, const List& b, Heap& heap, int depth) {
  if (a.is_tuple != b.is_tuple || a.items.size() != b.items.size()) return false;
  for (std::size_t i = 0; i < a.items.size(); ++i) {
    FM_ASSIGN_OR_RETURN(const bool same, equal_at(a.items[i], b.items[i], heap, depth + 1));
    if (!same) return false;
  }
  return true;
}

Result<bool> equal_entries(const Dict& a, const Dict& b, Heap& heap, int depth) {
  if (a.entries.size() != b.entries.size()) return false;
  for (const auto& [key, value] : a.entries) {
    const Value* other = b.find(key);
    if (other == nullptr) return false;
    FM_ASSIGN_OR_RETURN(const bool same, equal_at(value, *other, heap, depth + 1));
    if (!same) return false;
  }
  return true;
}

Result<bool> equal_at(const Value& a, const Value& b, Heap& heap, int depth) {
  if (depth > kMaxValueDepth) return fail("values nested more than {} deep", kMaxValueDepth);
  FM_RETURN_IF_ERROR(heap.spend());
  if (a.is_text() && b.is_text()) {
    if (a.as_text().size() != b.as_text().size()) return false;
    FM_RETURN_IF_ERROR(heap.spend_bytes(a.as_text().size()));
    return a.as_text() == b.as_text();
  }
  if (a.is_number() && b.is_number()) return KeyEqual()(a, b);
  if (a.list() != nullptr && b.list() != nullptr) {
    return equal_items(*a.list(), *b.list(), heap, depth);
  }
  if (a.dict() != nullptr && b.dict() != nullptr) {
    return equal_entries(*a.dict(), *b.dict(), heap, depth);
  }
  return a.same_as(b);
}

Result<bool> less_at(const Value& a, const Value& b, Heap& heap, int depth) {
  if (depth > kMaxValueDepth) return fail("values nested more than {} deep", kMaxValueDepth);
  FM_RETURN_IF_ERROR(heap.spend());
  if (a.is_text() && b.is_text()) {
    FM_RETURN_IF_ERROR(heap.spend_bytes(std::min(a.as_text().size(), b.as_text().size())));
    return a.as_text() < b.as_text();
  }
  if (a.to_integer() && b.to_integer()) return *a.to_integer() < *b.to_integer();
  if (a.is_number() && b.is_number()) return *a.to_real() < *b.to_real();
  if (a.list() == nullptr || b.list() == nullptr || a.list()->is_tuple != b.list()->is_tuple) {
    if (a.is_undefined()) return wrong_type("", a);
    if (b.is_undefined()) return wrong_type("", b);
    return fail("'<' not supported between {} and {}", a.type_name(), b.type_name());
  }
  const auto& x = a.list()->items;
  const auto& y = b.list()->items;
  for (std::size_t i = 0; i < x.size() && i < y.size(); ++i) {
    FM_ASSIGN_OR_RETURN(const bool same, equal_at(x[i], y[i], heap, depth + 1));
    if (!same) return less_at(x[i], y[i], heap, depth + 1);
  }
  return x.size() < y.size();
}

std::string_view symbol(Operator op) {
  switch (op) {
    case Operator::kAdd:
      return "+";
    case Operator::kSubtract:
      return "-";
    case Operator::kMultiply:
      return "*";
    case Operator::kDivide:
      return "/";
    case Operator::kFloorDivide:
      return "//";
    case Operator::kModulo:
      return "%";
    default:
      return "**";
  }
}

Status unsupported_operands(Operator op, const Value& a, const Value& b) {
  if (a.is_undefined()) return wrong_type("", a);
  if (b.is_undefined()) return wrong_type("", b);
  return fail("'{}' not supported between {} and {}", symbol(op), a.type_name(), b.type_name());
}

Result<Value> integer_power(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) {
    return Value::real(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  std::int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) {
      return fail("integer result beyond 64 bits");
    }
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) {
      return fail("integer result beyond 64 bits");
    }
  }
  return Value::integer(result);
}

// Python floors the quotient, and the remainder has the divisor's sign.
Result<Value> integer_division(Operator op, std::int64_t a, std::int64_t b) {
  if (b == 0) return fail("division by zero");
  if (op == Operator::kDivide) {
    return Value::real(static_cast<double>(a) / static_cast<double>(b));
  }
  if (b == -1) {  // the one divisor whose quotient can overflow
    if (op == Operator::kModulo) return Value::integer(0);
    if (a == std::numeric_limits<std::int64_t>::min()) return fail("integer result beyond 64 bits");
    return Value::integer(-a);
  }
  const std::int64_t remainder = a % b;
  const bool rounds_up = remainder != 0 && (remainder < 0) != (b < 0);
  if (op == Operator::kModulo) return Value::integer(rounds_up ? remainder + b : remainder);
  return Value::integer(a / b - (rounds_up ? 1 : 0));
}

Result<Value> integer_arithmetic(Operator op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  bool overflows = false;
  switch (op) {
    case Operator::kAdd:
      overflows = __builtin_add_overflow(a, b, &result);
      break;
    case Operator::kSubtract:
      overflows = __builtin_sub_overflow(a, b, &result);
      break;
    case Operator::kMultiply:
      overflows = __builtin_mul_overflow(a, b, &result);
      break;
    case Operator::kPower:
      return integer_power(a, b);
    default:
      return integer_division(op, a, b);
  }
  if (overflows) return fail("integer result beyond 64 bits");
  return Value::integer(result);
}

Result<Value> real_arithmetic(Operator op, double a, double b) {
  switch (op) {
    case Operator::kAdd:
      return Value::real(a + b);
    case Operator::kSubtract:
      return Value::real(a - b);
    case Operator::kMultiply:
      return Value::real(a * b);
    case Operator::kPower:
      return Value::real(std::pow(a, b));
    default:
      break;
  }
  if (b == 0) return fail("division by zero");
  if (op == Operator::kDivide) return Value::real(a / b);
  double remainder = std::fmod(a, b);
  if (remainder != 0 && (remainder < 0) != (b < 0)) remainder += b;
  if (op == Operator::kModulo) return Value::real(remainder);
  return Value::real(std::round((a - remainder) / b));
}

Result<Value> repeat(const Value& value, std::int64_t count, Heap& heap) {
  const auto times = static_cast<std::size_t>(count < 0 ? 0 : count);
  const std::size_t unit =
      value.is_text() ? value.as_text().size() : value.list()->items.size() * sizeof(Value);
  if (unit != 0 && times > heap.limits().memory_bytes / unit) {
    return heap.reserve(heap.limits().memory_bytes + 1);
  }
  FM_RETURN_IF_ERROR(heap.reserve(unit * times));
  FM_RETURN_IF_ERROR(heap.spend_bytes(unit * times));
  if (value.is_text()) {
    MarkedText text;
    text.reserve(unit * times);
    for (std::size_t i = 0; i < times && unit > 0; ++i) text.append(value.marked_text());
    return heap.text(std::move(text));
  }
  std::vector<Value> items;
  for (std::size_t i = 0; i < times && unit > 0; ++i) {
    items.insert(items.end(), value.list()->items.begin(), value.list()->items.end());
  }
  return heap.list(std::move(items), value.list()->is_tuple);
}

Result<Value> join_lists(const List& a, const List& b, Heap& heap) {
  FM_RETURN_IF_ERROR(heap.spend_bytes((a.items.size() + b.items.size()) * sizeof(Value)));
  std::vector<Value> items = a.items;
  items.insert(items.end(), b.items.begin(), b.items.end());
  return heap.list(std::move(items), a.is_tuple);
}

}  // namespace

Result<bool> equal(const Value& a, const Value& b, Heap& heap) { return equal_at(a, b, heap, 0); }

Result<bool> less(const Value& a, const Value& b, Heap& heap) { return less_at(a, b, heap, 0); }

Result<bool> contains(const Value& haystack, const Value& needle, Heap& heap) {
  if (haystack.is_undefined()) return false;
  if (haystack.is_text()) {
    if (!needle.is_text()) return wrong_type("'in' a str needs a str", needle);
    FM_RETURN_IF_ERROR(heap.spend_on_search(haystack.as_text(), needle.as_text()));
    return haystack.as_text().find(needle.as_text()) != std::string::npos;
  }
  if (haystack.dict() != nullptr) {
    if (needle.list() != nullptr || needle.dict() != nullptr) {
      return wrong_type("a dict key must be a str or number", needle);
    }
    FM_RETURN_IF_ERROR(heap.spend_on_key(needle));
    return haystack.dict()->find(needle) != nullptr;
  }
  if (haystack.list() == nullptr) return wrong_type("'in' needs a str, list or dict", haystack);
  for (const Value& item : haystack.list()->items) {
    FM_ASSIGN_OR_RETURN(const bool same, equal(item, needle, heap));
    if (same) return true;
  }
  return false;
}

Result<bool> compare(Operator op, const Value& a, const Value& b, Heap& heap) {
  const auto negate = [](Result<bool> result) -> Result<bool> {
    FM_ASSIGN_OR_RETURN(const bool value, std::move(result));
    return !value;
  };
  switch (op) {
    case Operator::kEqual:
      return equal(a, b, heap);
    case Operator::kNotEqual:
      return negate(equal(a, b, heap));
    case Operator::kIn:
      return contains(b, a, heap);
    case Operator::kNotIn:
      return negate(contains(b, a, heap));
    default:
      break;
  }
  const bool has_nan =
      (a.is_real() && std::isnan(a.as_real())) || (b.is_real() && std::isnan(b.as_real()));
  if (has_nan && a.is_number() && b.is_number()) return false;
  if (op == Operator::kLess) return less(a, b, heap);
  if (op == Operator::kGreater) return less(b, a, heap);
  return op == Operator::kLessEqual ? negate(less(b, a, heap)) : negate(less(a, b, heap));
}

Result<Value> arithmetic(Operator op, const Value& a, const Value& b, Heap& heap) {
  if (op == Operator::kModulo && a.is_text()) return percent_format(a.marked_text(), b, heap);
  if (a.to_integer() && b.to_integer()) {
    return integer_arithmetic(op, *a.to_integer(), *b.to_integer());
  }
  if (a.is_number() && b.is_number()) return real_arithmetic(op, *a.to_real(), *b.to_real());
  if (op == Operator::kAdd && a.is_text() && b.is_text()) {
    FM_RETURN_IF_ERROR(heap.spend_bytes(a.as_text().size() + b.as_text().size()));
    MarkedText sum;
    sum.reserve(a.as_text().size() + b.as_text().size());
    sum.append(a.marked_text());
    sum.append(b.marked_text());
    return heap.text(std::move(sum));
  }
  if (op == Operator::kAdd && a.list() != nullptr && b.list() != nullptr &&
      a.list()->is_tuple == b.list()->is_tuple) {
    return join_lists(*a.list(), *b.list(), heap);
  }
  const auto is_sequence = [](const Value& v) { return v.is_text() || v.list() != nullptr; };
  if (op == Operator::kMultiply && is_sequence(a) && b.to_integer()) {
    return repeat(a, *b.to_integer(), heap);
  }
  if (op == Operator::kMultiply && is_sequence(b) && a.to_integer()) {
    return repeat(b, *a.to_integer(), heap);
  }
  return unsupported_operands(op, a, b);
}

}  // namespace flashmoe::jinja
