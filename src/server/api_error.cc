#include "server/api_error.h"

namespace flashmoe::server {

ApiError bad_request(std::string param, std::string message) {
  return {.status = 400, .message = std::move(message), .param = std::move(param)};
}

ApiError error_of(const Status& status) {
  ApiError error{.message = status.message()};
  switch (status.code()) {
    case StatusCode::kInvalidArgument:
      error.status = 400;
      break;
    case StatusCode::kNotFound:
    case StatusCode::kUnsupported:
      error.status = 501;
      break;
    case StatusCode::kBusy:
      error.status = 429;
      error.retry_after_seconds = 1;
      break;
    default:
      error.status = 500;
  }
  return error;
}

}  // namespace flashmoe::server
