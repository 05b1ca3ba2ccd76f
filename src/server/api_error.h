#ifndef FLASHMOE_SERVER_API_ERROR_H_
#define FLASHMOE_SERVER_API_ERROR_H_

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/check.h"
#include "flashmoe/result.h"

namespace flashmoe::server {

/// Why a request is not served, before a dialect has put it into its words.
struct ApiError {
  unsigned status = 400;
  std::string message;
  std::string param;  // the field of the request that is wrong; empty: none in particular
  std::string code;   // for programs, as "context_length_exceeded"; empty: none
  /// Of a prompt that is too long.
  std::optional<std::size_t> prompt_tokens;
  std::optional<std::size_t> context;
  /// Of a method that an endpoint does not take: those that it does, as "GET, POST".
  std::string allowed_methods = {};
  /// When to come back.
  std::optional<unsigned> retry_after_seconds;
};

/// 400, for a field of the request.
ApiError bad_request(std::string param, std::string message);
/// What a failure of the engine is over HTTP.
ApiError error_of(const Status& status);

/// A T, or why there is none.
template <typename T>
class [[nodiscard]] ApiResult {
 public:
  // Implicit, so that `return value;` and `return bad_request(...);` both read well.
  // NOLINTNEXTLINE(google-explicit-constructor)
  ApiResult(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  ApiResult(ApiError error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  T& operator*() {
    FM_CHECK(ok());
    return std::get<0>(state_);
  }
  T* operator->() { return &**this; }
  const ApiError& error() const {
    FM_CHECK(!ok());
    return std::get<1>(state_);
  }

 private:
  std::variant<T, ApiError> state_;
};

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_API_ERROR_H_
