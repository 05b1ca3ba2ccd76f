#ifndef FLASHMOE_SERVER_SERVER_H_
#define FLASHMOE_SERVER_SERVER_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "flashmoe/engine.h"
#include "http/http_server.h"
#include "server/access.h"
#include "server/reply.h"

namespace flashmoe::server {

struct ServerOptions {
  HttpServerOptions http;
  AccessRules access;
  /// Of a body; none: a share of the plan's memory for requests.
  std::optional<std::size_t> body_size_max;
  std::string model_id;  // the name that the model answers to
  /// Control tokens are read in what users and tools say, too (docs/serving.md).
  bool allow_control_tokens = false;
  SchedulerOptions scheduler;
  /// Images and other content that a text model cannot read are refused; else placeholders stand
  /// for them.
  bool is_content_strict = false;
  std::chrono::seconds time_limit{0};   // for a request; 0: none
  std::chrono::seconds drain_time{30};  // for what is running when the server is asked to end
  /// Called once, by the server's thread, when the model is there.
  std::function<void(const Engine& engine)> on_ready;
  /// Called for each request that is over, by any thread.
  std::function<void(const ReplyRecord&)> on_request;
};

/// A model behind HTTP. It listens before the model is loaded: until then requests are told to come
/// back.
class Server {
 public:
  using Load = std::function<Result<std::unique_ptr<Engine>>()>;

  /// Binds the port; nobody is served before run(). Errors: those of HttpServer.
  static Result<std::unique_ptr<Server>> create(ServerOptions options);
  virtual ~Server() = default;

  virtual std::uint16_t port() const = 0;
  /// Loads the model, by `load` in a thread of its own, and serves it until SIGINT, SIGTERM or
  /// stop(); then lets what is running end. A second signal cuts that short. Signals that come
  /// before the model is there do what they do anyway. Errors: those of `load` and of
  /// Engine::new_scheduler().
  virtual Status run(const Load& load) = 0;
  /// Any thread. While the model is being loaded, run() returns when that is done.
  virtual void stop() = 0;
};

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_SERVER_H_
