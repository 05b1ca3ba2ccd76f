#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "tokenizer/jinja/operations.h"
#include "tokenizer/jinja/printing.h"
#include "tokenizer/jinja/text.h"

namespace flashmoe::jinja {
namespace {

// A width or precision beyond this is refused rather than padded.
constexpr int kMaxWidth = 1000;

struct Spec {
  bool left = false;
  bool plus = false;
  bool space = false;
  bool zero = false;
  bool alternate = false;
  int width = 0;
  int precision = -1;
  char kind = 's';
};

// Walks over one format string; values come from a tuple in order, or from a dict by name.
class Formatter {
 public:
  Formatter(const MarkedText& format, const Value& values, Heap& heap)
      : format_(format), rest_(format.bytes()), values_(values), heap_(heap) {}

  Result<Value> run();

 private:
  Result<Spec> parse_spec();
  Result<int> parse_count();
  Result<Value> next_value();
  Result<MarkedText> convert(const Spec& spec, const Value& value);
  static Result<std::string> convert_integer(const Spec& spec, const Value& value);
  static Result<std::string> convert_real(const Spec& spec, const Value& value);
  void append_padded(const Spec& spec, const MarkedText& text);
  void append_own(std::string_view text) { out_.append(text, Origin::kTemplate); }

  const MarkedText& format_;
  std::string_view rest_;
  const Value& values_;
  Heap& heap_;
  std::size_t used_count_ = 0;
  std::optional<Value> named_;
  MarkedText out_;
};

Result<int> Formatter::parse_count() {
  int count = 0;
  while (!rest_.empty() && rest_[0] >= '0' && rest_[0] <= '9') {
    count = count * 10 + (rest_[0] - '0');
    if (count > kMaxWidth) return fail("format width or precision beyond {}", kMaxWidth);
    rest_.remove_prefix(1);
  }
  return count;
}

// The part of a conversion behind '%': (name), flags, width, .precision, kind.
Result<Spec> Formatter::parse_spec() {
  Spec spec;
  named_.reset();
  if (rest_.starts_with("(")) {
    const std::size_t close = rest_.find(')');
    if (close == std::string_view::npos) return fail("incomplete format key");
    if (values_.dict() == nullptr) return fail("format requires a mapping");
    const Value* found = values_.dict()->find(heap_.part_of(format_, rest_.substr(1, close - 1)));
    if (found == nullptr) return fail("format key '{}' not found", rest_.substr(1, close - 1));
    named_ = *found;
    rest_.remove_prefix(close + 1);
  }
  for (; !rest_.empty(); rest_.remove_prefix(1)) {
    if (rest_[0] == '-') {
      spec.left = true;
    } else if (rest_[0] == '+') {
      spec.plus = true;
    } else if (rest_[0] == ' ') {
      spec.space = true;
    } else if (rest_[0] == '0') {
      spec.zero = true;
    } else if (rest_[0] == '#') {
      spec.alternate = true;
    } else {
      break;
    }
  }
  FM_ASSIGN_OR_RETURN(spec.width, parse_count());
  if (rest_.starts_with(".")) {
    rest_.remove_prefix(1);
    FM_ASSIGN_OR_RETURN(spec.precision, parse_count());
  }
  if (rest_.empty()) return fail("incomplete format");
  spec.kind = rest_[0];
  rest_.remove_prefix(1);
  return spec;
}

Result<Value> Formatter::next_value() {
  if (named_) return *named_;
  const List* list = values_.list();
  const std::size_t index = used_count_++;
  if (list != nullptr && list->is_tuple) {
    if (index < list->items.size()) return list->items[index];
  } else if (index == 0) {
    return values_;
  }
  return fail("not enough arguments for format string");
}

Result<std::string> Formatter::convert_integer(const Spec& spec, const Value& value) {
  std::optional<std::int64_t> number = value.to_integer();
  const bool is_decimal = spec.kind == 'd' || spec.kind == 'i' || spec.kind == 'u';
  if (!number && is_decimal && value.is_real() && std::abs(value.as_real()) < 9.2e18) {
    number = static_cast<std::int64_t>(value.as_real());
  }
  if (!number) return wrong_type(fmt::format("%{} needs a number", spec.kind), value);
  const bool is_negative = *number < 0;
  // Negation in unsigned arithmetic also holds for the smallest integer.
  const std::uint64_t size =
      is_negative ? 0 - static_cast<std::uint64_t>(*number) : static_cast<std::uint64_t>(*number);
  std::string digits = is_decimal         ? fmt::format("{}", size)
                       : spec.kind == 'x' ? fmt::format("{:x}", size)
                       : spec.kind == 'X' ? fmt::format("{:X}", size)
                                          : fmt::format("{:o}", size);
  if (spec.precision > static_cast<int>(digits.size())) {
    digits.insert(0, static_cast<std::size_t>(spec.precision) - digits.size(), '0');
  }
  if (spec.alternate && !is_decimal) digits.insert(0, std::string("0") + spec.kind);
  const char* sign = is_negative ? "-" : spec.plus ? "+" : spec.space ? " " : "";
  return sign + digits;
}

Result<std::string> Formatter::convert_real(const Spec& spec, const Value& value) {
  const auto number = value.to_real();
  if (!number) return wrong_type(fmt::format("%{} needs a number", spec.kind), value);
  std::string format = "%";
  if (spec.plus) format += '+';
  if (spec.space) format += ' ';
  if (spec.alternate) format += '#';
  format += ".*";
  format += spec.kind;
  const int precision = spec.precision < 0 ? 6 : spec.precision;
  // 309 digits before the point, kMaxWidth behind it.
  std::array<char, kMaxWidth + 400> buffer;
  std::snprintf(buffer.data(), buffer.size(), format.c_str(), precision, *number);
  return std::string(buffer.data());
}

Result<MarkedText> Formatter::convert(const Spec& spec, const Value& value) {
  switch (spec.kind) {
    case 's':
    case 'r': {
      MarkedText text;
      if (spec.kind == 's') {
        FM_RETURN_IF_ERROR(append_str(value, heap_, text));
      } else {
        FM_RETURN_IF_ERROR(append_repr(value, heap_, text));
      }
      if (spec.precision < 0) return text;
      const std::string_view bytes = text.bytes();
      MarkedText beginning;
      beginning.append_part(
          text, bytes.substr(0, offset_of(bytes, static_cast<std::size_t>(spec.precision))));
      return beginning;
    }
    case 'c':
      if (value.is_text() && count_code_points(value.as_text()) == 1) {
        return value.marked_text();
      }
      return wrong_type("%c needs one character", value);
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o': {
      FM_ASSIGN_OR_RETURN(std::string digits, convert_integer(spec, value));
      return MarkedText(std::move(digits), Origin::kTemplate);
    }
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G': {
      FM_ASSIGN_OR_RETURN(std::string digits, convert_real(spec, value));
      return MarkedText(std::move(digits), Origin::kTemplate);
    }
    default:
      return fail("unsupported format character '{}'", spec.kind);
  }
}

void Formatter::append_padded(const Spec& spec, const MarkedText& text) {
  const std::string_view bytes = text.bytes();
  const std::size_t length = count_code_points(bytes);
  const auto width = static_cast<std::size_t>(spec.width);
  const std::size_t missing = width > length ? width - length : 0;
  const bool is_text = spec.kind == 's' || spec.kind == 'r' || spec.kind == 'c';
  if (spec.left) {
    out_.append(text);
    append_own(std::string(missing, ' '));
  } else if (spec.zero && !is_text) {
    const bool has_sign = !bytes.empty() && (bytes[0] == '-' || bytes[0] == '+' || bytes[0] == ' ');
    append_own(bytes.substr(0, has_sign ? 1 : 0));
    append_own(std::string(missing, '0'));
    append_own(bytes.substr(has_sign ? 1 : 0));
  } else {
    append_own(std::string(missing, ' '));
    out_.append(text);
  }
}

Result<Value> Formatter::run() {
  while (!rest_.empty()) {
    const std::size_t percent = rest_.find('%');
    out_.append_part(format_, rest_.substr(0, percent));
    if (percent == std::string_view::npos) break;
    rest_.remove_prefix(percent + 1);
    if (rest_.starts_with("%")) {
      out_.append_part(format_, rest_.substr(0, 1));
      rest_.remove_prefix(1);
      continue;
    }
    FM_RETURN_IF_ERROR(heap_.spend());
    FM_ASSIGN_OR_RETURN(const Spec spec, parse_spec());
    FM_ASSIGN_OR_RETURN(const Value value, next_value());
    FM_ASSIGN_OR_RETURN(const MarkedText text, convert(spec, value));
    append_padded(spec, text);
    FM_RETURN_IF_ERROR(heap_.reserve(out_.size()));
  }
  const List* list = values_.list();
  const bool is_tuple = list != nullptr && list->is_tuple;
  const bool is_scalar = !is_tuple && list == nullptr && values_.dict() == nullptr;
  if ((is_tuple && used_count_ < list->items.size()) || (is_scalar && used_count_ == 0)) {
    return fail("not all arguments converted during string formatting");
  }
  return heap_.text(std::move(out_));
}

}  // namespace

Result<Value> percent_format(const MarkedText& format, const Value& values, Heap& heap) {
  return Formatter(format, values, heap).run();
}

}  // namespace flashmoe::jinja
