#ifndef FLASHMOE_HTTP_HTTP_SERVER_H_
#define FLASHMOE_HTTP_HTTP_SERVER_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "http/http_message.h"

namespace flashmoe {

/// Answers one request: by send(), or by begin() and then any number of write() and one end(). Any
/// thread may call it, also after the client has gone: then nothing happens. A request that is let
/// go of unanswered is answered with 500.
class Responder {
 public:
  virtual ~Responder() = default;

  virtual void send(HttpResponse response) = 0;

  /// Begins a response of unknown length: the body of `response` is its first part.
  virtual void begin(HttpResponse response) = 0;
  virtual void write(std::string part) = 0;
  virtual void end() = 0;

  /// `callback` is called by the server's thread if the client goes before the response is whole;
  /// at once if it has gone. At most one callback.
  virtual void on_gone(std::function<void()> callback) = 0;
};

/// Memory for the bodies of requests, from the first byte that is read until their leases end.
/// Small ones have a room of their own, so that they need not wait for large ones. In each room
/// bodies come in order of arrival; one that has no place yet is not read.
struct BodyLimits {
  std::size_t size_max = std::size_t{64} << 20;       // of one body; a larger one is a 413
  std::size_t small_size_max = std::size_t{1} << 20;  // up to which a body is a small one
  std::size_t small_room = std::size_t{32} << 20;     // of all small ones together
  std::size_t large_room = std::size_t{128} << 20;    // of all others together
};

struct HttpServerOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 8080;  // 0: any that is free
  BodyLimits bodies;
  std::size_t header_size_max = 64u << 10;
  std::size_t connections_max = 4096;
  /// Bytes that wait for a client that reads slowly; with more it is cut off.
  std::size_t backlog_max = std::size_t{8} << 20;
  /// Of all clients that read slowly: beyond it those with more than an even part are cut off.
  std::size_t backlogs_max = std::size_t{32} << 20;
  std::chrono::seconds idle_timeout{120};  // between requests
  std::chrono::seconds read_timeout{
      30};  // for headers, once they have begun, and each MiB of a body
  std::chrono::seconds room_timeout{60};   // for a body to have a place; then it is a 503
  std::chrono::seconds write_timeout{60};  // for a client to read anything at all
};

/// An HTTP/1.1 server: sockets, limits and time-outs; what to answer is the handler's. One thread
/// serves all connections: handlers must not block.
class HttpServer {
 public:
  using Handler = std::function<void(HttpRequest request, std::shared_ptr<Responder> responder)>;
  /// What to answer to what is no proper request: a status, and why. `request` has what was read of
  /// it, without a body; its path is "/" where not even that was.
  using Refusal = std::function<HttpResponse(const HttpRequest& request, unsigned status,
                                             const std::string& message)>;
  /// What to answer to a request with a large body rather than read it; none: it is read. `request`
  /// has no body.
  using Admission = std::function<std::optional<HttpResponse>(const HttpRequest& request)>;

  /// Binds and listens; nobody is served before run(). Without `admission` all bodies are read.
  /// Errors: kInvalidArgument for a host that is none; kIo, naming address and remedy.
  static Result<std::unique_ptr<HttpServer>> create(const HttpServerOptions& options,
                                                    Handler handler, Refusal refusal,
                                                    Admission admission = {});
  virtual ~HttpServer() = default;

  virtual std::uint16_t port() const = 0;
  virtual std::size_t connection_count() const = 0;

  /// Serves, in the calling thread, until stop().
  virtual void run() = 0;
  /// The server's thread, or before run(): other limits for the bodies that come from now on, and
  /// another HttpServerOptions::backlogs_max.
  virtual void set_memory_limits(const BodyLimits& bodies, std::size_t backlogs_max) = 0;

  /// Any thread: runs `task` in the server's thread, soon.
  virtual void post(std::function<void()> task) = 0;
  /// Any thread: runs `task` in the server's thread after a while, unless the server ends first.
  virtual void post_after(std::chrono::milliseconds delay, std::function<void()> task) = 0;
  /// Any thread: takes no more connections; responses that have begun go on.
  virtual void stop_listening() = 0;
  /// Any thread: ends run(), cutting off whoever is still there.
  virtual void stop() = 0;
  /// Calls `callback` with the number of each SIGINT and SIGTERM that comes from now on.
  virtual void on_signal(std::function<void(int)> callback) = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_HTTP_HTTP_SERVER_H_
