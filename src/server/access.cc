#include "server/access.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace flashmoe::server {
namespace {

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

/// "name:port", "[::1]:port" or "name", without the port; empty where it is none of these.
std::string host_name(std::string_view authority) {
  const bool is_bracketed = authority.starts_with('[');
  const std::size_t end = std::min(authority.find(is_bracketed ? ']' : ':'), authority.size());
  std::string_view port = authority.substr(end);
  if (is_bracketed && !port.empty()) port.remove_prefix(1);
  const bool is_broken =
      (is_bracketed && end == authority.size()) || (!port.empty() && port.front() != ':') ||
      port.substr(std::min<std::size_t>(1, port.size())).find_first_not_of("0123456789") !=
          std::string_view::npos;
  if (is_broken) return "";
  return lower_case(authority.substr(0, end).substr(is_bracketed ? 1 : 0));
}

bool is_address(const std::string& name) {
  in6_addr buffer{};
  return inet_pton(AF_INET, name.c_str(), &buffer) == 1 ||
         inet_pton(AF_INET6, name.c_str(), &buffer) == 1;
}

bool is_ours(const AccessRules& rules, const std::string& name) {
  // The last two are what containers call the machine that they run on.
  return is_address(name) || name == "localhost" || name.ends_with(".localhost") ||
         name == "host.docker.internal" || name == "host.containers.internal" ||
         std::find(rules.allowed_hosts.begin(), rules.allowed_hosts.end(), name) !=
             rules.allowed_hosts.end();
}

/// Pages of desktop apps, and of servers on this machine: Ollama lets them in unless told
/// otherwise, and apps that speak its dialect count on that. What is no page's ("null") is not
/// among them.
bool is_ollamas(std::string_view origin) {
  for (const char* scheme :
       {"app://", "file://", "tauri://", "vscode-webview://", "vscode-file://"}) {
    if (origin.starts_with(scheme)) return true;
  }
  const std::size_t scheme_end = origin.find("://");
  if (scheme_end == std::string_view::npos) return false;
  const std::string_view scheme = origin.substr(0, scheme_end);
  std::string_view authority = origin.substr(scheme_end + 3);
  const std::size_t colon = std::min(authority.rfind(':'), authority.size());
  const std::string_view port = authority.substr(std::min(colon + 1, authority.size()));
  authority = authority.substr(0, colon);
  return (scheme == "http" || scheme == "https") &&
         (authority == "localhost" || authority == "127.0.0.1" || authority == "0.0.0.0") &&
         std::ranges::all_of(port, [](char c) { return c >= '0' && c <= '9'; });
}

bool may_cross(const AccessRules& rules, const HttpRequest& request, std::string_view origin) {
  if (request.path.starts_with("/api/") && is_ollamas(origin)) return true;
  return std::any_of(
      rules.cors_origins.begin(), rules.cors_origins.end(),
      [&](const std::string& allowed) { return allowed == "*" || allowed == origin; });
}

/// The page is one that this server served.
bool is_same_origin(std::string_view origin, std::string_view host) {
  const std::size_t scheme = origin.find("://");
  return scheme != std::string_view::npos &&
         lower_case(origin.substr(scheme + 3)) == lower_case(host);
}

/// In either place; clients of one API that speak to another's send both.
std::vector<std::string_view> keys_of(const HttpRequest& request) {
  std::vector<std::string_view> keys;
  if (const auto key = request.header("x-api-key")) keys.push_back(*key);
  const std::string_view authorization = request.header("Authorization").value_or("");
  constexpr std::string_view kBearer = "Bearer ";
  if (authorization.size() > kBearer.size() &&
      lower_case(authorization.substr(0, kBearer.size())) == "bearer ") {
    keys.push_back(authorization.substr(kBearer.size()));
  }
  return keys;
}

}  // namespace

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  std::size_t difference = a.size() ^ b.size();
  for (std::size_t i = 0; i < a.size(); ++i) {
    const char other = b.empty() ? '\0' : b[i % b.size()];
    difference |= static_cast<std::size_t>(static_cast<unsigned char>(a[i] ^ other));
  }
  return difference == 0;
}

std::optional<ApiError> check_access(const AccessRules& rules, const HttpRequest& request,
                                     bool needs_key) {
  const std::string_view host = request.header("Host").value_or("");
  const std::string name = host_name(host);
  if (!host.empty() && name.empty()) {
    return ApiError{.status = 403, .message = "the Host header is neither NAME nor NAME:PORT"};
  }
  if (!host.empty() && !is_ours(rules, name)) {
    return ApiError{.status = 403,
                    .message = fmt::format("this server does not go by the name {}; if it should, "
                                           "start it with --allow-host {}",
                                           name, name)};
  }
  if (const auto origin = request.header("Origin");
      origin && !is_same_origin(*origin, host) && !may_cross(rules, request, *origin)) {
    return ApiError{
        .status = 403,
        .message = fmt::format("pages of {} may not ask this server; if they should, start "
                               "it with --cors-origin {}",
                               *origin, *origin)};
  }
  if (!needs_key || rules.api_keys.empty()) return std::nullopt;
  const std::vector<std::string_view> given = keys_of(request);
  bool is_known = false;
  for (const std::string_view each : given) {
    for (const std::string& key : rules.api_keys) is_known |= equal_in_constant_time(each, key);
  }
  if (is_known) return std::nullopt;
  return ApiError{.status = 401,
                  .message = given.empty() ? "an API key is needed: Authorization: Bearer KEY"
                                           : "the API key is not known",
                  .code = "invalid_api_key"};
}

HttpHeaders cors_headers(const AccessRules& rules, const HttpRequest& request) {
  const auto origin = request.header("Origin");
  if (!origin || !may_cross(rules, request, *origin)) return {};
  return {{"Access-Control-Allow-Origin", std::string(*origin)},
          {"Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS"},
          {"Access-Control-Allow-Headers",
           std::string(request.header("Access-Control-Request-Headers").value_or("*"))},
          {"Vary", "Origin"}};
}

}  // namespace flashmoe::server
