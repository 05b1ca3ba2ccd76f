#include "server/request_bounds.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace flashmoe::server {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

TEST(RequestBounds, AreSharesOfTheMemory) {
  for (const std::uint64_t memory : {16 * kMiB, 96 * kMiB, 384 * kMiB}) {
    const RequestBounds bounds = request_bounds(memory, std::nullopt);
    // A large request at its worst, the next one's body, a small request at its worst, its body,
    // what waits, and what is answered.
    const std::size_t parsing = 4 * bounds.bodies.size_max;
    const std::size_t rendering = 8 * bounds.json_large_max + bounds.bodies.large_room;
    EXPECT_LE(std::max(parsing, rendering) + 8 * bounds.json_small_max + bounds.bodies.small_room +
                  bounds.waiting_max + bounds.large_answers_max + bounds.small_answers_max,
              memory);
    EXPECT_LE(bounds.bodies.size_max, bounds.bodies.large_room);
    EXPECT_LT(bounds.bodies.small_size_max, bounds.bodies.size_max);
    // A byte is a token at worst.
    EXPECT_LE(80 * bounds.tokens_max, 8 * bounds.json_large_max);
    EXPECT_LE(80 * bounds.counted_small_size_max, 8 * bounds.json_small_max);
    EXPECT_LT(bounds.small_answer_max, bounds.small_answers_max);
    EXPECT_GE(bounds.bodies.small_room, bounds.bodies.small_size_max);
  }
}

TEST(RequestBounds, FollowTheBodyThatIsAskedFor) {
  EXPECT_EQ(request_bounds(96 * kMiB, std::nullopt).bodies.size_max, 12 * kMiB);
  EXPECT_EQ(request_bounds(96 * kMiB, 1000).bodies.size_max, 1000u);
  EXPECT_EQ(request_bounds(request_bytes_for(64 * kMiB), std::nullopt).bodies.size_max, 64 * kMiB);
}

}  // namespace
}  // namespace flashmoe::server
