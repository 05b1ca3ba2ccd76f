#ifndef FLASHMOE_SERVER_SERVER_H_
#define FLASHMOE_SERVER_SERVER_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
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
  std::string model_id;          // the name that the model answers to
  std::uint64_t model_size = 0;  // of its files, bytes
  SchedulerOptions scheduler;
  std::chrono::seconds time_limit{0};   // for a request; 0: none
  std::chrono::seconds drain_time{30};  // for what is running when the server is asked to end
  /// Called for each request that is over, by any thread.
  std::function<void(const ReplyRecord&)> on_request;
};

/// The routes of all dialects over one engine.
class Server {
 public:
  /// Binds the port; nobody is served before run(). `engine` must outlive it, and is its alone.
  /// Errors: those of HttpServer and of Engine::new_scheduler().
  static Result<std::unique_ptr<Server>> create(Engine& engine, ServerOptions options);
  virtual ~Server() = default;

  virtual std::uint16_t port() const = 0;
  /// Serves until SIGINT or SIGTERM, or stop(); then lets what is running end. A second signal cuts
  /// that short.
  virtual void run() = 0;
  /// Any thread.
  virtual void stop() = 0;
};

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_SERVER_H_
