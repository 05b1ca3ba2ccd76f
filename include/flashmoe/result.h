#ifndef FLASHMOE_RESULT_H_
#define FLASHMOE_RESULT_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace flashmoe {

/// What kind of failure a Status reports. The message carries the particulars.
enum class StatusCode : std::uint8_t {
  kOk,
  kInvalidArgument,  // the caller's input is wrong: a flag, a prompt, a field of a request
  kNotFound,         // a file, tensor or field that should exist does not
  kIo,               // the operating system failed a read, write or mapping
  kCorrupt,          // a file contradicts itself or its format
  kOutOfBudget,      // the memory budget cannot hold what was asked for
  kUnsupported,      // well-formed, but not something this build or this machine can do
  kCancelled,        // the caller asked to stop
  kBusy,             // as much is being done as may be at once: try again later
};

/// Lower-case name of `code`, as it appears in messages and JSON: "invalid argument", "corrupt",
/// ...
std::string_view to_string(StatusCode code);

/// Success, or a failure with a message that says what was tried, on what, and where.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

  /// The same failure with `prefix` and ": " before its message; success stays success.
  Status with_prefix(std::string_view prefix) const;

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

namespace internal {
[[noreturn]] void die_on_bad_result_access(const Status& status);
}  // namespace internal

/// A T, or the Status that explains why there is none. Reading the value of a failure ends the
/// process with its message: test ok() first.
template <typename T>
class [[nodiscard]] Result {
 public:
  // Implicit, so that `return value;` and `return error(...);` both read well.
  // NOLINTNEXTLINE(google-explicit-constructor)
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  Result(Status status) : state_(std::in_place_index<1>, std::move(status)) {
    if (std::get<1>(state_).ok()) internal::die_on_bad_result_access(std::get<1>(state_));
  }

  bool ok() const { return state_.index() == 0; }

  /// Success (an ok Status) when there is a value.
  Status status() const { return ok() ? Status() : std::get<1>(state_); }

  T& value() & { return checked(); }
  const T& value() const& { return const_cast<Result*>(this)->checked(); }
  T&& value() && { return std::move(checked()); }
  T& operator*() & { return checked(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(checked()); }
  T* operator->() { return &checked(); }
  const T* operator->() const { return &value(); }

 private:
  T& checked() {
    if (!ok()) internal::die_on_bad_result_access(std::get<1>(state_));
    return std::get<0>(state_);
  }

  std::variant<T, Status> state_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_RESULT_H_
