#ifndef FLASHMOE_SERVER_MEMORY_SHARE_H_
#define FLASHMOE_SERVER_MEMORY_SHARE_H_

#include <cstddef>
#include <memory>
#include <mutex>

namespace flashmoe::server {

/// Bytes that requests may hold together. Thread-safe.
class MemoryShare {
 public:
  explicit MemoryShare(std::size_t size) : state_(std::make_shared<State>()) {
    state_->left = size;
  }

  /// `size` bytes, until the lease ends; null if there are not as many left. Leases may outlive
  /// this.
  std::shared_ptr<void> take(std::size_t size) {
    const std::lock_guard lock(state_->mutex);
    if (size > state_->left) return nullptr;
    state_->left -= size;
    return std::shared_ptr<void>(state_.get(), [state = state_, size](void*) {
      const std::lock_guard lock(state->mutex);
      state->left += size;
    });
  }

 private:
  struct State {
    std::mutex mutex;
    std::size_t left = 0;
  };

  const std::shared_ptr<State> state_;
};

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_MEMORY_SHARE_H_
