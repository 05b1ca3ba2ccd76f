#include "base/file_limit.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <string>

#include "base/child_process.h"

namespace flashmoe {
namespace {

TEST(FileLimit, IsRaisedToTheHardOne) {
  // In a child: the limit is the whole process's.
  const Result<std::string> raised = run_in_child([]() -> Result<std::string> {
    const FileLimit before = read_file_limit();
    const rlimit low = {.rlim_cur = 16, .rlim_max = static_cast<rlim_t>(before.hard)};
    if (setrlimit(RLIMIT_NOFILE, &low) != 0) return error(StatusCode::kIo, "setrlimit");
    if (read_file_limit().soft != 16) return error(StatusCode::kIo, "is not lowered");
    const FileLimit after = raise_file_limit();
    if (after.hard != before.hard) return error(StatusCode::kIo, "another hard limit");
    return std::string(after.soft > 16 && after.soft <= after.hard ? "raised" : "not raised");
  });
  ASSERT_TRUE(raised.ok()) << raised.status().message();
  EXPECT_EQ(*raised, "raised");
}

TEST(FileLimit, StaysWhereItCannotBeRaised) {
  const Result<std::string> kept = run_in_child([]() -> Result<std::string> {
    const rlimit low = {.rlim_cur = 16, .rlim_max = 16};
    if (setrlimit(RLIMIT_NOFILE, &low) != 0) return error(StatusCode::kIo, "setrlimit");
    return std::to_string(raise_file_limit().soft);
  });
  ASSERT_TRUE(kept.ok()) << kept.status().message();
  EXPECT_EQ(*kept, "16");
}

}  // namespace
}  // namespace flashmoe
