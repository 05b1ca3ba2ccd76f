#ifndef FLASHMOE_TOKENIZER_JINJA_VALUE_H_
#define FLASHMOE_TOKENIZER_JINJA_VALUE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "tokenizer/jinja/marked_text.h"

namespace flashmoe::jinja {

struct List;
struct Dict;
struct Namespace;
struct Callable;
struct Loop;

using String = std::shared_ptr<const MarkedText>;

/// A name or attribute that does not exist. Prints as nothing, is false, iterates as empty; most
/// other uses are errors that mention `name`.
struct Undefined {
  String name;
};

struct None {};

/// One value of a template: a scalar held in place, a shared immutable string, or a reference to an
/// object that the render's Heap owns. Copies are cheap; containers are shared, as in Python.
class Value {
 public:
  Value() = default;  // undefined, without a name
  static Value undefined(String name) { return Value(Data(Undefined{std::move(name)})); }
  static Value none() { return Value(Data(None{})); }
  static Value boolean(bool value) { return Value(Data(value)); }
  static Value integer(std::int64_t value) { return Value(Data(value)); }
  static Value real(double value) { return Value(Data(value)); }
  static Value text(String value) { return Value(Data(std::move(value))); }
  /// A string outside any heap's accounting: for constants of the parsed template.
  static Value constant(std::string value) {
    return text(std::make_shared<const MarkedText>(std::move(value), Origin::kTemplate));
  }
  static Value object(List* list) { return Value(Data(list)); }
  static Value object(Dict* dict) { return Value(Data(dict)); }
  static Value object(Namespace* space) { return Value(Data(space)); }
  static Value object(Callable* callable) { return Value(Data(callable)); }
  static Value object(Loop* loop) { return Value(Data(loop)); }

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_integer() const { return std::holds_alternative<std::int64_t>(data_); }
  bool is_real() const { return std::holds_alternative<double>(data_); }
  bool is_text() const { return std::holds_alternative<String>(data_); }
  /// Bool, integer or real: what Python counts with.
  bool is_number() const { return is_bool() || is_integer() || is_real(); }

  const List* list() const { return object_or_null<List>(); }
  List* list() { return object_or_null<List>(); }
  const Dict* dict() const { return object_or_null<Dict>(); }
  Dict* dict() { return object_or_null<Dict>(); }
  Namespace* name_space() const { return object_or_null<Namespace>(); }
  Callable* callable() const { return object_or_null<Callable>(); }
  Loop* loop() const { return object_or_null<Loop>(); }

  bool as_bool() const { return std::get<bool>(data_); }
  std::int64_t as_integer() const { return std::get<std::int64_t>(data_); }
  double as_real() const { return std::get<double>(data_); }
  /// The bytes of a string, to look at. What is made of them takes their marks along:
  /// marked_text().
  const std::string& as_text() const { return marked_text().bytes(); }
  const MarkedText& marked_text() const { return *std::get<String>(data_); }
  const String& shared_text() const { return std::get<String>(data_); }
  /// Name of an undefined value, or "" when it has none.
  std::string_view undefined_name() const;

  /// A bool or integer as an integer.
  std::optional<std::int64_t> to_integer() const;
  /// Any number as a double.
  std::optional<double> to_real() const;

  /// Python's truth value: empty, zero, none and undefined are false.
  bool truthy() const;
  /// Name of the type as Python spells it, for messages: "str", "int", "list", ...
  std::string_view type_name() const;
  /// Whether both are the same object, or equal scalars of one type (Python's `is`).
  bool same_as(const Value& other) const;

 private:
  using Data = std::variant<Undefined, None, bool, std::int64_t, double, String, List*, Dict*,
                            Namespace*, Callable*, Loop*>;
  explicit Value(Data data) : data_(std::move(data)) {}

  template <typename T>
  T* object_or_null() const {
    T* const* object = std::get_if<T*>(&data_);
    return object == nullptr ? nullptr : *object;
  }

  Data data_;
};

struct List {
  std::vector<Value> items;
  bool is_tuple = false;
};

/// Equal hash and equality for the values that may be dict keys: 1, 1.0 and true are one key.
struct KeyHash {
  std::size_t operator()(const Value& key) const;
};
struct KeyEqual {
  bool operator()(const Value& a, const Value& b) const;
};

/// A dict in insertion order. Keys are scalars or strings; is_key() says which values may be one.
struct Dict {
  std::vector<std::pair<Value, Value>> entries;

  static bool is_key(const Value& value);
  /// The value at `key`, or null. A value that cannot be a key is not found.
  const Value* find(const Value& key) const;
  void set(const Value& key, Value value);
  bool erase(const Value& key);

 private:
  std::unordered_map<Value, std::size_t, KeyHash, KeyEqual> index_;
};

/// What `namespace(...)` makes: attributes that survive the scope they were set in.
struct Namespace {
  Dict attributes;
};

}  // namespace flashmoe::jinja

#endif  // FLASHMOE_TOKENIZER_JINJA_VALUE_H_
