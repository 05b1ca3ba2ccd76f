#include "io/read_operation.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "io/file.h"

namespace flashmoe {
namespace {

// Below what Linux (0x7ffff000) and io_uring (32 bits) take in one call; a multiple of any
// alignment.
constexpr std::uint64_t kCallSizeMax = std::uint64_t{1} << 30;

// EINTR and its kin without progress in between. Far above what a healthy system shows; a bound, so
// that a broken one gives an error rather than a hang.
constexpr std::uint32_t kRetriesMax = 10000;

std::uint64_t round_down(std::uint64_t value, std::uint64_t unit) { return value - value % unit; }

std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
  return round_down(value + unit - 1, unit);
}

}  // namespace

ReadOperation::ReadOperation(const ReadRequest& request) : request_(request) {
  FM_CHECK(request.file != nullptr);
  const std::uint64_t file_size = request.file->size();
  if (request.size == 0) {
    done_ = true;
  } else if (request.offset > file_size || request.size > file_size - request.offset) {
    fail_at_end_of_file();
  } else {
    FM_CHECK(request.destination != nullptr);
    const std::uint64_t alignment = request.file->direct_alignment();
    const auto address = reinterpret_cast<std::uintptr_t>(request.destination);
    if (request.padded) FM_CHECK(address % alignment == request.offset % alignment);
    const bool is_aligned = address % alignment == 0 && request.offset % alignment == 0 &&
                            request.size % alignment == 0;
    needs_buffer_ = !request.padded && !is_aligned;
  }
}

ReadOperation::Call ReadOperation::next_call() const {
  FM_CHECK(!done_);
  const std::uint64_t alignment = request_.file->direct_alignment();
  const std::uint64_t position = request_.offset + progress_;
  const std::uint64_t begin = round_down(position, alignment);
  const std::uint64_t size_left = round_up(request_.offset + request_.size, alignment) - begin;
  Call call{.descriptor = request_.file->descriptor(), .offset = begin};
  if (needs_buffer_) {
    FM_CHECK(!buffer_.empty());
    call.destination = buffer_.data();
    call.size = static_cast<std::size_t>(std::min<std::uint64_t>(size_left, buffer_.size()));
  } else {
    call.destination = request_.destination + progress_ - (position - begin);
    call.size = static_cast<std::size_t>(std::min(size_left, kCallSizeMax));
  }
  return call;
}

void ReadOperation::advance(std::int64_t result) {
  FM_CHECK(!done_);
  if (result < 0) {
    const int reason = static_cast<int>(-result);
    // ECANCELED: io_uring gives up some reads of a thread that ends.
    const bool is_passing = reason == EINTR || reason == EAGAIN || reason == ECANCELED;
    if (is_passing && ++retry_count_ <= kRetriesMax) return;
    fail(error(StatusCode::kIo, "{}: read {} of {} bytes at {}: {}", request_.file->path(),
               progress_, request_.size, request_.offset, std::strerror(reason)));
    return;
  }
  const Call call = next_call();
  FM_CHECK(static_cast<std::uint64_t>(result) <= call.size);
  bytes_read_ += static_cast<std::uint64_t>(result);
  const std::uint64_t position = request_.offset + progress_;
  const std::uint64_t end =
      std::min(call.offset + static_cast<std::uint64_t>(result), request_.offset + request_.size);
  // A direct read cut short within a block is tried again from the block's start; if that brings
  // nothing new, the file ends there.
  if (end <= position) {
    fail_at_end_of_file();
    return;
  }
  if (needs_buffer_) {
    std::memcpy(request_.destination + progress_, buffer_.data() + (position - call.offset),
                static_cast<std::size_t>(end - position));
  }
  progress_ = end - request_.offset;
  retry_count_ = 0;
  done_ = progress_ == request_.size;
}

void ReadOperation::fail(Status status) {
  status_ = std::move(status);
  done_ = true;
}

void ReadOperation::fail_at_end_of_file() {
  fail(error(StatusCode::kCorrupt,
             "{}: read {} of {} bytes at {}: the file ends there; the download may be incomplete",
             request_.file->path(), progress_, request_.size, request_.offset));
}

void ReadOperation::run() {
  while (!done_) {
    const Call call = next_call();
    const ssize_t result =
        pread(call.descriptor, call.destination, call.size, static_cast<off_t>(call.offset));
    advance(result >= 0 ? result : -errno);
  }
}

std::size_t take_finished(std::deque<ReadOperation>& finished,
                          std::span<ReadCompletion> completions, ReadStatistics& statistics) {
  std::size_t count = 0;
  for (; count < completions.size() && !finished.empty(); ++count) {
    const ReadOperation& operation = finished.front();
    statistics.request_count += 1;
    statistics.bytes_wanted += operation.size();
    statistics.bytes_read += operation.bytes_read();
    completions[count] = {.tag = operation.tag(), .status = operation.status()};
    finished.pop_front();
  }
  return count;
}

}  // namespace flashmoe
