#include "tokenizer/jinja/value.h"

#include <functional>

namespace flashmoe::jinja {

std::string_view Value::undefined_name() const {
  const Undefined* undefined = std::get_if<Undefined>(&data_);
  if (undefined == nullptr || undefined->name == nullptr) return "";
  return undefined->name->bytes();
}

std::optional<std::int64_t> Value::to_integer() const {
  if (is_bool()) return as_bool() ? 1 : 0;
  if (is_integer()) return as_integer();
  return std::nullopt;
}

std::optional<double> Value::to_real() const {
  if (is_real()) return as_real();
  if (const auto integer = to_integer()) return static_cast<double>(*integer);
  return std::nullopt;
}

bool Value::truthy() const {
  if (is_undefined() || is_none()) return false;
  if (is_text()) return !as_text().empty();
  if (const auto number = to_real()) return *number != 0.0;
  if (list() != nullptr) return !list()->items.empty();
  if (dict() != nullptr) return !dict()->entries.empty();
  return true;
}

std::string_view Value::type_name() const {
  if (is_undefined()) return "undefined";
  if (is_none()) return "none";
  if (is_bool()) return "bool";
  if (is_integer()) return "int";
  if (is_real()) return "float";
  if (is_text()) return "str";
  if (list() != nullptr) return list()->is_tuple ? "tuple" : "list";
  if (dict() != nullptr) return "dict";
  if (name_space() != nullptr) return "namespace";
  if (loop() != nullptr) return "loop";
  return "function";
}

bool Value::same_as(const Value& other) const {
  if (data_.index() != other.data_.index()) return false;
  if (is_undefined() || is_none()) return true;
  if (is_bool()) return as_bool() == other.as_bool();
  if (is_integer()) return as_integer() == other.as_integer();
  if (is_real()) return as_real() == other.as_real();
  if (is_text()) return as_text() == other.as_text();
  return data_.index() == other.data_.index() && list() == other.list() && dict() == other.dict() &&
         name_space() == other.name_space() && callable() == other.callable() &&
         loop() == other.loop();
}

std::size_t KeyHash::operator()(const Value& key) const {
  if (key.is_text()) return std::hash<std::string>()(key.as_text());
  if (const auto number = key.to_real()) return std::hash<double>()(*number);
  return 0;
}

bool KeyEqual::operator()(const Value& a, const Value& b) const {
  if (a.is_text() && b.is_text()) return a.as_text() == b.as_text();
  if (const auto x = a.to_integer()) {
    if (const auto y = b.to_integer()) return *x == *y;
  }
  if (const auto x = a.to_real()) {
    const auto y = b.to_real();
    return y && *x == *y;
  }
  return a.is_none() && b.is_none();
}

bool Dict::is_key(const Value& value) {
  return value.is_text() || value.is_number() || value.is_none();
}

const Value* Dict::find(const Value& key) const {
  if (!is_key(key)) return nullptr;
  const auto found = index_.find(key);
  return found == index_.end() ? nullptr : &entries[found->second].second;
}

void Dict::set(const Value& key, Value value) {
  const auto [found, added] = index_.try_emplace(key, entries.size());
  if (added) {
    entries.emplace_back(key, std::move(value));
  } else {
    entries[found->second].second = std::move(value);
  }
}

bool Dict::erase(const Value& key) {
  const auto found = is_key(key) ? index_.find(key) : index_.end();
  if (found == index_.end()) return false;
  entries.erase(entries.begin() + static_cast<std::ptrdiff_t>(found->second));
  index_.clear();
  for (std::size_t i = 0; i < entries.size(); ++i) index_.try_emplace(entries[i].first, i);
  return true;
}

}  // namespace flashmoe::jinja
