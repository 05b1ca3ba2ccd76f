#ifndef FLASHMOE_EXPERTS_READ_PUMP_H_
#define FLASHMOE_EXPERTS_READ_PUMP_H_

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace flashmoe {

/// Keeps reads going that wait for others to end, on a thread of its own, while those who asked for
/// them compute: a queue shows the device a limited number of reads, and passes on more when it is
/// polled.
///
/// Thread-safe. Where the system has no thread left, reads wait until somebody needs them.
class ReadPump {
 public:
  /// `poll` passes reads on, on the pump's thread, and says whether more are waiting.
  explicit ReadPump(std::function<bool()> poll) : poll_(std::move(poll)) {}
  ~ReadPump();
  ReadPump(const ReadPump&) = delete;
  ReadPump& operator=(const ReadPump&) = delete;

  /// Reads are waiting: polls now and then until none is. Never waits.
  void wake();

 private:
  void run();

  const std::function<bool()> poll_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool awake_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_READ_PUMP_H_
