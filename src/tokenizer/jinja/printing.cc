#include "tokenizer/jinja/printing.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tokenizer/jinja/runtime.h"
#include "tokenizer/jinja/text.h"

namespace flashmoe::jinja {
namespace {

Status check_growth(Heap& heap, const std::string& out, int depth) {
  if (depth > kMaxValueDepth) return fail("value nested more than {} deep", kMaxValueDepth);
  FM_RETURN_IF_ERROR(heap.spend());
  return heap.reserve(out.size());
}

void append_string_repr(std::string_view text, std::string& out) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  out += quote;
  while (!text.empty()) {
    const CodePoint c = decode(text);
    if (c.value == static_cast<unsigned char>(quote) || c.value == '\\') {
      out += '\\';
      out += static_cast<char>(c.value);
    } else if (c.value == '\n') {
      out += "\\n";
    } else if (c.value == '\r') {
      out += "\\r";
    } else if (c.value == '\t') {
      out += "\\t";
    } else if (is_printable(c.value)) {
      out += text.substr(0, c.size);
    } else if (c.value < 0x100) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned>(c.value));
    } else {
      out += c.value < 0x10000 ? fmt::format("\\u{:04x}", static_cast<unsigned>(c.value))
                               : fmt::format("\\U{:08x}", static_cast<unsigned>(c.value));
    }
    text.remove_prefix(c.size);
  }
  out += quote;
}

Status append_repr(const Value& value, Heap& heap, std::string& out, int depth);

Status append_dict_repr(const Dict& dict, Heap& heap, std::string& out, int depth) {
  out += '{';
  for (std::size_t i = 0; i < dict.entries.size(); ++i) {
    if (i > 0) out += ", ";
    FM_RETURN_IF_ERROR(append_repr(dict.entries[i].first, heap, out, depth + 1));
    out += ": ";
    FM_RETURN_IF_ERROR(append_repr(dict.entries[i].second, heap, out, depth + 1));
  }
  out += '}';
  return Status();
}

Status append_list_repr(const List& list, Heap& heap, std::string& out, int depth) {
  out += list.is_tuple ? '(' : '[';
  for (std::size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0) out += ", ";
    FM_RETURN_IF_ERROR(append_repr(list.items[i], heap, out, depth + 1));
  }
  if (list.is_tuple && list.items.size() == 1) out += ',';
  out += list.is_tuple ? ')' : ']';
  return Status();
}

Status append_repr(const Value& value, Heap& heap, std::string& out, int depth) {
  FM_RETURN_IF_ERROR(check_growth(heap, out, depth));
  if (value.is_undefined()) {
    out += "Undefined";
  } else if (value.is_none()) {
    out += "None";
  } else if (value.is_bool()) {
    out += value.as_bool() ? "True" : "False";
  } else if (value.is_integer()) {
    out += std::to_string(value.as_integer());
  } else if (value.is_real()) {
    out += float_repr(value.as_real());
  } else if (value.is_text()) {
    FM_RETURN_IF_ERROR(heap.spend_bytes(value.as_text().size()));
    append_string_repr(value.as_text(), out);
  } else if (value.list() != nullptr) {
    return append_list_repr(*value.list(), heap, out, depth);
  } else if (value.dict() != nullptr) {
    return append_dict_repr(*value.dict(), heap, out, depth);
  } else if (value.name_space() != nullptr) {
    out += "<Namespace ";
    FM_RETURN_IF_ERROR(append_dict_repr(value.name_space()->attributes, heap, out, depth));
    out += '>';
  } else {
    out += fmt::format("<{}>", value.type_name());
  }
  return Status();
}

// json.dumps escapes quotes, backslashes and control characters, and with ensure_ascii all else
// outside printable ASCII.
void append_json_string(std::string_view text, bool ensure_ascii, std::string& out) {
  static constexpr std::string_view kEscaped = "\"\\\n\r\t\f\b";
  static constexpr std::string_view kLetters = "\"\\nrtfb";
  out += '"';
  while (!text.empty()) {
    const CodePoint c = decode(text);
    const std::size_t letter =
        c.value < 0x80 ? kEscaped.find(static_cast<char>(c.value)) : std::string_view::npos;
    if (letter != std::string_view::npos) {
      out += '\\';
      out += kLetters[letter];
    } else if (c.value < 0x20 || (ensure_ascii && c.value >= 0x7F && c.value < 0x10000)) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c.value));
    } else if (ensure_ascii && c.value >= 0x10000) {
      const unsigned offset = static_cast<unsigned>(c.value) - 0x10000U;
      out +=
          fmt::format("\\u{:04x}\\u{:04x}", 0xD800U + (offset >> 10U), 0xDC00U + (offset & 0x3FFU));
    } else {
      out += text.substr(0, c.size);
    }
    text.remove_prefix(c.size);
  }
  out += '"';
}

class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, Heap& heap, std::string& out)
      : style_(style), heap_(heap), out_(out) {}

  Status write(const Value& value, int depth) {
    FM_RETURN_IF_ERROR(check_growth(heap_, out_, depth));
    if (value.is_text()) {
      FM_RETURN_IF_ERROR(heap_.spend_bytes(value.as_text().size()));
      append_json_string(value.as_text(), style_.ensure_ascii, out_);
    } else if (value.list() != nullptr) {
      return write_list(*value.list(), depth);
    } else if (value.dict() != nullptr) {
      return write_dict(*value.dict(), depth);
    } else {
      FM_ASSIGN_OR_RETURN(const std::string scalar, scalar_text(value));
      out_ += scalar;
    }
    return Status();
  }

 private:
  static Result<std::string> scalar_text(const Value& value) {
    if (value.is_none()) return std::string("null");
    if (value.is_bool()) return std::string(value.as_bool() ? "true" : "false");
    if (value.is_integer()) return std::to_string(value.as_integer());
    if (!value.is_real()) return wrong_type("tojson needs data", value);
    const double number = value.as_real();
    if (std::isnan(number)) return std::string("NaN");
    if (std::isinf(number)) return std::string(number > 0 ? "Infinity" : "-Infinity");
    return float_repr(number);
  }

  void new_line(int depth) {
    if (!style_.indent) return;
    out_ += '\n';
    for (int i = 0; i < depth; ++i) out_ += *style_.indent;
  }

  Status write_list(const List& list, int depth) {
    out_ += '[';
    for (std::size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      new_line(depth + 1);
      FM_RETURN_IF_ERROR(write(list.items[i], depth + 1));
    }
    if (!list.items.empty()) new_line(depth);
    out_ += ']';
    return Status();
  }

  Status write_dict(const Dict& dict, int depth) {
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : dict.entries) entries.push_back(&entry);
    if (style_.sort_keys) {
      for (const auto* entry : entries) {
        if (!entry->first.is_text()) return wrong_type("sort_keys needs str keys", entry->first);
      }
      std::stable_sort(entries.begin(), entries.end(), [](const auto* a, const auto* b) {
        return a->first.as_text() < b->first.as_text();
      });
    }
    out_ += '{';
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      new_line(depth + 1);
      if (entries[i]->first.is_text()) {
        append_json_string(entries[i]->first.as_text(), style_.ensure_ascii, out_);
      } else {
        FM_ASSIGN_OR_RETURN(const std::string key, scalar_text(entries[i]->first));
        out_ += '"' + key + '"';
      }
      out_ += style_.key_separator;
      FM_RETURN_IF_ERROR(write(entries[i]->second, depth + 1));
    }
    if (!entries.empty()) new_line(depth);
    out_ += '}';
    return Status();
  }

  const JsonStyle& style_;
  Heap& heap_;
  std::string& out_;
};

}  // namespace

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".ein") == std::string::npos) text += ".0";
  return text;
}

Status append_str(const Value& value, Heap& heap, std::string& out) {
  if (value.is_undefined()) return Status();
  if (!value.is_text()) return append_repr(value, heap, out, 0);
  FM_RETURN_IF_ERROR(heap.spend_bytes(value.as_text().size()));
  out += value.as_text();
  return heap.reserve(out.size());
}

Status append_repr(const Value& value, Heap& heap, std::string& out) {
  return append_repr(value, heap, out, 0);
}

Result<std::string> to_str(const Value& value, Heap& heap) {
  std::string out;
  FM_RETURN_IF_ERROR(append_str(value, heap, out));
  return out;
}

Status append_json(const Value& value, const JsonStyle& style, Heap& heap, std::string& out) {
  return JsonWriter(style, heap, out).write(value, 0);
}

}  // namespace flashmoe::jinja
