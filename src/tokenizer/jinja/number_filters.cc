#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/operations.h"
#include "tokenizer/jinja/text.h"

namespace flashmoe::jinja {
namespace {

std::optional<std::int64_t> parse_integer(std::string_view text, int base) {
  text = strip(text, Side::kBoth);
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  const bool has_prefix =
      text.size() > 2 && text[0] == '0' &&
      ((base == 16 && (text[1] | 0x20) == 'x') || (base == 8 && (text[1] | 0x20) == 'o') ||
       (base == 2 && (text[1] | 0x20) == 'b'));
  if (has_prefix) text.remove_prefix(2);
  std::int64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || failure != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

std::optional<std::int64_t> truncate(std::optional<double> value) {
  if (!value || !(std::abs(*value) < 9.2e18)) return std::nullopt;
  return static_cast<std::int64_t>(*value);
}

Result<Value> int_filter(Runtime&, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("int", arguments, {"default", "base"}));
  FM_ASSIGN_OR_RETURN(const std::int64_t base, args.integer_or(1, 10));
  if (base < 2 || base > 36) return fail("int: base must be 2 to 36");
  const Value fallback = args.value_or(0, Value::integer(0));
  std::optional<std::int64_t> number = self.to_integer();
  if (self.is_text()) {
    number = parse_integer(self.as_text(), static_cast<int>(base));
    if (!number) number = truncate(parse_real(strip(self.as_text(), Side::kBoth)));
  } else if (self.is_real()) {
    number = truncate(self.as_real());
  } else if (self.is_undefined()) {
    return wrong_type("", self);
  }
  return number ? Value::integer(*number) : fallback;
}

Result<Value> float_filter(Runtime&, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("float", arguments, {"default"}));
  if (self.is_undefined()) return wrong_type("", self);
  const auto number =
      self.is_text() ? parse_real(strip(self.as_text(), Side::kBoth)) : self.to_real();
  return number ? Value::real(*number) : args.value_or(0, Value::real(0));
}

Result<Value> abs_filter(Runtime& runtime, const Value& self, const Arguments&) {
  if (self.is_real()) return Value::real(std::abs(self.as_real()));
  const auto number = self.to_integer();
  if (!number) return wrong_type("abs needs a number", self);
  if (*number >= 0) return Value::integer(*number);
  return arithmetic(Operator::kSubtract, Value::integer(0), Value::integer(*number), runtime.heap);
}

Result<Value> round_filter(Runtime&, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args,
                      BoundArguments::bind("round", arguments, {"precision", "method"}));
  FM_ASSIGN_OR_RETURN(const std::int64_t precision, args.integer_or(0, 0));
  FM_ASSIGN_OR_RETURN(const std::string_view method, args.text(1));
  if (precision < -300 || precision > 300) return fail("round: precision beyond 300 digits");
  const auto number = self.to_real();
  if (!number) return wrong_type("round needs a number", self);
  if (method == "ceil" || method == "floor") {
    const double scale = std::pow(10.0, static_cast<double>(precision));
    const double scaled = *number * scale;
    return Value::real((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
  }
  if (!method.empty() && method != "common")
    return fail("round: method must be common, ceil or floor");
  if (!self.is_real() && precision >= 0) return Value::integer(*self.to_integer());
  if (precision < 0) {
    const double scale = std::pow(10.0, static_cast<double>(-precision));
    const double rounded = std::nearbyint(*number / scale) * scale;
    if (self.is_real()) return Value::real(rounded);
    const auto whole = truncate(rounded);
    return whole ? Value::integer(*whole) : self;
  }
  // printf rounds the exact binary value half to even, as Python's round() does.
  std::array<char, 1024> buffer;
  std::snprintf(buffer.data(), buffer.size(), "%.*f", static_cast<int>(precision), *number);
  return Value::real(std::strtod(buffer.data(), nullptr));
}

}  // namespace

const BuiltinTable& number_filters() {
  static const BuiltinTable kTable = {
      {"abs", abs_filter},
      {"float", float_filter},
      {"int", int_filter},
      {"round", round_filter},
  };
  return kTable;
}

}  // namespace flashmoe::jinja
