#include "io/testing/faulty_read_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <utility>
#include <vector>

#include "io/file.h"
#include "io/testing/drain.h"
#include "io/testing/temporary_file.h"

namespace flashmoe {
namespace {

class FaultyReadQueueTest : public testing::Test {
 protected:
  FaultyReadQueueTest()
      : contents_(64000, 1),
        file_(std::move(*File::open(contents_.path(), File::Mode::kDirect))),
        got_(64000) {
    for (std::size_t i = 0; i < 64; ++i) {
      requests_.push_back({.file = &file_,
                           .offset = i * 1000,
                           .destination = got_.data() + i * 1000,
                           .size = 1000,
                           .tag = 100 + i});
    }
  }

  static FaultyReadQueue make(FaultScript script = {}) {
    return FaultyReadQueue(std::move(*make_read_queue({.backend = IoBackend::kPread})),
                           std::move(script));
  }

  bool is_right(std::size_t request) const {
    return std::ranges::equal(std::span(got_).subspan(request * 1000, 1000),
                              contents_.contents().subspan(request * 1000, 1000));
  }

  TemporaryFile contents_;
  File file_;
  std::vector<std::byte> got_;
  std::vector<ReadRequest> requests_;
};

TEST_F(FaultyReadQueueTest, PassesEverythingOnWithoutAScript) {
  FaultyReadQueue queue = make();
  ASSERT_TRUE(queue.submit(requests_).ok());
  EXPECT_EQ(queue.in_flight_count(), 64u);
  const auto statuses = drain(queue);
  ASSERT_EQ(statuses.size(), 64u);
  for (std::size_t i = 0; i < 64; ++i) {
    EXPECT_TRUE(statuses.at(100 + i).ok());
    EXPECT_TRUE(is_right(i));
  }
  EXPECT_EQ(queue.statistics().request_count, 64u);
  EXPECT_EQ(queue.statistics().bytes_wanted, 64000u);
}

TEST_F(FaultyReadQueueTest, FailsTheRequestItWasToldTo) {
  for (const auto& [kind, code] : {std::pair(ReadFault::Kind::kIoError, StatusCode::kIo),
                                   std::pair(ReadFault::Kind::kEndOfFile, StatusCode::kCorrupt)}) {
    FaultyReadQueue queue = make(fail_request(5, kind));
    ASSERT_TRUE(queue.submit(requests_).ok());
    const auto statuses = drain(queue);
    ASSERT_EQ(statuses.size(), 64u);
    for (std::size_t i = 0; i < 64; ++i) {
      EXPECT_EQ(statuses.at(100 + i).code(), i == 5 ? code : StatusCode::kOk);
      EXPECT_EQ(is_right(i), i != 5);
    }
    EXPECT_NE(statuses.at(105).message().find(contents_.path().string()), std::string::npos);
    EXPECT_NE(statuses.at(105).message().find("at 5000"), std::string::npos);
    EXPECT_EQ(queue.failure_count(), 1u);
    EXPECT_EQ(queue.statistics().request_count, 64u);
  }
}

TEST_F(FaultyReadQueueTest, RefusesAWholeBatch) {
  FaultyReadQueue queue = make(fail_request(70, ReadFault::Kind::kRefused));
  EXPECT_TRUE(queue.submit(requests_).ok());
  drain(queue);
  EXPECT_EQ(queue.submit(requests_).code(), StatusCode::kIo);
  EXPECT_EQ(queue.in_flight_count(), 0u);
  EXPECT_TRUE(queue.submit(requests_).ok());
  EXPECT_EQ(drain(queue).size(), 64u);
}

TEST_F(FaultyReadQueueTest, HoldsAnAnswerBackForTheGivenPolls) {
  FaultyReadQueue queue = make([](std::uint64_t index, const ReadRequest&) {
    return ReadFault{.kind = ReadFault::Kind::kIoError, .delay_poll_count = index == 0 ? 3u : 0u};
  });
  ASSERT_TRUE(queue.submit(std::span(requests_).first(2)).ok());
  std::array<ReadCompletion, 4> completions;
  ASSERT_EQ(queue.poll(completions, false), 1u);
  EXPECT_EQ(completions[0].tag, 101u);
  EXPECT_EQ(queue.poll(completions, false), 0u);
  EXPECT_EQ(queue.poll(completions, false), 0u);
  ASSERT_EQ(queue.poll(completions, false), 1u);
  EXPECT_EQ(completions[0].tag, 100u);
}

TEST_F(FaultyReadQueueTest, DoesNotHangAWaitingPoll) {
  FaultyReadQueue queue = make(
      [](std::uint64_t, const ReadRequest&) { return ReadFault{.delay_poll_count = 1000000}; });
  ASSERT_TRUE(queue.submit(requests_).ok());
  EXPECT_EQ(drain(queue).size(), 64u);
}

TEST_F(FaultyReadQueueTest, RepeatsItselfForTheSameSeedAndReordersAnswers) {
  const auto run = [this](std::uint64_t seed) {
    FaultyReadQueue queue =
        make(seeded_faults({.seed = seed, .failure_rate = 0.25, .delay_poll_count_max = 5}));
    EXPECT_TRUE(queue.submit(requests_).ok());
    std::map<std::uint64_t, StatusCode> codes;
    std::vector<std::uint64_t> order;
    ReadCompletion completion;
    while (queue.poll({&completion, 1}, true) > 0) {
      codes[completion.tag] = completion.status.code();
      order.push_back(completion.tag);
      EXPECT_EQ(is_right(completion.tag - 100), completion.status.ok());
    }
    EXPECT_EQ(order.size(), requests_.size());
    EXPECT_FALSE(std::ranges::is_sorted(order));
    EXPECT_GT(queue.failure_count(), 5u);
    EXPECT_LT(queue.failure_count(), 30u);
    return codes;
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
}

}  // namespace
}  // namespace flashmoe
