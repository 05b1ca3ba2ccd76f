#ifndef FLASHMOE_SERVER_REQUEST_BOUNDS_H_
#define FLASHMOE_SERVER_REQUEST_BOUNDS_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "http/http_server.h"

namespace flashmoe::server {

/// How requests share the memory that the plan has for them (MemoryPlan::request_bytes). Small ones
/// have a part of their own, with a thread of their own: they overtake.
struct RequestBounds {
  BodyLimits bodies;
  /// Memory of one body's JSON, of small bodies and of large ones. Up to its tokens a request is
  /// there in several forms at once, each about as large.
  std::size_t json_small_max = 0;
  std::size_t json_large_max = 0;
  /// Tokens that a text may have which is counted, or shown as tokens, but not computed; and the
  /// largest body of such a question that is a small one.
  std::size_t tokens_max = 0;
  std::size_t counted_small_size_max = 0;
  /// Ids of prompts that wait for a place, in bytes.
  std::size_t waiting_max = 0;
  /// Answers that are not sent yet: what one may take to be a small one, and what all of each kind
  /// may.
  std::size_t small_answer_max = 0;
  std::size_t small_answers_max = 0;
  std::size_t large_answers_max = 0;
};

/// `body_size_max`: of one body, if not a share of `request_bytes`.
RequestBounds request_bounds(std::uint64_t request_bytes, std::optional<std::size_t> body_size_max);

/// The memory that lets bodies be as large as that.
std::uint64_t request_bytes_for(std::uint64_t body_size_max);

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_REQUEST_BOUNDS_H_
