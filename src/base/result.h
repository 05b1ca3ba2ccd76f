#ifndef FLASHMOE_BASE_RESULT_H_
#define FLASHMOE_BASE_RESULT_H_

#include <fmt/format.h>

#include <utility>

#include "flashmoe/result.h"

namespace flashmoe {

/// Builds a failed Status from a format string: `error(StatusCode::kIo, "{}: read {} of {} bytes",
/// path, got, want)`.
template <typename... Args>
Status error(StatusCode code, fmt::format_string<Args...> format, Args&&... args) {
  return Status(code, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace flashmoe

#define FM_CONCAT_INNER(a, b) a##b
#define FM_CONCAT(a, b) FM_CONCAT_INNER(a, b)

/// Returns from the enclosing function when `expression` (a Status) is a failure.
#define FM_RETURN_IF_ERROR(expression)                                  \
  do {                                                                  \
    if (::flashmoe::Status fm_status = (expression); !fm_status.ok()) { \
      return fm_status;                                                 \
    }                                                                   \
  } while (false)

/// `FM_ASSIGN_OR_RETURN(auto x, make_x());` declares x from a Result, or returns its Status.
#define FM_ASSIGN_OR_RETURN(declaration, expression) \
  FM_ASSIGN_OR_RETURN_INNER(FM_CONCAT(fm_result_, __LINE__), declaration, expression)
#define FM_ASSIGN_OR_RETURN_INNER(result, declaration, expression) \
  auto result = (expression);                                      \
  if (!result.ok()) return result.status();                        \
  declaration = std::move(result).value()

#endif  // FLASHMOE_BASE_RESULT_H_
