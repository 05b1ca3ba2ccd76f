#include "server/request_bounds.h"

#include <algorithm>

namespace flashmoe::server {
namespace {

// Shares of the memory for requests. A body that is one string is there four times while it is
// parsed: itself, and in two growing buffers of the parser, which then are empty again. A
// conversation is there up to eight times while it is rendered: as JSON, read by the dialect,
// written for the engine, read there and adapted, as the template's values, and as text that grows.
// So a large request takes at most 4/8 or 8/20, beside the next one's body 1/8, a small one 1/32
// and 8/80, what waits 1/10, and answers until they are sent 1/6 and 1/24. docs/memory.md has what
// was measured.
constexpr std::uint64_t kBodyShare = 8;
constexpr std::uint64_t kSmallRoomShare = 32;
constexpr std::uint64_t kLargeJsonShare = 20;
constexpr std::uint64_t kSmallJsonShare = 80;
constexpr std::uint64_t kWaitingShare = 10;
constexpr std::uint64_t kLargeAnswersShare = 6;
constexpr std::uint64_t kSmallAnswersShare = 24;

/// An answer takes that many times less than all small ones to be one of them.
constexpr std::size_t kSmallAnswerShare = 16;

/// A body takes that many times less to be a small one, and at most so much.
constexpr std::size_t kSmallBodyShare = 8;
constexpr std::size_t kSmallBodyMax = std::size_t{1} << 20;

/// What text takes for each of its tokens: a word's place, in lists that grow.
constexpr std::size_t kBytesPerToken = 80;

}  // namespace

RequestBounds request_bounds(std::uint64_t request_bytes,
                             std::optional<std::size_t> body_size_max) {
  const auto share = [&](std::uint64_t part) {
    return static_cast<std::size_t>(request_bytes / part);
  };
  RequestBounds bounds;
  bounds.bodies.size_max = body_size_max.value_or(share(kBodyShare));
  bounds.bodies.small_size_max = std::min(share(kBodyShare) / kSmallBodyShare, kSmallBodyMax);
  bounds.bodies.small_room = share(kSmallRoomShare);
  bounds.bodies.large_room = share(kBodyShare);
  bounds.json_small_max = share(kSmallJsonShare);
  bounds.json_large_max = share(kLargeJsonShare);
  bounds.tokens_max = 8 * bounds.json_large_max / kBytesPerToken;
  bounds.counted_small_size_max = 8 * bounds.json_small_max / kBytesPerToken;
  bounds.waiting_max = share(kWaitingShare);
  bounds.small_answers_max = share(kSmallAnswersShare);
  bounds.small_answer_max = bounds.small_answers_max / kSmallAnswerShare;
  bounds.large_answers_max = share(kLargeAnswersShare);
  return bounds;
}

std::uint64_t request_bytes_for(std::uint64_t body_size_max) { return kBodyShare * body_size_max; }

}  // namespace flashmoe::server
