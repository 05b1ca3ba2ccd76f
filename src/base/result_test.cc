#include "base/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace flashmoe {
namespace {

Result<int> parse_digit(char c) {
  if (c < '0' || c > '9') return error(StatusCode::kInvalidArgument, "'{}' is not a digit", c);
  return c - '0';
}

Result<int> add_digits(char a, char b) {
  FM_ASSIGN_OR_RETURN(const int x, parse_digit(a));
  FM_ASSIGN_OR_RETURN(const int y, parse_digit(b));
  return x + y;
}

TEST(Result, CarriesAValueOrTheReasonForItsAbsence) {
  EXPECT_EQ(add_digits('3', '4').value(), 7);
  const Result<int> failed = add_digits('3', 'x');
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(failed.status().message(), "'x' is not a digit");
}

TEST(Result, HoldsMoveOnlyValues) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(5);
  ASSERT_TRUE(result.ok());
  const std::unique_ptr<int> taken = std::move(result).value();
  EXPECT_EQ(*taken, 5);
}

TEST(ResultDeathTest, ReadingTheValueOfAFailureEndsTheProcessWithItsMessage) {
  const Result<int> failed = error(StatusCode::kIo, "disk gone");
  EXPECT_DEATH(static_cast<void>(failed.value()), "disk gone");
}

TEST(Status, PrefixKeepsTheCodeAndLeavesSuccessAlone) {
  EXPECT_TRUE(Status().with_prefix("x").ok());
  const Status status = error(StatusCode::kCorrupt, "bad header").with_prefix("a.safetensors");
  EXPECT_EQ(status.code(), StatusCode::kCorrupt);
  EXPECT_EQ(status.message(), "a.safetensors: bad header");
}

}  // namespace
}  // namespace flashmoe
