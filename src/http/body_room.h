#ifndef FLASHMOE_HTTP_BODY_ROOM_H_
#define FLASHMOE_HTTP_BODY_ROOM_H_

#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>

#include "http/http_message.h"

namespace flashmoe {

/// Memory that bodies of requests share. Who asks gets a place at once, or waits in order of
/// arrival. All but the end of a lease happens in the server's thread.
class BodyRoom : public std::enable_shared_from_this<BodyRoom> {
 public:
  using Time = std::chrono::steady_clock::time_point;
  /// Called with a lease, or with null where it has waited too long.
  using Granted = std::function<void(BodyLease lease)>;

  /// `post` runs a task in the server's thread, soon; any thread calls it.
  BodyRoom(std::size_t size, std::function<void(std::function<void()>)> post)
      : size_(size), post_(std::move(post)) {}

  /// A body larger than the room has it alone.
  void acquire(std::size_t size, Time now, Granted granted);
  /// Refuses those that have waited since before `oldest`.
  void give_up(Time oldest);
  void resize(std::size_t size);

 private:
  struct Waiting {
    std::size_t size = 0;
    Time since;
    Granted granted;
  };

  bool has_place(std::size_t size) const { return used_ == 0 || used_ + size <= size_; }
  BodyLease lease(std::size_t size);
  void grant();

  std::size_t size_;
  std::size_t used_ = 0;
  const std::function<void(std::function<void()>)> post_;
  std::deque<Waiting> waiting_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_HTTP_BODY_ROOM_H_
