#ifndef FLASHMOE_FORMAT_TESTING_EXPECT_FAILURE_H_
#define FLASHMOE_FORMAT_TESTING_EXPECT_FAILURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <string_view>

#include "base/result.h"

namespace flashmoe {

/// A message that users are to act on names the file, the place in it, and more: all of `words`.
inline void expect_failure(const Status& status, StatusCode code,
                           std::initializer_list<std::string_view> words) {
  EXPECT_EQ(to_string(status.code()), to_string(code)) << status.message();
  for (const std::string_view word : words) {
    EXPECT_THAT(status.message(), ::testing::HasSubstr(std::string(word)));
  }
}

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_TESTING_EXPECT_FAILURE_H_
