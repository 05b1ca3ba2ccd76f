#include "base/result.h"

#include <cstdio>
#include <cstdlib>

namespace flashmoe {

std::string_view to_string(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return "ok";
    case StatusCode::kInvalidArgument:
      return "invalid argument";
    case StatusCode::kNotFound:
      return "not found";
    case StatusCode::kIo:
      return "i/o error";
    case StatusCode::kCorrupt:
      return "corrupt";
    case StatusCode::kOutOfBudget:
      return "out of budget";
    case StatusCode::kUnsupported:
      return "unsupported";
    case StatusCode::kCancelled:
      return "cancelled";
    case StatusCode::kBusy:
      return "busy";
  }
  return "unknown";
}

Status Status::with_prefix(std::string_view prefix) const {
  if (ok()) return *this;
  return Status(code_, fmt::format("{}: {}", prefix, message_));
}

namespace internal {

void die_on_bad_result_access(const Status& status) {
  std::fprintf(stderr, "flash-moe: value of a failed Result read: %s\n", status.message().c_str());
  std::abort();
}

}  // namespace internal

}  // namespace flashmoe
