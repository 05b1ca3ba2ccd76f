#include "server/responses.h"

#include <fmt/format.h>

#include <utility>

#include "server/dialect.h"
#include "server/web_assets.h"

namespace flashmoe::server {
namespace {

class ResponderWithHeaders : public Responder {
 public:
  ResponderWithHeaders(std::shared_ptr<Responder> inner, HttpHeaders headers)
      : inner_(std::move(inner)), headers_(std::move(headers)) {}

  void send(HttpResponse response) override { inner_->send(extended(std::move(response))); }
  void begin(HttpResponse response) override { inner_->begin(extended(std::move(response))); }
  void write(std::string part) override { inner_->write(std::move(part)); }
  void end() override { inner_->end(); }
  void on_gone(std::function<void()> callback) override { inner_->on_gone(std::move(callback)); }

 private:
  HttpResponse extended(HttpResponse response) const {
    response.headers.insert(response.headers.end(), headers_.begin(), headers_.end());
    return response;
  }

  const std::shared_ptr<Responder> inner_;
  const HttpHeaders headers_;
};

}  // namespace

ErrorJson error_json_of(std::string_view path) {
  if (path.starts_with("/v1/messages")) return anthropic_error_json;
  return path.starts_with("/api/") ? ollama_error_json : openai_error_json;
}

ErrorJson error_json_of(const HttpRequest& request) {
  const bool is_shared = request.path.starts_with("/v1/");
  return is_shared && speaks_anthropic(request) ? anthropic_error_json
                                                : error_json_of(request.path);
}

bool speaks_anthropic(const HttpRequest& request) {
  return request.header("anthropic-version").has_value();
}

HttpResponse json_response(std::string body, unsigned status) {
  return {.status = status, .body = std::move(body)};
}

HttpResponse error_response(const ApiError& error, ErrorJson error_json) {
  HttpResponse response = json_response(error_json(error), error.status);
  if (error.retry_after_seconds) {
    response.headers.emplace_back("Retry-After", fmt::format("{}", *error.retry_after_seconds));
  }
  if (!error.allowed_methods.empty()) {
    response.headers.emplace_back("Allow", error.allowed_methods);
  }
  if (error.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

HttpResponse root_response(const HttpRequest& request) {
  if (std::optional<HttpResponse> page = web_response(request)) return std::move(*page);
  return {.content_type = "text/plain; charset=utf-8", .body = "Ollama is running"};
}

std::shared_ptr<Responder> with_headers(std::shared_ptr<Responder> inner, HttpHeaders headers) {
  return std::make_shared<ResponderWithHeaders>(std::move(inner), std::move(headers));
}

}  // namespace flashmoe::server
