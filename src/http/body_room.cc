#include "http/body_room.h"

#include <utility>

namespace flashmoe {

void BodyRoom::acquire(std::size_t size, Time now, Granted granted) {
  if (waiting_.empty() && has_place(size)) return granted(lease(size));
  waiting_.push_back({size, now, std::move(granted)});
}

BodyLease BodyRoom::lease(std::size_t size) {
  used_ += size;
  // Connections, and with them leases, may outlive the room.
  return BodyLease(this, [room = weak_from_this(), size, post = post_](void*) {
    if (room.expired()) return;
    post([room, size] {
      const std::shared_ptr<BodyRoom> self = room.lock();
      if (self == nullptr) return;
      self->used_ -= size;
      self->grant();
    });
  });
}

void BodyRoom::grant() {
  while (!waiting_.empty() && has_place(waiting_.front().size)) {
    const Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    next.granted(lease(next.size));
  }
}

void BodyRoom::give_up(Time oldest) {
  while (!waiting_.empty() && waiting_.front().since < oldest) {
    const Granted granted = std::move(waiting_.front().granted);
    waiting_.pop_front();
    granted(nullptr);
  }
  grant();
}

void BodyRoom::resize(std::size_t size) {
  size_ = size;
  grant();
}

}  // namespace flashmoe
