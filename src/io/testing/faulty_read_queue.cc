#include "io/testing/faulty_read_queue.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "io/file.h"

namespace flashmoe {
namespace {

Status failure(ReadFault::Kind kind, const ReadRequest& request) {
  if (kind == ReadFault::Kind::kEndOfFile) {
    return error(StatusCode::kCorrupt,
                 "{}: read {} of {} bytes at {}: the file ends there (injected)",
                 request.file->path(), request.size / 2, request.size, request.offset);
  }
  return error(StatusCode::kIo, "{}: read 0 of {} bytes at {}: Input/output error (injected)",
               request.file->path(), request.size, request.offset);
}

}  // namespace

FaultScript fail_request(std::uint64_t index, ReadFault::Kind kind) {
  return [index, kind](std::uint64_t at, const ReadRequest&) {
    return ReadFault{.kind = at == index ? kind : ReadFault::Kind::kNone};
  };
}

FaultScript seeded_faults(const SeededFaults& options) {
  return
      [options, random = std::mt19937_64(options.seed)](std::uint64_t, const ReadRequest&) mutable {
        ReadFault fault;
        // 53 random bits as a number in [0, 1): the same on every standard library.
        const double draw = static_cast<double>(random() >> 11) * 0x1p-53;
        if (draw < options.failure_rate) {
          fault.kind = draw < options.failure_rate / 2 ? ReadFault::Kind::kIoError
                                                       : ReadFault::Kind::kEndOfFile;
        }
        const std::uint64_t choices = std::uint64_t{options.delay_poll_count_max} + 1;
        fault.delay_poll_count = static_cast<std::uint32_t>(random() % choices);
        return fault;
      };
}

FaultyReadQueue::FaultyReadQueue(std::unique_ptr<ReadQueue> inner, FaultScript script)
    : inner_(std::move(inner)), script_(std::move(script)) {
  FM_CHECK(inner_ != nullptr);
}

std::size_t FaultyReadQueue::add_operation(const Operation& operation) {
  if (free_operations_.empty()) {
    operations_.push_back(operation);
    return operations_.size() - 1;
  }
  const std::size_t index = free_operations_.back();
  free_operations_.pop_back();
  operations_[index] = operation;
  return index;
}

Status FaultyReadQueue::submit(std::span<const ReadRequest> requests) {
  std::vector<ReadFault> faults;
  for (const ReadRequest& request : requests) {
    faults.push_back(script_ ? script_(request_count_, request) : ReadFault{});
    request_count_ += 1;
  }
  if (std::ranges::any_of(faults,
                          [](const ReadFault& f) { return f.kind == ReadFault::Kind::kRefused; })) {
    return error(StatusCode::kIo, "cannot submit {} reads (injected)", requests.size());
  }
  std::vector<ReadRequest> passed;
  std::vector<Answer> failed;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    ReadRequest request = requests[i];
    const std::uint32_t delay = faults[i].delay_poll_count;
    if (faults[i].kind == ReadFault::Kind::kNone) {
      request.tag = add_operation({.tag = requests[i].tag, .delay_poll_count = delay});
      passed.push_back(request);
    } else {
      failed.push_back({{request.tag, failure(faults[i].kind, request)}, delay});
    }
  }
  if (Status status = inner_->submit(passed); !status.ok()) {
    for (const ReadRequest& request : passed) {
      free_operations_.push_back(static_cast<std::size_t>(request.tag));
    }
    return status;
  }
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (faults[i].kind == ReadFault::Kind::kNone) continue;
    failed_.request_count += 1;
    failed_.bytes_wanted += requests[i].size;
    if (requests[i].size > 0) std::memset(requests[i].destination, 0xee, requests[i].size);
  }
  std::ranges::move(failed, std::back_inserter(answers_));
  in_flight_count_ += requests.size();
  return Status();
}

void FaultyReadQueue::collect(bool wait) {
  std::array<ReadCompletion, 16> completions;
  for (;;) {
    const std::size_t count = inner_->poll(completions, wait);
    for (std::size_t i = 0; i < count; ++i) {
      const auto index = static_cast<std::size_t>(completions[i].tag);
      const Operation operation = operations_[index];
      free_operations_.push_back(index);
      answers_.push_back(
          {{operation.tag, std::move(completions[i].status)}, operation.delay_poll_count});
    }
    if (count < completions.size()) return;
    wait = false;
  }
}

std::size_t FaultyReadQueue::poll(std::span<ReadCompletion> completions, bool wait) {
  if (in_flight_count_ == 0 || completions.empty()) return 0;
  const auto none_due = [this] {
    return std::ranges::none_of(answers_, [](const Answer& a) { return a.delay_poll_count == 0; });
  };
  collect(/*wait=*/false);
  while (wait && none_due() && inner_->in_flight_count() > 0) collect(/*wait=*/true);
  if (wait && none_due()) {
    // Nothing else to wait for: the answer that is due first comes now.
    std::ranges::min_element(answers_, {}, &Answer::delay_poll_count)->delay_poll_count = 0;
  }
  std::size_t count = 0;
  std::vector<Answer> later;
  for (Answer& answer : answers_) {
    if (answer.delay_poll_count == 0 && count < completions.size()) {
      completions[count] = std::move(answer.completion);
      count += 1;
    } else {
      answer.delay_poll_count -= answer.delay_poll_count > 0 ? 1 : 0;
      later.push_back(std::move(answer));
    }
  }
  answers_ = std::move(later);
  in_flight_count_ -= count;
  return count;
}

ReadStatistics FaultyReadQueue::statistics() const {
  ReadStatistics sum = inner_->statistics();
  sum.request_count += failed_.request_count;
  sum.bytes_wanted += failed_.bytes_wanted;
  return sum;
}

}  // namespace flashmoe
