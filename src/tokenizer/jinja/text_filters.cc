#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/json.h"
#include "tokenizer/jinja/operations.h"
#include "tokenizer/jinja/printing.h"
#include "tokenizer/jinja/text.h"
#include "tokenizer/jinja/text_builtins.h"

namespace flashmoe::jinja {
namespace {

// Indentation beyond this many spaces is refused rather than written.
constexpr std::int64_t kMaxIndent = 256;

template <CharacterMap kMap>
Result<Value> map_text(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_RETURN_IF_ERROR(BoundArguments::bind("filter", arguments, {}).status());
  FM_ASSIGN_OR_RETURN(const Value text, to_str(self, runtime.heap));
  return runtime.heap.text(map_characters(text.marked_text(), kMap));
}

Result<Value> string_filter(Runtime& runtime, const Value& self, const Arguments&) {
  return to_str(self, runtime.heap);
}

Result<Value> trim(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("trim", arguments, {"chars"}));
  FM_ASSIGN_OR_RETURN(const Value value, to_str(self, runtime.heap));
  const MarkedText& text = value.marked_text();
  if (!args.has(0) || args[0]->is_none()) {
    return runtime.heap.part_of(text, strip(text.bytes(), Side::kBoth));
  }
  FM_ASSIGN_OR_RETURN(const std::string_view characters, args.text(0));
  FM_RETURN_IF_ERROR(runtime.heap.spend_on_search(text.bytes(), characters));
  return runtime.heap.part_of(text, strip(text.bytes(), Side::kBoth, characters));
}

// jinja2's title: words also begin after brackets and dashes.
char32_t title_word_character(char32_t c, std::optional<char32_t> previous) {
  static constexpr std::string_view kWordBreaks = "-({[<";
  const bool begins_word =
      !previous || is_space(*previous) ||
      (*previous < 0x80 && kWordBreaks.find(static_cast<char>(*previous)) != kWordBreaks.npos);
  return capitalize_character(c, begins_word ? std::nullopt : previous);
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

Result<Value> escape_filter(Runtime& runtime, const Value& self, const Arguments&) {
  FM_ASSIGN_OR_RETURN(const Value value, to_str(self, runtime.heap));
  const MarkedText& text = value.marked_text();
  MarkedText out;
  text.for_each_run(0, text.size(), [&](std::size_t begin, std::size_t end, Origin origin) {
    out.append(escape_html(std::string_view(text.bytes()).substr(begin, end - begin)), origin);
  });
  return runtime.heap.text(std::move(out));
}

Result<Value> replace_filter(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args,
                      BoundArguments::bind("replace", arguments, {"old", "new", "count"}));
  FM_RETURN_IF_ERROR(args.required(1).status());
  FM_ASSIGN_OR_RETURN(const Value text, to_str(self, runtime.heap));
  FM_ASSIGN_OR_RETURN(const Value from, to_str(args.value_or(0, Value()), runtime.heap));
  FM_ASSIGN_OR_RETURN(const Value to, to_str(*args[1], runtime.heap));
  FM_ASSIGN_OR_RETURN(const std::int64_t count, args.integer_or(2, -1));
  return replace_text(text.marked_text(), from.as_text(), to.marked_text(), count, runtime.heap);
}

Result<Value> center(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("center", arguments, {"width"}));
  FM_ASSIGN_OR_RETURN(const Value text, to_str(self, runtime.heap));
  FM_ASSIGN_OR_RETURN(const std::int64_t width, args.integer_or(0, 80));
  return pad_text(text.marked_text(), width, Align::kCenter, MarkedText(" ", Origin::kTemplate),
                  runtime.heap);
}

// An indentation given as a count of spaces or as a string.
Result<MarkedText> indentation(const Value& width) {
  if (width.is_text()) {
    if (width.as_text().size() > static_cast<std::size_t>(kMaxIndent)) {
      return fail("indentation beyond {} characters", kMaxIndent);
    }
    return width.marked_text();
  }
  const auto count = width.to_integer();
  if (!count) return wrong_type("indentation must be an int or str", width);
  if (*count > kMaxIndent) return fail("indentation beyond {} characters", kMaxIndent);
  return MarkedText(std::string(static_cast<std::size_t>(*count < 0 ? 0 : *count), ' '),
                    Origin::kTemplate);
}

Result<Value> indent(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args,
                      BoundArguments::bind("indent", arguments, {"width", "first", "blank"}));
  FM_ASSIGN_OR_RETURN(const MarkedText by, indentation(args.value_or(0, Value::integer(4))));
  if (!self.is_text()) return wrong_type("indent needs a str", self);
  MarkedText text = self.marked_text();
  text.append_joint("\n");  // as jinja2: a final newline of the text leaves an empty last line
  const bool indents_blank = args.flag(2, false);
  MarkedText out;
  if (args.flag(1, false)) out.append(by);
  bool is_first = true;
  for (const std::string_view line : split_lines(text.bytes())) {
    if (!is_first) {
      out.append_joint("\n");
      if (indents_blank || !line.empty()) out.append(by);
    }
    is_first = false;
    out.append_part(text, line);
    FM_RETURN_IF_ERROR(runtime.heap.spend_bytes(by.size() + line.size()));
    FM_RETURN_IF_ERROR(runtime.heap.reserve(out.heap_bytes()));
  }
  return runtime.heap.text(std::move(out));
}

Result<Value> format_filter(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const Value text, to_str(self, runtime.heap));
  if (!arguments.named.empty()) {
    if (!arguments.positional.empty()) return fail("format: positional and named arguments mixed");
    Dict* values = runtime.heap.dict();
    for (const auto& [name, value] : arguments.named) values->set(runtime.heap.text(name), value);
    return percent_format(text.marked_text(), Value::object(values), runtime.heap);
  }
  return percent_format(text.marked_text(), runtime.heap.tuple(arguments.positional), runtime.heap);
}

Result<Value> wordcount(Runtime& runtime, const Value& self, const Arguments&) {
  FM_ASSIGN_OR_RETURN(const Value text, to_str(self, runtime.heap));
  std::int64_t count = 0;
  bool in_word = false;
  for (std::string_view rest = text.as_text(); !rest.empty();) {
    const CodePoint c = decode(rest);
    const bool is_word = is_letter_or_digit(c.value) || c.value == '_';
    if (is_word && !in_word) ++count;
    in_word = is_word;
    rest.remove_prefix(c.size);
  }
  return Value::integer(count);
}

Result<Value> tojson(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args,
                      BoundArguments::bind("tojson", arguments,
                                           {"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonStyle style{.ensure_ascii = args.flag(0, false), .sort_keys = args.flag(3, false)};
  Origin style_origin = Origin::kTemplate;
  if (args.has(1) && !args[1]->is_none()) {
    FM_ASSIGN_OR_RETURN(const MarkedText indent, indentation(*args[1]));
    style.indent = indent.bytes();
    style_origin = indent.least_trusted();
    style.item_separator = std::string(",");  // g++ 12 warns of assigning the literal
  }
  if (args.has(2) && !args[2]->is_none()) {
    FM_ASSIGN_OR_RETURN(const auto separators, items_of(*args[2], runtime.heap));
    if (separators.size() != 2 || !separators[0].is_text() || !separators[1].is_text()) {
      return fail("tojson: separators must be two strings");
    }
    style.item_separator = separators[0].as_text();
    style.key_separator = separators[1].as_text();
    for (const Value& separator : separators) {
      style_origin = std::max(style_origin, separator.marked_text().least_trusted());
    }
  }
  MarkedText out;
  FM_RETURN_IF_ERROR(append_json(self, style, runtime.heap, out));
  if (style_origin != Origin::kTemplate) {
    const Origin origin = std::max(style_origin, out.least_trusted());
    out = MarkedText(std::move(out).take_bytes(), origin);
  }
  return runtime.heap.text(std::move(out));
}

// Not in Jinja2; some templates expect the engine to add it.
Result<Value> from_json_filter(Runtime& runtime, const Value& self, const Arguments&) {
  if (!self.is_text()) return wrong_type("from_json needs a str", self);
  FM_RETURN_IF_ERROR(runtime.heap.spend_bytes(self.as_text().size()));
  FM_RETURN_IF_ERROR(runtime.heap.reserve(self.as_text().size() * 16));
  const auto json = nlohmann::ordered_json::parse(self.as_text(), nullptr, false);
  if (json.is_discarded()) return fail("from_json: not valid JSON");
  return from_json(json, runtime.heap, self.marked_text().least_trusted());
}

}  // namespace

const BuiltinTable& text_filters() {
  static const BuiltinTable kTable = {
      {"capitalize", map_text<capitalize_character>},
      {"center", center},
      {"e", escape_filter},
      {"escape", escape_filter},
      {"format", format_filter},
      {"from_json", from_json_filter},
      {"indent", indent},
      {"lower", map_text<lower_character>},
      {"replace", replace_filter},
      {"safe", string_filter},
      {"string", string_filter},
      {"title", map_text<title_word_character>},
      {"tojson", tojson},
      {"trim", trim},
      {"upper", map_text<upper_character>},
      {"wordcount", wordcount},
  };
  return kTable;
}

}  // namespace flashmoe::jinja
