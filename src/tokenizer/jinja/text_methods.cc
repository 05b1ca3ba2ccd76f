#include <algorithm>
#include <charconv>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/operations.h"
#include "tokenizer/jinja/printing.h"
#include "tokenizer/jinja/text.h"
#include "tokenizer/jinja/text_builtins.h"

namespace flashmoe::jinja {
namespace {

constexpr std::size_t kPartBytes = 128;  // of one split part on the heap, beside its characters

template <CharacterMap kMap>
Result<Value> map_method(Runtime& runtime, const Value& self, const Arguments&) {
  FM_RETURN_IF_ERROR(runtime.heap.spend_bytes(self.as_text().size()));
  return runtime.heap.text(map_characters(self.marked_text(), kMap));
}

template <bool (*Kind)(char32_t)>
Result<Value> all_method(Runtime& runtime, const Value& self, const Arguments&) {
  FM_RETURN_IF_ERROR(runtime.heap.spend_bytes(self.as_text().size()));
  return Value::boolean(is_all(self.as_text(), Kind));
}

template <bool kUpper>
Result<Value> cased_method(Runtime& runtime, const Value& self, const Arguments&) {
  FM_RETURN_IF_ERROR(runtime.heap.spend_bytes(self.as_text().size()));
  return Value::boolean(is_cased(self.as_text(), kUpper));
}

template <Side kSide>
Result<Value> strip_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("strip", arguments, {"chars"}));
  FM_RETURN_IF_ERROR(runtime.heap.spend_bytes(self.as_text().size()));
  const MarkedText& text = self.marked_text();
  if (!args.has(0) || args[0]->is_none()) {
    return runtime.heap.part_of(text, strip(text.bytes(), kSide));
  }
  FM_ASSIGN_OR_RETURN(const std::string_view characters, args.text(0));
  FM_RETURN_IF_ERROR(runtime.heap.spend_on_search(text.bytes(), characters));
  return runtime.heap.part_of(text, strip(text.bytes(), kSide, characters));
}

// Pieces between runs of whitespace, at most `limit` splits; from the right if `from_right`.
std::vector<std::string_view> split_space(std::string_view text, std::size_t limit,
                                          bool from_right) {
  std::vector<std::string_view> parts;
  const Side near = from_right ? Side::kRight : Side::kLeft;
  text = strip(text, near);
  while (!text.empty()) {
    if (parts.size() == limit) {
      parts.push_back(text);
      break;
    }
    std::string_view word = text;
    std::size_t size = 0;
    while (!word.empty()) {
      const CodePoint c = from_right ? decode_last(word) : decode(word);
      if (is_space(c.value)) break;
      size += c.size;
      from_right ? word.remove_suffix(c.size) : word.remove_prefix(c.size);
    }
    parts.push_back(from_right ? text.substr(text.size() - size) : text.substr(0, size));
    text = strip(word, near);
  }
  return parts;
}

std::vector<std::string_view> split_at(std::string_view text, std::string_view separator,
                                       std::size_t limit, bool from_right) {
  std::vector<std::string_view> parts;
  while (parts.size() < limit) {
    const std::size_t found = from_right ? text.rfind(separator) : text.find(separator);
    if (found == std::string_view::npos) break;
    const std::size_t behind = found + separator.size();
    parts.push_back(from_right ? text.substr(behind) : text.substr(0, found));
    text = from_right ? text.substr(0, found) : text.substr(behind);
  }
  parts.push_back(text);
  return parts;
}

Result<Value> make_list(const MarkedText& whole, const std::vector<std::string_view>& parts,
                        Heap& heap) {
  FM_RETURN_IF_ERROR(heap.reserve(parts.size() * kPartBytes));
  FM_RETURN_IF_ERROR(heap.spend(parts.size()));
  std::vector<Value> items;
  items.reserve(parts.size());
  for (const std::string_view part : parts) items.push_back(heap.part_of(whole, part));
  return heap.list(std::move(items));
}

template <bool kFromRight>
Result<Value> split(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args,
                      BoundArguments::bind("split", arguments, {"sep", "maxsplit"}));
  FM_ASSIGN_OR_RETURN(const std::int64_t count_max, args.integer_or(1, -1));
  const std::string& text = self.as_text();
  FM_RETURN_IF_ERROR(runtime.heap.spend_bytes(text.size()));
  const std::size_t limit = count_max < 0 ? text.size() + 1 : static_cast<std::size_t>(count_max);
  std::vector<std::string_view> parts;
  if (!args.has(0) || args[0]->is_none()) {
    parts = split_space(text, limit, kFromRight);
  } else {
    FM_ASSIGN_OR_RETURN(const std::string_view separator, args.text(0));
    if (separator.empty()) return fail("split: empty separator");
    FM_RETURN_IF_ERROR(runtime.heap.spend_on_search(text, separator));
    parts = split_at(text, separator, limit, kFromRight);
  }
  if (kFromRight) std::reverse(parts.begin(), parts.end());
  return make_list(self.marked_text(), parts, runtime.heap);
}

Result<Value> splitlines(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("splitlines", arguments, {"keepends"}));
  std::vector<std::string_view> lines = split_lines(self.as_text());
  if (args.flag(0, false)) {
    const char* const end = self.as_text().data() + self.as_text().size();
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const char* const next = i + 1 < lines.size() ? lines[i + 1].data() : end;
      lines[i] = {lines[i].data(), static_cast<std::size_t>(next - lines[i].data())};
    }
  }
  return make_list(self.marked_text(), lines, runtime.heap);
}

template <bool kFromRight>
Result<Value> partition(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("partition", arguments, {"sep"}));
  FM_ASSIGN_OR_RETURN(const std::string_view separator, args.text(0));
  if (separator.empty()) return fail("partition: empty separator");
  FM_RETURN_IF_ERROR(runtime.heap.spend_on_search(self.as_text(), separator));
  Heap& heap = runtime.heap;
  const std::string_view text = self.as_text();
  const std::size_t at = kFromRight ? text.rfind(separator) : text.find(separator);
  if (at == std::string_view::npos) {
    const Value empty = heap.text(MarkedText());
    if (kFromRight) return heap.tuple({empty, empty, self});
    return heap.tuple({self, empty, empty});
  }
  const auto part = [&](std::size_t begin, std::size_t size) {
    return heap.part_of(self.marked_text(), text.substr(begin, size));
  };
  return heap.tuple({part(0, at), part(at, separator.size()),
                     part(at + separator.size(), std::string_view::npos)});
}

// startswith and endswith take one string or a tuple of them.
template <bool kEnd>
Result<Value> has_affix(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args,
                      BoundArguments::bind(kEnd ? "endswith" : "startswith", arguments, {"affix"}));
  FM_ASSIGN_OR_RETURN(const Value affix, args.required(0));
  const auto matches = [&](const Value& v) {
    return kEnd ? self.as_text().ends_with(v.as_text()) : self.as_text().starts_with(v.as_text());
  };
  if (affix.is_text()) {
    FM_RETURN_IF_ERROR(runtime.heap.spend_bytes(affix.as_text().size()));
    return Value::boolean(matches(affix));
  }
  if (affix.list() == nullptr || !affix.list()->is_tuple) {
    return wrong_type("startswith and endswith need a str", affix);
  }
  bool found = false;
  FM_RETURN_IF_ERROR(runtime.heap.spend(affix.list()->items.size()));
  for (const Value& item : affix.list()->items) {
    if (!item.is_text()) return wrong_type("startswith and endswith need strings", item);
    FM_RETURN_IF_ERROR(runtime.heap.spend_bytes(item.as_text().size()));
    found = found || matches(item);
  }
  return Value::boolean(found);
}

template <bool kSuffix>
Result<Value> remove_affix(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("removeprefix", arguments, {"affix"}));
  FM_ASSIGN_OR_RETURN(const std::string_view affix, args.text(0));
  std::string_view text = self.as_text();
  if (kSuffix && text.ends_with(affix)) text.remove_suffix(affix.size());
  if (!kSuffix && text.starts_with(affix)) text.remove_prefix(affix.size());
  return runtime.heap.part_of(self.marked_text(), text);
}

Result<Value> replace(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args,
                      BoundArguments::bind("replace", arguments, {"old", "new", "count"}));
  FM_RETURN_IF_ERROR(args.required(1).status());
  FM_ASSIGN_OR_RETURN(const std::string_view from, args.text(0));
  FM_RETURN_IF_ERROR(args.text(1).status());
  FM_ASSIGN_OR_RETURN(const std::int64_t count, args.integer_or(2, -1));
  return replace_text(self.marked_text(), from, args[1]->marked_text(), count, runtime.heap);
}

Result<Value> join(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("join", arguments, {"iterable"}));
  FM_ASSIGN_OR_RETURN(const Value iterable, args.required(0));
  FM_ASSIGN_OR_RETURN(const auto items, items_of(iterable, runtime.heap));
  for (const Value& item : items) {
    if (!item.is_text()) return wrong_type("str.join needs strings", item);
  }
  return join_text(self.marked_text(), items, runtime.heap);
}

// find, rfind, index and rindex, in code points.
template <bool kFromRight, bool kMustExist>
Result<Value> find(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("find", arguments, {"sub"}));
  FM_RETURN_IF_ERROR(args.required(0).status());
  FM_ASSIGN_OR_RETURN(const std::string_view part, args.text(0));
  const std::string_view text = self.as_text();
  FM_RETURN_IF_ERROR(runtime.heap.spend_on_search(text, part));
  const std::size_t at = kFromRight ? text.rfind(part) : text.find(part);
  if (at != std::string_view::npos) {
    return Value::integer(static_cast<std::int64_t>(count_code_points(text.substr(0, at))));
  }
  if (kMustExist) return fail("substring not found");
  return Value::integer(-1);
}

Result<Value> count(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("count", arguments, {"sub"}));
  FM_RETURN_IF_ERROR(args.required(0).status());
  FM_ASSIGN_OR_RETURN(const std::string_view part, args.text(0));
  const std::string_view text = self.as_text();
  FM_RETURN_IF_ERROR(runtime.heap.spend_on_search(text, part));
  if (part.empty()) {
    return Value::integer(static_cast<std::int64_t>(count_code_points(text) + 1));
  }
  std::int64_t found_count = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos;
       at = text.find(part, at + part.size())) {
    ++found_count;
  }
  return Value::integer(found_count);
}

template <Align kAlign>
Result<Value> pad(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args,
                      BoundArguments::bind("ljust", arguments, {"width", "fillchar"}));
  FM_ASSIGN_OR_RETURN(const std::int64_t width, args.integer_or(0, 0));
  FM_ASSIGN_OR_RETURN(const std::string_view fill, args.text(1));
  if (args.has(1) && fill.size() != 1)
    return fail("the fill character must be one ASCII character");
  return pad_text(self.marked_text(), width, kAlign,
                  args.has(1) ? args[1]->marked_text() : MarkedText(" ", Origin::kTemplate),
                  runtime.heap);
}

// str.format with {}, {0} and {name}; format specifications and nested fields are not supported.
Result<Value> format(Runtime& runtime, const Value& self, const Arguments& arguments) {
  MarkedText out;
  std::size_t next_index = 0;
  for (std::string_view rest = self.as_text(); !rest.empty();) {
    const std::size_t brace = rest.find_first_of("{}");
    out.append_part(self.marked_text(), rest.substr(0, brace));
    if (brace == std::string_view::npos) break;
    rest.remove_prefix(brace);
    FM_RETURN_IF_ERROR(runtime.heap.spend());
    if (rest.starts_with("{{") || rest.starts_with("}}")) {
      out.append_part(self.marked_text(), rest.substr(0, 1));
      rest.remove_prefix(2);
      continue;
    }
    const std::size_t close = rest.find('}');
    if (rest[0] == '}' || close == std::string_view::npos) return fail("format: single brace");
    const std::string_view field = rest.substr(1, close - 1);
    rest.remove_prefix(close + 1);
    if (field.find_first_of("{!:.[") != std::string_view::npos) {
      return fail("format: field '{}' is not supported", field);
    }
    std::size_t index = 0;
    const auto [end, failure] = std::from_chars(field.data(), field.data() + field.size(), index);
    const bool is_index = failure == std::errc() && end == field.data() + field.size();
    if (field.empty() || is_index) {
      if (field.empty()) index = next_index++;
      if (index >= arguments.positional.size()) return fail("format: no argument {}", index);
      FM_RETURN_IF_ERROR(append_str(arguments.positional[index], runtime.heap, out));
      continue;
    }
    const auto found =
        std::find_if(arguments.named.begin(), arguments.named.end(),
                     [&](const auto& entry) { return entry.first.bytes() == field; });
    if (found == arguments.named.end()) return fail("format: no argument '{}'", field);
    FM_RETURN_IF_ERROR(append_str(found->second, runtime.heap, out));
  }
  return runtime.heap.text(std::move(out));
}

}  // namespace

const BuiltinTable& text_methods() {
  static const BuiltinTable kTable = {
      {"capitalize", map_method<capitalize_character>},
      {"center", pad<Align::kCenter>},
      {"count", count},
      {"endswith", has_affix<true>},
      {"find", find<false, false>},
      {"format", format},
      {"index", find<false, true>},
      {"isalnum", all_method<is_letter_or_digit>},
      {"isalpha", all_method<is_letter>},
      {"isdecimal", all_method<is_digit>},
      {"isdigit", all_method<is_digit>},
      {"islower", cased_method<false>},
      {"isnumeric", all_method<is_digit>},
      {"isspace", all_method<is_space>},
      {"isupper", cased_method<true>},
      {"join", join},
      {"ljust", pad<Align::kLeft>},
      {"lower", map_method<lower_character>},
      {"lstrip", strip_method<Side::kLeft>},
      {"partition", partition<false>},
      {"removeprefix", remove_affix<false>},
      {"removesuffix", remove_affix<true>},
      {"replace", replace},
      {"rfind", find<true, false>},
      {"rindex", find<true, true>},
      {"rjust", pad<Align::kRight>},
      {"rpartition", partition<true>},
      {"rsplit", split<true>},
      {"rstrip", strip_method<Side::kRight>},
      {"split", split<false>},
      {"splitlines", splitlines},
      {"startswith", has_affix<false>},
      {"strip", strip_method<Side::kBoth>},
      {"title", map_method<title_character>},
      {"upper", map_method<upper_character>},
  };
  return kTable;
}

}  // namespace flashmoe::jinja
