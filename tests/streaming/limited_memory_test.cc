// Changes of subject and resets in a control group whose limit is the budget: the kernel, not a
// reading of our own, says whether it held.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/child_process.h"
#include "base/limited_cgroup.h"
#include "base/memory_info.h"
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

/// Takes as much memory at 16 MB/s as `orders` says, and holds it for a second.
bool take_memory(int orders) {
  std::uint64_t bytes = 0;
  if (read(orders, &bytes, sizeof(bytes)) != sizeof(bytes)) return false;
  constexpr std::size_t kPiece = 4'000'000;
  for (std::uint64_t taken = 0; taken < bytes; taken += kPiece) {
    std::this_thread::sleep_for(std::chrono::milliseconds(250));
    void* const piece =
        mmap(nullptr, kPiece, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (piece == MAP_FAILED) return false;
    std::memset(piece, 1, kPiece);
  }
  std::this_thread::sleep_for(std::chrono::seconds(1));
  return true;
}

/// Fills its slots in `group`, then generates beside a process that takes, at 16 MB/s, what the
/// group has left and half of the slots.
Result<std::string> generate_beside_neighbour(const LimitedCgroup& group,
                                              const EngineOptions& options) {
  FM_RETURN_IF_ERROR(group.enter());
  // Forked before there is anything that the two would share.
  std::array<int, 2> orders;
  if (pipe(orders.data()) != 0) return Status(StatusCode::kIo, "pipe");
  const pid_t neighbour = fork();
  if (neighbour < 0) return Status(StatusCode::kIo, "fork");
  if (neighbour == 0) {
    close(orders[1]);
    _exit(take_memory(orders[0]) ? 0 : 1);
  }
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::open(options));
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, engine->new_session());
  const auto generate = [&](std::string_view text) -> Status {
    FM_RETURN_IF_ERROR(session->reset());
    FM_ASSIGN_OR_RETURN(const std::vector<std::int32_t> ids, engine->tokenize(text));
    return session->generate(ids, {.max_tokens = 16, .ignore_eos = true}).status();
  };
  for (const std::string_view text :
       {"def quicksort(items):", "The history of the town", "Once upon a time", "春天来了，"}) {
    FM_RETURN_IF_ERROR(generate(text));
  }
  const std::uint64_t wanted =
      read_memory_info().headroom_bytes() + engine->memory_plan().expert_bytes / 2;
  if (write(orders[1], &wanted, sizeof(wanted)) != sizeof(wanted)) {
    return Status(StatusCode::kIo, "write");
  }
  int how = 0;
  while (waitpid(neighbour, &how, WNOHANG) == 0) {
    FM_RETURN_IF_ERROR(generate("The sea was calm, and"));
  }
  if (!WIFEXITED(how) || WEXITSTATUS(how) != 0) {
    return Status(StatusCode::kIo, "the neighbour could not have its memory");
  }
  return std::string(engine->statistics().cache_shrinks > 0 ? "gave" : "kept");
}

// Nothing that the group uses is page cache: once its limit is met there is nothing to drop, and
// the kernel ends somebody.
TEST(LimitedMemory, GivesSlotsToANeighbourThatGrowsFast) {
  if (kIsSanitized) GTEST_SKIP() << "a sanitizer's own memory is beyond any budget";
  const auto group = LimitedCgroup::create(3 * kLimit / 2);
  if (!group.ok()) GTEST_SKIP() << group.status().message();
  const EngineOptions options = {
      .model = sprout_folder(), .memory_bytes = 3 * kLimit / 2, .threads = 1, .context = 512};
  const auto outcome = run_in_child([&] { return generate_beside_neighbour(**group, options); });
  ASSERT_TRUE(outcome.ok()) << outcome.status().message();
  EXPECT_EQ(*outcome, "gave");
}

}  // namespace
}  // namespace flashmoe::testing
