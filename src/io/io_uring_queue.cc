#include "io/io_uring_queue.h"

#include <liburing.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <fstream>
#include <memory>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/check.h"
#include "io/read_operation.h"

namespace flashmoe {
namespace {

// Submissions that the kernel may put off in a row, with none of ours in flight, before we give up.
constexpr int kRefusalsMax = 10000;

Status setup_error(int reason) {
  const auto unsupported = [](std::string_view why) {
    return error(StatusCode::kUnsupported, "io_uring is not available: {}, or use --io pread", why);
  };
  switch (reason) {
    case ENOSYS:
      return unsupported("this kernel lacks it; use Linux 5.6 or newer");
    case EPERM:
    case EACCES: {
      int disabled = 0;
      std::ifstream("/proc/sys/kernel/io_uring_disabled") >> disabled;
      return unsupported(
          disabled != 0 ? "an administrator disabled it; set `sysctl kernel.io_uring_disabled=0`"
                        : "a seccomp profile forbids it; start the container with one that "
                          "allows io_uring (docker run --security-opt seccomp=unconfined)");
    }
    case ENOMEM:
      return unsupported("too little lockable memory; raise `ulimit -l`");
    case EMFILE:
    case ENFILE:
      return unsupported("too many open files; raise `ulimit -n`");
    default:
      return unsupported(fmt::format("setup failed ({}); see `dmesg`", std::strerror(reason)));
  }
}

class IoUringQueue final : public ReadQueue {
 public:
  ~IoUringQueue() override {
    if (slots_.empty()) return;  // start() failed
    waiting_.clear();
    stopping_ = true;
    while (in_kernel_count_ > 0) collect(/*wait=*/true);
    io_uring_queue_exit(&ring_);
  }

  Status start(std::size_t depth) {
    const int result = io_uring_queue_init(static_cast<unsigned>(depth), &ring_, 0);
    if (result < 0) return setup_error(-result);
    slots_.resize(depth);
    for (std::size_t i = 0; i < depth; ++i) free_slots_.push_back(i);
    struct Free {
      void operator()(io_uring_probe* probe) const { io_uring_free_probe(probe); }
    };
    const std::unique_ptr<io_uring_probe, Free> probe(io_uring_get_probe_ring(&ring_));
    if (probe == nullptr || !io_uring_opcode_supported(probe.get(), IORING_OP_READ)) {
      return setup_error(ENOSYS);
    }
    return Status();
  }

  Status submit(std::span<const ReadRequest> requests) override {
    FM_RETURN_IF_ERROR(broken_);
    for (const ReadRequest& request : requests) {
      ReadOperation operation(request);
      (operation.done() ? finished_ : waiting_).push_back(std::move(operation));
    }
    in_flight_count_ += requests.size();
    fill_slots();
    return Status();
  }

  std::size_t poll(std::span<ReadCompletion> completions, bool wait) override {
    if (in_flight_count_ == 0 || completions.empty()) return 0;
    collect(/*wait=*/false);
    while (wait && finished_.empty()) collect(/*wait=*/true);
    const std::size_t count = take_finished(finished_, completions, statistics_);
    in_flight_count_ -= count;
    return count;
  }

  std::size_t in_flight_count() const override { return in_flight_count_; }
  bool needs_poll() const override { return !waiting_.empty() || !prepared_.empty(); }
  ReadStatistics statistics() const override { return statistics_; }
  IoBackend backend() const override { return IoBackend::kIoUring; }

 private:
  // Gives waiting requests to the kernel while there are slots, and buffers for those that need
  // one.
  void fill_slots() {
    while (!waiting_.empty() && !free_slots_.empty()) {
      ReadOperation& next = waiting_.front();
      if (next.needs_buffer() && !take_buffer(next)) break;
      if (!next.done()) {
        const std::size_t slot = free_slots_.back();
        free_slots_.pop_back();
        slots_[slot] = std::move(next);
        prepare(slot);
      } else {
        finished_.push_back(std::move(next));
      }
      waiting_.pop_front();
    }
    flush();
  }

  // False while others use every buffer. A failed allocation fails the operation.
  bool take_buffer(ReadOperation& operation) {
    if (free_buffers_.empty() && buffers_.size() < kBounceBufferCount) {
      auto buffer = AlignedBuffer::allocate(kBounceBufferSize);
      if (!buffer.ok()) {
        operation.fail(buffer.status());
        return true;
      }
      buffers_.push_back(std::move(*buffer));
      free_buffers_.push_back(buffers_.back().bytes());
    }
    if (free_buffers_.empty()) return false;
    operation.set_buffer(free_buffers_.back());
    free_buffers_.pop_back();
    return true;
  }

  void prepare(std::size_t slot) {
    io_uring_sqe* const entry = io_uring_get_sqe(&ring_);
    FM_CHECK(entry != nullptr);  // the ring has an entry per slot
    const ReadOperation::Call call = slots_[slot].next_call();
    io_uring_prep_read(entry, call.descriptor, call.destination, static_cast<unsigned>(call.size),
                       call.offset);
    io_uring_sqe_set_data64(entry, slot);
    prepared_.push_back(slot);
  }

  // Hands the prepared entries to the kernel, in one system call as a rule.
  void flush() {
    int refusal_count = 0;
    while (broken_.ok() && !prepared_.empty()) {
      const int result = io_uring_submit(&ring_);
      if (result > 0) {
        FM_CHECK(static_cast<std::size_t>(result) <= prepared_.size());
        prepared_.erase(prepared_.begin(), prepared_.begin() + result);
        in_kernel_count_ += static_cast<std::size_t>(result);
        continue;
      }
      const bool is_passing =
          result == 0 || result == -EINTR || result == -EAGAIN || result == -EBUSY;
      if (!is_passing || ++refusal_count > kRefusalsMax) {
        break_down(
            error(StatusCode::kIo, "io_uring: cannot submit reads: {}", std::strerror(-result)));
      } else if (result != -EINTR && in_kernel_count_ > 0) {
        // Out of kernel memory for the moment. The end of a read frees some, and collecting it
        // comes back here.
        return;
      }
    }
  }

  // The ring takes no more entries. What it has will still complete; everything else fails.
  void break_down(Status status) {
    broken_ = std::move(status);
    for (const std::size_t slot : prepared_) {
      slots_[slot].fail(broken_);
      finish(slot);
    }
    prepared_.clear();
    for (ReadOperation& operation : waiting_) {
      operation.fail(broken_);
      finished_.push_back(std::move(operation));
    }
    waiting_.clear();
  }

  void finish(std::size_t slot) {
    ReadOperation& operation = slots_[slot];
    if (!operation.buffer().empty()) free_buffers_.push_back(operation.buffer());
    finished_.push_back(std::move(operation));
    free_slots_.push_back(slot);
  }

  // Takes what the kernel has finished, and gives it more. With `wait`, blocks for at least one.
  void collect(bool wait) {
    io_uring_cqe* entry = nullptr;
    if (wait && in_kernel_count_ > 0) {
      int result = 0;
      do {
        result = io_uring_wait_cqe(&ring_, &entry);
      } while (result == -EINTR || result == -EAGAIN);
      FM_CHECK(result == 0);
    }
    while (io_uring_peek_cqe(&ring_, &entry) == 0) {
      const auto slot = static_cast<std::size_t>(io_uring_cqe_get_data64(entry));
      const int result = entry->res;
      io_uring_cqe_seen(&ring_, entry);
      --in_kernel_count_;
      slots_[slot].advance(result);
      if (slots_[slot].done() || stopping_) {
        finish(slot);
      } else if (broken_.ok()) {
        prepare(slot);
      } else {
        slots_[slot].fail(broken_);
        finish(slot);
      }
    }
    fill_slots();
  }

  io_uring ring_ = {};
  std::vector<ReadOperation> slots_;  // one per read that the device may see
  std::vector<std::size_t> free_slots_;
  std::deque<std::size_t> prepared_;  // slots whose entry the kernel has not taken yet, in order
  std::size_t in_kernel_count_ = 0;
  std::deque<ReadOperation> waiting_;   // no slot yet
  std::deque<ReadOperation> finished_;  // not polled yet
  std::vector<AlignedBuffer> buffers_;
  std::vector<std::span<std::byte>> free_buffers_;
  std::size_t in_flight_count_ = 0;
  ReadStatistics statistics_;
  Status broken_;
  bool stopping_ = false;
};

}  // namespace

Result<std::unique_ptr<ReadQueue>> make_io_uring_queue(const ReadQueueOptions& options) {
  auto queue = std::make_unique<IoUringQueue>();
  FM_RETURN_IF_ERROR(queue->start(options.depth));
  return std::unique_ptr<ReadQueue>(std::move(queue));
}

}  // namespace flashmoe
