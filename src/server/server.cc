#include "server/server.h"

#include <optional>
#include <thread>
#include <utility>

#include "server/dialect.h"
#include "server/endpoint_path.h"
#include "server/endpoints.h"
#include "server/responses.h"
#include "server/web_assets.h"

namespace flashmoe::server {
namespace {

/// What has just ended still has to be written.
constexpr std::chrono::milliseconds kLastWords{200};

class ServerImpl : public Server {
 public:
  explicit ServerImpl(ServerOptions options) : options_(std::move(options)) {}
  ~ServerImpl() override {
    if (endpoints_ == nullptr) return;
    endpoints_->drain(std::chrono::seconds(0));
    if (stopper_.joinable()) stopper_.join();
    endpoints_->close();
  }

  Status listen() {
    FM_ASSIGN_OR_RETURN(
        http_, HttpServer::create(
                   options_.http,
                   [this](HttpRequest request, std::shared_ptr<Responder> responder) {
                     handle(std::move(request), std::move(responder));
                   },
                   [this](const HttpRequest& request, unsigned status, const std::string& message) {
                     return refusal(request, {.status = status, .message = message});
                   },
                   [this](const HttpRequest& request) { return refusal_before_body(request); }));
    // Until there is a model, what is asked takes no memory.
    http_->set_memory_limits({.small_size_max = 64u << 10, .small_room = 4u << 20},
                             options_.http.backlogs_max);
    return Status();
  }

  std::uint16_t port() const override { return http_->port(); }

  Status run(const Load& load) override {
    Status status;
    std::thread loader([&] {
      status = prepare(load);
      http_->post([this, &status] { status.ok() ? begin_serving() : http_->stop(); });
    });
    http_->run();
    loader.join();
    return status;
  }

  void stop() override {
    http_->post([this] { begin_stopping(); });
  }

 private:
  /// In the loading thread; the server's looks at what it made afterwards.
  Status prepare(const Load& load) {
    FM_ASSIGN_OR_RETURN(engine_, load());
    FM_ASSIGN_OR_RETURN(prepared_, Endpoints::create(*engine_, *http_, options_));
    return Status();
  }

  void begin_serving() {
    endpoints_ = std::move(prepared_);
    const RequestBounds& bounds = endpoints_->bounds();
    http_->set_memory_limits(bounds.bodies, bounds.backlogs_max);
    http_->on_signal([this](int) { begin_stopping(); });
    if (options_.on_ready) options_.on_ready(*engine_);
  }

  void begin_stopping() {
    // Asked twice, it does not wait.
    if (endpoints_ == nullptr || stopper_.joinable()) return http_->stop();
    http_->stop_listening();
    stopper_ = std::thread([this] {
      endpoints_->drain(options_.drain_time);
      http_->post_after(kLastWords, [this] { http_->stop(); });
    });
  }

  void handle(HttpRequest request, std::shared_ptr<Responder> responder) {
    if (HttpHeaders cors = cors_headers(options_.access, request); !cors.empty()) {
      responder = with_headers(std::move(responder), std::move(cors));
      if (request.method == "OPTIONS") return responder->send({.status = 204});
    }
    request.path = endpoint_path(request.path);
    if (endpoints_ != nullptr) return endpoints_->handle(std::move(request), responder);
    const ApiError refused = refusal_while_loading(request);
    if (refused.status == 503) {
      if (request.path == "/") return responder->send(root_response(request));
      if (auto asset = web_response(request)) return responder->send(std::move(*asset));
    }
    responder->send(error_response(refused, error_json_of(request)));
  }

  ApiError refusal_while_loading(const HttpRequest& request) const {
    if (auto refused = check_access(options_.access, request, /*needs_key=*/false)) {
      return std::move(*refused);
    }
    return {.status = 503, .message = "the model is being loaded", .retry_after_seconds = 1};
  }

  /// A large body that would be refused anyway is not read.
  std::optional<HttpResponse> refusal_before_body(HttpRequest request) const {
    request.path = endpoint_path(request.path);
    const auto refused =
        endpoints_ != nullptr ? endpoints_->refusal_of(request) : refusal_while_loading(request);
    if (!refused) return std::nullopt;
    return refusal(request, *refused);
  }

  /// Of what does not reach handle(): in the words of its dialect, for pages that may read it.
  HttpResponse refusal(const HttpRequest& request, const ApiError& error) const {
    HttpRequest known = request;
    known.path = endpoint_path(request.path);
    HttpResponse response = error_response(error, error_json_of(known));
    HttpHeaders cors = cors_headers(options_.access, known);
    response.headers.insert(response.headers.end(), cors.begin(), cors.end());
    if (options_.on_request) {
      options_.on_request({.endpoint = "other", .status = error.status, .error = error.message});
    }
    return response;
  }

  const ServerOptions options_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Endpoints> prepared_;   // by the loading thread
  std::unique_ptr<Endpoints> endpoints_;  // once the model is there
  // Connections know replies, which know endpoints.
  std::unique_ptr<HttpServer> http_;
  std::thread stopper_;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::create(ServerOptions options) {
  auto server = std::make_unique<ServerImpl>(std::move(options));
  FM_RETURN_IF_ERROR(server->listen());
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace flashmoe::server
