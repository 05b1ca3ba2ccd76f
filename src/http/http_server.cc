#include "http/http_server.h"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <utility>

#include "http/http_connection.h"

namespace flashmoe {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

class AsioHttpServer : public HttpServer {
 public:
  AsioHttpServer(const HttpServerOptions& options, Handler handler, Refusal refusal,
                 Admission admission)
      : context_(std::make_shared<HttpContext>()),
        acceptor_(io_),
        retry_(io_),
        watch_(io_),
        signals_(io_) {
    context_->options = options;
    context_->handler = std::move(handler);
    context_->refusal = std::move(refusal);
    context_->admission = std::move(admission);
    const auto post_task = [this](std::function<void()> task) { post(std::move(task)); };
    context_->small_bodies = std::make_shared<BodyRoom>(options.bodies.small_room, post_task);
    context_->large_bodies = std::make_shared<BodyRoom>(options.bodies.large_room, post_task);
  }
  ~AsioHttpServer() override {
    // Leases that end with the connections have nothing left to tell.
    context_->small_bodies = nullptr;
    context_->large_bodies = nullptr;
  }

  Status listen() {
    const HttpServerOptions& options = context_->options;
    error_code failure;
    asio::ip::address address;
    if (options.host == "localhost") {
      address = asio::ip::address_v4::loopback();
    } else {
      address = asio::ip::make_address(options.host, failure);
    }
    if (failure) {
      return error(StatusCode::kInvalidArgument,
                   "--host {}: not an address; use 127.0.0.1 for this machine alone, 0.0.0.0 or :: "
                   "for all that can reach it",
                   options.host);
    }
    const tcp::endpoint endpoint(address, options.port);
    const auto complain = [&](const char* what) {
      return error(StatusCode::kIo, "{} {}:{}: {}; choose another --port or --host", what,
                   options.host, options.port, failure.message());
    };
    acceptor_.open(endpoint.protocol(), failure);
    if (failure) return complain("opening");
    acceptor_.set_option(asio::socket_base::reuse_address(true), failure);
    acceptor_.bind(endpoint, failure);
    if (failure) return complain("binding");
    acceptor_.listen(asio::socket_base::max_listen_connections, failure);
    if (failure) return complain("listening on");
    port_ = acceptor_.local_endpoint(failure).port();
    return Status();
  }

  std::uint16_t port() const override { return port_; }
  std::size_t connection_count() const override { return context_->connection_count; }

  void run() override {
    accept();
    watch_clients();
    const auto work = asio::make_work_guard(io_);
    io_.run();
  }
  void set_memory_limits(const BodyLimits& bodies, std::size_t backlogs_max) override {
    context_->options.bodies = bodies;
    context_->options.backlogs_max = backlogs_max;
    context_->small_bodies->resize(bodies.small_room);
    context_->large_bodies->resize(bodies.large_room);
  }
  void post(std::function<void()> task) override { asio::post(io_, std::move(task)); }
  void post_after(std::chrono::milliseconds delay, std::function<void()> task) override {
    auto timer = std::make_shared<asio::steady_timer>(io_, delay);
    timer->async_wait([timer, task = std::move(task)](error_code failure) {
      if (!failure) task();
    });
  }
  void stop_listening() override {
    asio::post(io_, [this] {
      error_code ignored;
      acceptor_.close(ignored);
    });
  }
  void stop() override { io_.stop(); }
  void on_signal(std::function<void(int)> callback) override {
    error_code ignored;
    signals_.add(SIGINT, ignored);
    signals_.add(SIGTERM, ignored);
    on_signal_ = std::move(callback);
    wait_for_signal();
  }

 private:
  void accept() {
    acceptor_.async_accept([this](error_code failure, tcp::socket socket) {
      if (!acceptor_.is_open()) return;
      if (failure) {
        // Out of descriptors, most likely: connections that end give some back.
        retry_.expires_after(std::chrono::milliseconds(100));
        retry_.async_wait([this](error_code ended) {
          if (!ended) accept();
        });
        return;
      }
      if (context_->connection_count < context_->options.connections_max) {
        std::make_shared<HttpConnection>(std::move(socket), context_)->start();
      }
      accept();
    });
  }

  /// Looks now and then at those who let us wait, and at those whom we let wait.
  void watch_clients() {
    const HttpServerOptions& options = context_->options;
    watch_.expires_after(
        std::min({options.write_timeout, options.room_timeout, std::chrono::seconds(5)}));
    watch_.async_wait([this](error_code failure) {
      if (failure) return;
      const auto now = std::chrono::steady_clock::now();
      // Closing one takes it out when its operation has ended, not at once.
      for (HttpConnection* connection : context_->writing) connection->check_progress(now);
      context_->small_bodies->give_up(now - context_->options.room_timeout);
      context_->large_bodies->give_up(now - context_->options.room_timeout);
      watch_clients();
    });
  }

  void wait_for_signal() {
    signals_.async_wait([this](error_code failure, int number) {
      if (failure) return;
      on_signal_(number);
      wait_for_signal();
    });
  }

  // Connections of the io_context are destroyed with it, and use the context to the last.
  const std::shared_ptr<HttpContext> context_;
  asio::io_context io_{1};
  tcp::acceptor acceptor_;
  asio::steady_timer retry_;
  asio::steady_timer watch_;
  asio::signal_set signals_;
  std::function<void(int)> on_signal_;
  std::uint16_t port_ = 0;
};

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::create(const HttpServerOptions& options,
                                                       Handler handler, Refusal refusal,
                                                       Admission admission) {
  auto server = std::make_unique<AsioHttpServer>(options, std::move(handler), std::move(refusal),
                                                 std::move(admission));
  FM_RETURN_IF_ERROR(server->listen());
  return std::unique_ptr<HttpServer>(std::move(server));
}

}  // namespace flashmoe
