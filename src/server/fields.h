#ifndef FLASHMOE_SERVER_FIELDS_H_
#define FLASHMOE_SERVER_FIELDS_H_

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/api_error.h"

namespace flashmoe::server {

using Json = nlohmann::ordered_json;

/// Reads fields of a request's JSON object. A field that is null counts as not given. The first
/// wrong one is remembered, and what is read after it does not matter: ask error() at the end.
class Fields {
 public:
  /// `object` must outlive this. `where`: what to put before names, as "options."
  explicit Fields(const Json& object, std::string where = {});

  bool has(std::string_view name) const { return find(name) != nullptr; }
  /// Null where there is none.
  const Json* find(std::string_view name) const;

  std::optional<double> number(std::string_view name, double min, double max);
  std::optional<std::int64_t> integer(std::string_view name, std::int64_t min, std::int64_t max);
  std::optional<bool> boolean(std::string_view name);
  std::optional<std::string> text(std::string_view name);
  /// A text, or a list of texts.
  std::vector<std::string> texts(std::string_view name, std::size_t count_max);
  const Json* object(std::string_view name);
  const Json* array(std::string_view name);

  void fail(std::string_view name, std::string message);
  /// How errors name the field.
  std::string path(std::string_view name) const { return where_ + std::string(name); }
  const std::optional<ApiError>& error() const { return error_; }

 private:
  const Json& object_;
  const std::string where_;
  std::optional<ApiError> error_;
};

/// The member of an object; null where there is none.
const Json& member(const Json& object, std::string_view name);

/// JSON without spaces; what is no UTF-8 is replaced.
std::string dump(const Json& value);

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_FIELDS_H_
