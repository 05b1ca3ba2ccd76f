#include "base/child_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <vector>

#include "base/memory_info.h"
#include "base/result.h"

namespace flashmoe {
namespace {

using ::testing::HasSubstr;

TEST(ChildProcess, BringsBackWhatTheWorkGave) {
  const std::string long_text(100000, 'x');
  EXPECT_EQ(run_in_child([&]() -> Result<std::string> { return long_text; }).value(), long_text);
  EXPECT_EQ(run_in_child([]() -> Result<std::string> { return std::string(); }).value(), "");
  const Status status = run_in_child([]() -> Result<std::string> {
                          return error(StatusCode::kOutOfBudget, "too little");
                        }).status();
  EXPECT_EQ(status.code(), StatusCode::kOutOfBudget);
  EXPECT_EQ(status.message(), "too little");
}

TEST(ChildProcess, SaysHowTheChildDied) {
  const Status killed = run_in_child([]() -> Result<std::string> {
                          std::raise(SIGKILL);
                          return std::string();
                        }).status();
  EXPECT_EQ(killed.code(), StatusCode::kIo);
  EXPECT_THAT(killed.message(), HasSubstr("signal 9"));
  EXPECT_THAT(killed.message(), HasSubstr("lower --memory"));
  const Status ended = run_in_child([]() -> Result<std::string> { std::_Exit(3); }).status();
  EXPECT_THAT(ended.message(), HasSubstr("without a result"));
}

#if defined(__linux__) && !defined(FLASHMOE_EMULATED)
TEST(ChildProcess, EndsWithItsParent) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const Status status = run_in_child([&] {
                          return run_in_child([&]() -> Result<std::string> {
                            kill(getppid(), SIGKILL);
                            sleep(5);
                            EXPECT_EQ(write(ends[1], "x", 1), 1);
                            return std::string();
                          });
                        }).status();
  EXPECT_THAT(status.message(), HasSubstr("signal 9"));
  close(ends[1]);
  char said = 0;
  EXPECT_EQ(read(ends[0], &said, 1), 0);
  close(ends[0]);
}
#endif

#ifndef FLASHMOE_EMULATED  // whose memory is qemu's
TEST(ChildProcess, KeepsItsMemoryToItself) {
  const std::uint64_t before = read_process_memory().peak_rss_bytes;
  const auto peak = run_in_child([]() -> Result<std::string> {
    const std::vector<char> large(std::size_t{64} << 20, 1);
    return std::to_string(read_process_memory().peak_rss_bytes - large.size());
  });
  ASSERT_TRUE(peak.ok()) << peak.status().message();
  EXPECT_LE(read_process_memory().peak_rss_bytes, before + (std::uint64_t{32} << 20));
}
#endif

}  // namespace
}  // namespace flashmoe
