#ifndef FLASHMOE_IO_TESTING_FAULTY_READ_QUEUE_H_
#define FLASHMOE_IO_TESTING_FAULTY_READ_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "io/read_queue.h"

namespace flashmoe {

/// What happens to one request. The default: nothing.
struct ReadFault {
  enum class Kind : std::uint8_t {
    kNone,
    kIoError,    // EIO: completes with kIo
    kEndOfFile,  // completes with kCorrupt, as if the file were cut in the middle of the request
    kRefused,    // submit() of the batch with this request fails with kIo and starts none
  };
  Kind kind = Kind::kNone;
  /// The answer comes this many polls after it was there; a waiting poll does not wait for that
  /// long if there is nothing else.
  std::uint32_t delay_poll_count = 0;
};

/// Decides the fate of the `index`-th request (from 0, over the queue's life). Called once per
/// request, in order of submission.
using FaultScript = std::function<ReadFault(std::uint64_t index, const ReadRequest& request)>;

/// Request number `index` suffers `kind`; all others pass.
FaultScript fail_request(std::uint64_t index, ReadFault::Kind kind);

/// Every request fails with probability `failure_rate` (half EIO, half end of file), and its answer
/// comes up to `delay_poll_count_max` polls late, so that answers overtake each other.
struct SeededFaults {
  std::uint64_t seed = 0;
  double failure_rate = 0;
  std::uint32_t delay_poll_count_max = 0;
};
FaultScript seeded_faults(const SeededFaults& options);

/// A ReadQueue that passes requests on to `inner` and does to them what `script` says; without a
/// script it changes nothing. A failed request leaves garbage in its destination, as real ones do.
/// Deterministic as far as `inner` is: no clock, no threads.
class FaultyReadQueue final : public ReadQueue {
 public:
  explicit FaultyReadQueue(std::unique_ptr<ReadQueue> inner, FaultScript script = {});

  Status submit(std::span<const ReadRequest> requests) override;
  std::size_t poll(std::span<ReadCompletion> completions, bool wait) override;
  std::size_t in_flight_count() const override { return in_flight_count_; }
  bool needs_poll() const override { return inner_->needs_poll(); }
  /// The inner queue's, plus the requests failed here (with no bytes read for them).
  ReadStatistics statistics() const override;
  IoBackend backend() const override { return inner_->backend(); }

  /// Requests seen, refused ones included: the next request's index.
  std::uint64_t request_count() const { return request_count_; }
  /// Requests that failed by the script, refused ones not included.
  std::uint64_t failure_count() const { return failed_.request_count; }

 private:
  // A request whose answer this queue gives or delays. Its index in operations_ is the inner tag.
  struct Operation {
    std::uint64_t tag = 0;
    std::uint32_t delay_poll_count = 0;
  };
  struct Answer {
    ReadCompletion completion;
    std::uint32_t delay_poll_count = 0;
  };

  std::size_t add_operation(const Operation& operation);
  void collect(bool wait);

  std::unique_ptr<ReadQueue> inner_;
  FaultScript script_;
  std::vector<Operation> operations_;
  std::vector<std::size_t> free_operations_;
  std::vector<Answer> answers_;  // complete, not polled yet
  std::uint64_t request_count_ = 0;
  std::size_t in_flight_count_ = 0;
  ReadStatistics failed_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_IO_TESTING_FAULTY_READ_QUEUE_H_
