// Changes of subject and resets in a control group whose limit is the budget: the kernel, not a
// reading of our own, says whether it held.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "base/child_process.h"
#include "base/limited_cgroup.h"
#include "flashmoe/engine.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kLimit = 60'000'000;
constexpr std::size_t kGroupCapacity = 40;  // of 128: what the limit holds beside all else

#ifdef FLASHMOE_SANITIZED
constexpr bool kIsSanitized = true;
#else
constexpr bool kIsSanitized = false;
#endif

/// Generates on one subject, changes it, resets and begins again, in a group of kLimit.
Result<std::string> change_and_reset(const LimitedCgroup& group, const EngineOptions& options) {
  FM_RETURN_IF_ERROR(group.enter());
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::open(options));
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, engine->new_session());
  std::string text;
  for (const bool cold : {false, true, false}) {
    for (const char* prompt : {"def quicksort(items):\n    if", "\n\nThe history of the town"}) {
      GenerateOptions generate = {.max_tokens = 24, .ignore_eos = true};
      generate.is_new_subject = prompt[0] == '\n';
      FM_ASSIGN_OR_RETURN(const std::vector<std::int32_t> ids, engine->tokenize(prompt));
      FM_ASSIGN_OR_RETURN(const GenerateResult result, session->generate(ids, generate));
      text += result.text;
    }
    session->reset_experts(cold);
    FM_RETURN_IF_ERROR(session->reset());
  }
  return text;
}

TEST(LimitedMemory, HoldsSwitchesAndResets) {
  if (kIsSanitized) GTEST_SKIP() << "a sanitizer's own memory is beyond any budget";
  const auto group = LimitedCgroup::create(kLimit);
  if (!group.ok()) GTEST_SKIP() << group.status().message();
  EngineOptions options = {
      .model = sprout_folder(), .memory_bytes = kLimit, .threads = 2, .context = 512};
  for (const Residency residency : {Residency::kDelta, Residency::kAsyncDelta}) {
    options.residency = {.residency = residency, .capacity = kGroupCapacity, .refresh_every = 8};
    const auto text = run_in_child([&] { return change_and_reset(**group, options); });
    EXPECT_TRUE(text.ok()) << to_string(residency) << ": " << text.status().message();
  }
  options.residency = {};
  const auto text = run_in_child([&] { return change_and_reset(**group, options); });
  EXPECT_TRUE(text.ok()) << text.status().message();
  // The kernel does end who needs more: the experts alone take 41 MB.
  const auto small = LimitedCgroup::create(kLimit / 2);
  ASSERT_TRUE(small.ok()) << small.status().message();
  options.memory_bytes = std::uint64_t{1} << 30;
  options.residency = {.residency = Residency::kResident};
  const auto resident = run_in_child([&] { return change_and_reset(**small, options); });
  EXPECT_THAT(resident.status().message(), HasSubstr("signal 9"));
}

}  // namespace
}  // namespace flashmoe::testing
