#include "tokenizer/jinja/printing.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tokenizer/jinja/runtime.h"
#include "tokenizer/jinja/text.h"

namespace flashmoe::jinja {
namespace {

Status check_growth(Heap& heap, const MarkedText& out, int depth) {
  if (depth > kMaxValueDepth) return fail("value nested more than {} deep", kMaxValueDepth);
  FM_RETURN_IF_ERROR(heap.spend());
  return heap.reserve(out.heap_bytes());
}

// Appends `text` with each character that `escape(character, out)` knows written as it says.
template <typename Escape>
void append_escaped(const MarkedText& text, Escape escape, MarkedText& out) {
  const std::string_view bytes = text.bytes();
  std::string escaped;
  text.for_each_run(0, bytes.size(), [&](std::size_t begin, std::size_t end, Origin origin) {
    escaped.clear();
    for (std::string_view rest = bytes.substr(begin, end - begin); !rest.empty();) {
      const CodePoint c = decode(rest);
      if (!escape(c.value, escaped)) escaped += rest.substr(0, c.size);
      rest.remove_prefix(c.size);
    }
    out.append(escaped, origin);
  });
}

void append_string_repr(const MarkedText& text, MarkedText& out) {
  const bool has_single = text.bytes().find('\'') != std::string::npos;
  const char quote = has_single && text.bytes().find('"') == std::string::npos ? '"' : '\'';
  const auto escape = [quote](char32_t c, std::string& escaped) {
    if (c == static_cast<unsigned char>(quote) || c == '\\') {
      escaped += '\\';
      escaped += static_cast<char>(c);
    } else if (c == '\n') {
      escaped += "\\n";
    } else if (c == '\r') {
      escaped += "\\r";
    } else if (c == '\t') {
      escaped += "\\t";
    } else if (is_printable(c)) {
      return false;
    } else if (c < 0x100) {
      escaped += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
    } else {
      escaped += c < 0x10000 ? fmt::format("\\u{:04x}", static_cast<unsigned>(c))
                             : fmt::format("\\U{:08x}", static_cast<unsigned>(c));
    }
    return true;
  };
  out.append_joint({&quote, 1});
  append_escaped(text, escape, out);
  out.append_joint({&quote, 1});
}

Status append_repr(const Value& value, Heap& heap, MarkedText& out, int depth);

Status append_dict_repr(const Dict& dict, Heap& heap, MarkedText& out, int depth) {
  out.append_joint("{");
  for (std::size_t i = 0; i < dict.entries.size(); ++i) {
    if (i > 0) out.append_joint(", ");
    FM_RETURN_IF_ERROR(append_repr(dict.entries[i].first, heap, out, depth + 1));
    out.append_joint(": ");
    FM_RETURN_IF_ERROR(append_repr(dict.entries[i].second, heap, out, depth + 1));
  }
  out.append_joint("}");
  return Status();
}

Status append_list_repr(const List& list, Heap& heap, MarkedText& out, int depth) {
  out.append_joint(list.is_tuple ? "(" : "[");
  for (std::size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0) out.append_joint(", ");
    FM_RETURN_IF_ERROR(append_repr(list.items[i], heap, out, depth + 1));
  }
  if (list.is_tuple && list.items.size() == 1) out.append_joint(",");
  out.append_joint(list.is_tuple ? ")" : "]");
  return Status();
}

Status append_repr(const Value& value, Heap& heap, MarkedText& out, int depth) {
  FM_RETURN_IF_ERROR(check_growth(heap, out, depth));
  if (value.is_undefined()) {
    out.append_joint("Undefined");
  } else if (value.is_none()) {
    out.append_joint("None");
  } else if (value.is_bool()) {
    out.append_joint(value.as_bool() ? "True" : "False");
  } else if (value.is_integer()) {
    out.append_joint(std::to_string(value.as_integer()));
  } else if (value.is_real()) {
    out.append_joint(float_repr(value.as_real()));
  } else if (value.is_text()) {
    FM_RETURN_IF_ERROR(heap.spend_bytes(value.as_text().size()));
    append_string_repr(value.marked_text(), out);
  } else if (value.list() != nullptr) {
    return append_list_repr(*value.list(), heap, out, depth);
  } else if (value.dict() != nullptr) {
    return append_dict_repr(*value.dict(), heap, out, depth);
  } else if (value.name_space() != nullptr) {
    out.append_joint("<Namespace ");
    FM_RETURN_IF_ERROR(append_dict_repr(value.name_space()->attributes, heap, out, depth));
    out.append_joint(">");
  } else {
    out.append_joint(fmt::format("<{}>", value.type_name()));
  }
  return Status();
}

// json.dumps escapes quotes, backslashes and control characters, and with ensure_ascii all else
// outside printable ASCII.
void append_json_string(const MarkedText& text, bool ensure_ascii, MarkedText& out) {
  static constexpr std::string_view kEscaped = "\"\\\n\r\t\f\b";
  static constexpr std::string_view kLetters = "\"\\nrtfb";
  const auto escape = [ensure_ascii](char32_t c, std::string& escaped) {
    const std::size_t letter =
        c < 0x80 ? kEscaped.find(static_cast<char>(c)) : std::string_view::npos;
    if (letter != std::string_view::npos) {
      escaped += '\\';
      escaped += kLetters[letter];
    } else if (c < 0x20 || (ensure_ascii && c >= 0x7F && c < 0x10000)) {
      escaped += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else if (ensure_ascii && c >= 0x10000) {
      const unsigned offset = static_cast<unsigned>(c) - 0x10000U;
      escaped +=
          fmt::format("\\u{:04x}\\u{:04x}", 0xD800U + (offset >> 10U), 0xDC00U + (offset & 0x3FFU));
    } else {
      return false;
    }
    return true;
  };
  out.append_joint("\"");
  append_escaped(text, escape, out);
  out.append_joint("\"");
}

class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, Heap& heap, MarkedText& out)
      : style_(style), heap_(heap), out_(out) {}

  Status write(const Value& value, int depth) {
    FM_RETURN_IF_ERROR(check_growth(heap_, out_, depth));
    if (value.is_text()) {
      FM_RETURN_IF_ERROR(heap_.spend_bytes(value.as_text().size()));
      append_json_string(value.marked_text(), style_.ensure_ascii, out_);
    } else if (value.list() != nullptr) {
      return write_list(*value.list(), depth);
    } else if (value.dict() != nullptr) {
      return write_dict(*value.dict(), depth);
    } else {
      FM_ASSIGN_OR_RETURN(const std::string scalar, scalar_text(value));
      out_.append_joint(scalar);
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
    out_.append_joint("\n");
    for (int i = 0; i < depth; ++i) out_.append_joint(*style_.indent);
  }

  Status write_list(const List& list, int depth) {
    out_.append_joint("[");
    for (std::size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) out_.append_joint(style_.item_separator);
      new_line(depth + 1);
      FM_RETURN_IF_ERROR(write(list.items[i], depth + 1));
    }
    if (!list.items.empty()) new_line(depth);
    out_.append_joint("]");
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
    out_.append_joint("{");
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out_.append_joint(style_.item_separator);
      new_line(depth + 1);
      if (entries[i]->first.is_text()) {
        append_json_string(entries[i]->first.marked_text(), style_.ensure_ascii, out_);
      } else {
        FM_ASSIGN_OR_RETURN(const std::string key, scalar_text(entries[i]->first));
        out_.append_joint("\"" + key + "\"");
      }
      out_.append_joint(style_.key_separator);
      FM_RETURN_IF_ERROR(write(entries[i]->second, depth + 1));
    }
    if (!entries.empty()) new_line(depth);
    out_.append_joint("}");
    return Status();
  }

  const JsonStyle& style_;
  Heap& heap_;
  MarkedText& out_;
};

}  // namespace

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".ein") == std::string::npos) text += ".0";
  return text;
}

Status append_str(const Value& value, Heap& heap, MarkedText& out) {
  if (value.is_undefined()) return Status();
  if (!value.is_text()) return append_repr(value, heap, out, 0);
  FM_RETURN_IF_ERROR(heap.spend_bytes(value.as_text().size()));
  out.append(value.marked_text());
  return heap.reserve(out.heap_bytes());
}

Status append_repr(const Value& value, Heap& heap, MarkedText& out) {
  return append_repr(value, heap, out, 0);
}

Result<Value> to_str(const Value& value, Heap& heap) {
  if (value.is_text()) return value;
  MarkedText out;
  FM_RETURN_IF_ERROR(append_str(value, heap, out));
  return heap.text(std::move(out));
}

Status append_json(const Value& value, const JsonStyle& style, Heap& heap, MarkedText& out) {
  return JsonWriter(style, heap, out).write(value, 0);
}

}  // namespace flashmoe::jinja
