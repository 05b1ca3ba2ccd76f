#ifndef FLASHMOE_SERVER_ENDPOINTS_H_
#define FLASHMOE_SERVER_ENDPOINTS_H_

#include <chrono>
#include <memory>
#include <optional>

#include "base/result.h"
#include "flashmoe/engine.h"
#include "http/http_server.h"
#include "server/api_error.h"
#include "server/request_bounds.h"
#include "server/server.h"

namespace flashmoe::server {

/// What there is at each path: the routes of all dialects over one engine.
class Endpoints {
 public:
  /// `engine`, `http` and `options` must outlive it; the engine is its alone. Errors: those of
  /// Engine::new_scheduler().
  static Result<std::unique_ptr<Endpoints>> create(Engine& engine, HttpServer& http,
                                                   const ServerOptions& options);
  virtual ~Endpoints() = default;

  /// The server's thread. Answers what may be asked, and refuses the rest. The request's path is
  /// spelled as endpoint_path() does.
  virtual void handle(HttpRequest request, const std::shared_ptr<Responder>& responder) = 0;
  /// The server's thread. Why a request is refused before its body is read, if it is.
  virtual std::optional<ApiError> refusal_of(const HttpRequest& request) const = 0;
  /// What requests may take.
  virtual const RequestBounds& bounds() const = 0;
  /// Takes no more work, waits up to `patience` for what is running, and cancels the rest.
  virtual void drain(std::chrono::seconds patience) = 0;
  /// Ends its threads: `http` may go. Once, after drain().
  virtual void close() = 0;
};

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_ENDPOINTS_H_
