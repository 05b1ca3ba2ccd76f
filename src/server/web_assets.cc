#include "server/web_assets.h"

#include <algorithm>
#include <string>

namespace flashmoe::server {
namespace {

HttpResponse asset_response(const WebAsset& asset, const HttpRequest& request) {
  HttpResponse response{.content_type = std::string(asset.content_type),
                        .headers = {{"Content-Security-Policy", kWebPagePolicy},
                                    {"X-Content-Type-Options", "nosniff"},
                                    {"X-Frame-Options", "DENY"},
                                    {"Referrer-Policy", "no-referrer"},
                                    {"Cache-Control", "no-cache"},
                                    {"ETag", std::string(asset.etag)},
                                    {"Vary", "Accept"}}};
  const std::string_view known = request.header("If-None-Match").value_or("");
  if (known.find(asset.etag) != std::string_view::npos) {
    response.status = 304;
  } else {
    response.body = asset.body;
  }
  return response;
}

}  // namespace

std::optional<HttpResponse> web_response(const HttpRequest& request) {
  const bool is_root = request.path == "/";
  const std::string_view accept = request.header("Accept").value_or("");
  if (is_root && accept.find("text/html") == std::string_view::npos) return std::nullopt;
  const std::string_view path = is_root ? "/web/index.html" : std::string_view(request.path);
  const std::span<const WebAsset> assets = web_assets();
  const auto asset = std::find_if(assets.begin(), assets.end(),
                                  [&](const WebAsset& each) { return each.path == path; });
  if (asset == assets.end()) return std::nullopt;
  return asset_response(*asset, request);
}

}  // namespace flashmoe::server
