#include "chat/argument_values.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <optional>

namespace flashmoe {
namespace {

using ArgumentJson = nlohmann::ordered_json;

std::string dumped(const ArgumentJson& value) {
  return value.dump(-1, ' ', false, ArgumentJson::error_handler_t::replace);
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

bool allows_null(const ArgumentJson& schema) {
  if (!schema.is_object()) return false;
  const auto type = schema.find("type");
  if (type != schema.end() && type->is_array()) {
    return std::find(type->begin(), type->end(), "null") != type->end();
  }
  if (type != schema.end() && *type == "null") return true;
  if (schema.value("nullable", ArgumentJson()) == true) return true;
  for (const char* name : {"anyOf", "oneOf"}) {
    const auto alternatives = schema.find(name);
    if (alternatives == schema.end() || !alternatives->is_array()) continue;
    for (const ArgumentJson& alternative : *alternatives) {
      if (allows_null(alternative)) return true;
    }
  }
  return false;
}

/// The first type that is not null; "string" where nothing is said.
std::string type_of(const ArgumentJson& schema) {
  if (!schema.is_object()) return "string";
  const auto type = schema.find("type");
  if (type != schema.end() && type->is_string()) return lower(type->get<std::string>());
  if (type != schema.end() && type->is_array()) {
    for (const ArgumentJson& name : *type) {
      if (name.is_string() && name != "null") return lower(name.get<std::string>());
    }
  }
  for (const char* name : {"anyOf", "oneOf"}) {
    const auto alternatives = schema.find(name);
    if (alternatives == schema.end() || !alternatives->is_array()) continue;
    for (const ArgumentJson& alternative : *alternatives) {
      if (std::string found = type_of(alternative); found != "null") return found;
    }
  }
  // What may be is given: its own type.
  for (const char* name : {"const", "enum"}) {
    const auto values = schema.find(name);
    if (values == schema.end() || values->is_null()) continue;
    const ArgumentJson list = values->is_array() ? *values : ArgumentJson::array({*values});
    for (const ArgumentJson& value : list) {
      if (!value.is_null()) return value.type_name();
    }
  }
  const auto says = [&](const char* name) {
    const auto found = schema.find(name);
    return found != schema.end() && !found->is_null();
  };
  if (says("properties")) return "object";
  if (says("items")) return "array";
  return "string";
}

bool is_text_type(std::string_view type) {
  return type == "string" || type == "str" || type == "text" || type == "varchar" ||
         type == "char" || type == "enum";
}

std::optional<std::string> number_json(std::string_view text, bool wants_integer) {
  const ArgumentJson parsed = whole_json(text);
  if (parsed.is_number_integer()) return dumped(parsed);
  if (!parsed.is_number_float()) return std::nullopt;
  const double value = parsed.get<double>();
  const bool is_integral = std::nearbyint(value) == value && std::fabs(value) < 9e15;
  if (is_integral) return dumped(static_cast<std::int64_t>(value));
  if (wants_integer || !std::isfinite(value)) return std::nullopt;
  return dumped(parsed);
}

/// Python's literals in JSON's spelling; whether they are any is for a JSON parser to find out.
std::string json_of_python(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == '\'' || c == '"') {
      out += '"';
      for (++i; i < text.size() && text[i] != c; ++i) {
        if (text[i] == '\\' && i + 1 < text.size()) {
          // \' is a quote that JSON does not escape.
          if (text[i + 1] != '\'') out += '\\';
          out += text[++i];
        } else {
          if (text[i] == '"') out += '\\';
          out += text[i];
        }
      }
      out += '"';
      ++i;
      continue;
    }
    bool is_word = false;
    for (const auto& [word, json] : {std::pair<std::string_view, std::string_view>{"True", "true"},
                                     {"False", "false"},
                                     {"None", "null"}}) {
      if (!text.substr(i).starts_with(word)) continue;
      out += json;
      i += word.size();
      is_word = true;
      break;
    }
    if (is_word) continue;
    out += c == '(' ? '[' : c == ')' ? ']' : c;
    ++i;
  }
  return out;
}

}  // namespace

std::string json_escaped(std::string_view text) {
  const std::string quoted = dumped(ArgumentJson(std::string(text)));
  return quoted.substr(1, quoted.size() - 2);
}

ArgumentJson whole_json(std::string_view text) {
  const bool has_nul = text.find('\0') != std::string_view::npos;
  return has_nul ? ArgumentJson(ArgumentJson::value_t::discarded)
                 : ArgumentJson::parse(text, nullptr, /*allow_exceptions=*/false);
}

bool takes_text(const ArgumentJson& schema) {
  return is_text_type(type_of(schema)) && !allows_null(schema);
}

std::string argument_json(std::string_view text, const ArgumentJson& schema) {
  std::string as_text = dumped(ArgumentJson(std::string(text)));
  const std::string type = type_of(schema);
  const std::string word = lower(text);
  if ((word == "null" || word == "none") && (!is_text_type(type) || allows_null(schema))) {
    return "null";
  }
  if (is_text_type(type)) return as_text;
  if (type.starts_with("int") || type.starts_with("uint") || type.starts_with("long") ||
      type.starts_with("short") || type.starts_with("unsigned")) {
    return number_json(text, /*wants_integer=*/true).value_or(as_text);
  }
  if (type.starts_with("num") || type.starts_with("float") || type.starts_with("double")) {
    return number_json(text, /*wants_integer=*/false).value_or(as_text);
  }
  if (type.starts_with("bool")) return word == "true" || word == "1" ? "true" : "false";
  ArgumentJson parsed = whole_json(text);
  if (parsed.is_discarded()) parsed = whole_json(json_of_python(text));
  return parsed.is_discarded() ? as_text : dumped(parsed);
}

}  // namespace flashmoe
