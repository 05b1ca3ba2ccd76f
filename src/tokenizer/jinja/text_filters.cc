#include <string>

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

template <std::string (*Map)(std::string_view)>
Result<Value> map_text(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_RETURN_IF_ERROR(BoundArguments::bind("filter", arguments, {}).status());
  FM_ASSIGN_OR_RETURN(const std::string text, to_str(self, runtime.heap));
  return runtime.heap.text(Map(text));
}

Result<Value> string_filter(Runtime& runtime, const Value& self, const Arguments&) {
  if (self.is_text()) return self;
  FM_ASSIGN_OR_RETURN(std::string text, to_str(self, runtime.heap));
  return runtime.heap.text(std::move(text));
}

Result<Value> trim(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("trim", arguments, {"chars"}));
  FM_ASSIGN_OR_RETURN(const std::string text, to_str(self, runtime.heap));
  if (!args.has(0) || args[0]->is_none()) return runtime.heap.text(strip(text, Side::kBoth));
  FM_ASSIGN_OR_RETURN(const std::string_view characters, args.text(0));
  FM_RETURN_IF_ERROR(runtime.heap.spend_on_search(text, characters));
  return runtime.heap.text(strip(text, Side::kBoth, characters));
}

// jinja2's title: words also begin after brackets and dashes.
std::string title_words(std::string_view text) {
  static constexpr std::string_view kWordBreaks = "-({[<";
  std::string out;
  std::size_t start = 0;
  const auto flush = [&](std::size_t end) { out += capitalize(text.substr(start, end - start)); };
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint c = decode(text.substr(i));
    const bool is_break =
        is_space(c.value) ||
        (c.value < 0x80 && kWordBreaks.find(static_cast<char>(c.value)) != kWordBreaks.npos);
    if (is_break) {
      flush(i);
      out += text.substr(i, c.size);
      start = i + c.size;
    }
    i += c.size;
  }
  flush(text.size());
  return out;
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

Result<Value> replace(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args,
                      BoundArguments::bind("replace", arguments, {"old", "new", "count"}));
  FM_RETURN_IF_ERROR(args.required(1).status());
  FM_ASSIGN_OR_RETURN(const std::string text, to_str(self, runtime.heap));
  FM_ASSIGN_OR_RETURN(const std::string from, to_str(args.value_or(0, Value()), runtime.heap));
  FM_ASSIGN_OR_RETURN(const std::string to, to_str(*args[1], runtime.heap));
  FM_ASSIGN_OR_RETURN(const std::int64_t count, args.integer_or(2, -1));
  return replace_text(text, from, to, count, runtime.heap);
}

Result<Value> center(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("center", arguments, {"width"}));
  FM_ASSIGN_OR_RETURN(const std::string text, to_str(self, runtime.heap));
  FM_ASSIGN_OR_RETURN(const std::int64_t width, args.integer_or(0, 80));
  return pad_text(text, width, Align::kCenter, ' ', runtime.heap);
}

// An indentation given as a count of spaces or as a string.
Result<std::string> indentation(const Value& width) {
  if (width.is_text()) {
    if (width.as_text().size() > static_cast<std::size_t>(kMaxIndent)) {
      return fail("indentation beyond {} characters", kMaxIndent);
    }
    return width.as_text();
  }
  const auto count = width.to_integer();
  if (!count) return wrong_type("indentation must be an int or str", width);
  if (*count > kMaxIndent) return fail("indentation beyond {} characters", kMaxIndent);
  return std::string(static_cast<std::size_t>(*count < 0 ? 0 : *count), ' ');
}

Result<Value> indent(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args,
                      BoundArguments::bind("indent", arguments, {"width", "first", "blank"}));
  FM_ASSIGN_OR_RETURN(const std::string by, indentation(args.value_or(0, Value::integer(4))));
  if (!self.is_text()) return wrong_type("indent needs a str", self);
  std::string text = self.as_text();
  text += '\n';  // as jinja2: a final newline of the text leaves an empty last line
  const bool indents_blank = args.flag(2, false);
  std::string out = args.flag(1, false) ? by : "";
  bool is_first = true;
  for (const std::string_view line : split_lines(text)) {
    if (!is_first) {
      out += '\n';
      if (indents_blank || !line.empty()) out += by;
    }
    is_first = false;
    out += line;
    FM_RETURN_IF_ERROR(runtime.heap.spend_bytes(by.size() + line.size()));
    FM_RETURN_IF_ERROR(runtime.heap.reserve(out.size()));
  }
  return runtime.heap.text(std::move(out));
}

Result<Value> format(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const std::string text, to_str(self, runtime.heap));
  if (!arguments.named.empty()) {
    if (!arguments.positional.empty()) return fail("format: positional and named arguments mixed");
    Dict* values = runtime.heap.dict();
    for (const auto& [name, value] : arguments.named) values->set(runtime.heap.text(name), value);
    return percent_format(text, Value::object(values), runtime.heap);
  }
  return percent_format(text, runtime.heap.tuple(arguments.positional), runtime.heap);
}

Result<Value> wordcount(Runtime& runtime, const Value& self, const Arguments&) {
  FM_ASSIGN_OR_RETURN(const std::string text, to_str(self, runtime.heap));
  std::int64_t count = 0;
  bool in_word = false;
  for (std::string_view rest = text; !rest.empty();) {
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
  if (args.has(1) && !args[1]->is_none()) {
    FM_ASSIGN_OR_RETURN(style.indent, indentation(*args[1]));
    style.item_separator = ",";
  }
  if (args.has(2) && !args[2]->is_none()) {
    FM_ASSIGN_OR_RETURN(const auto separators, items_of(*args[2], runtime.heap));
    if (separators.size() != 2 || !separators[0].is_text() || !separators[1].is_text()) {
      return fail("tojson: separators must be two strings");
    }
    style.item_separator = separators[0].as_text();
    style.key_separator = separators[1].as_text();
  }
  std::string out;
  FM_RETURN_IF_ERROR(append_json(self, style, runtime.heap, out));
  return runtime.heap.text(std::move(out));
}

// Not in Jinja2; some templates expect the engine to add it.
Result<Value> from_json_filter(Runtime& runtime, const Value& self, const Arguments&) {
  if (!self.is_text()) return wrong_type("from_json needs a str", self);
  FM_RETURN_IF_ERROR(runtime.heap.spend_bytes(self.as_text().size()));
  FM_RETURN_IF_ERROR(runtime.heap.reserve(self.as_text().size() * 16));
  const auto json = nlohmann::ordered_json::parse(self.as_text(), nullptr, false);
  if (json.is_discarded()) return fail("from_json: not valid JSON");
  return from_json(json, runtime.heap);
}

}  // namespace

const BuiltinTable& text_filters() {
  static const BuiltinTable kTable = {
      {"capitalize", map_text<capitalize>},
      {"center", center},
      {"e", map_text<escape_html>},
      {"escape", map_text<escape_html>},
      {"format", format},
      {"from_json", from_json_filter},
      {"indent", indent},
      {"lower", map_text<to_lower>},
      {"replace", replace},
      {"safe", string_filter},
      {"string", string_filter},
      {"title", map_text<title_words>},
      {"tojson", tojson},
      {"trim", trim},
      {"upper", map_text<to_upper>},
      {"wordcount", wordcount},
  };
  return kTable;
}

}  // namespace flashmoe::jinja
