#include "io/testing/drain.h"

#include <array>
#include <utility>

#include "base/check.h"

namespace flashmoe {

std::map<std::uint64_t, Status> drain(ReadQueue& queue) {
  std::map<std::uint64_t, Status> statuses;
  std::array<ReadCompletion, 3> completions;  // few, so that one poll does not bring them all
  while (queue.in_flight_count() > 0) {
    const std::size_t count = queue.poll(completions, true);
    FM_CHECK(count > 0);
    for (std::size_t i = 0; i < count; ++i) {
      const auto [at, is_new] = statuses.emplace(completions[i].tag, completions[i].status);
      FM_CHECK(is_new);
    }
  }
  return statuses;
}

}  // namespace flashmoe
