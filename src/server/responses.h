#ifndef FLASHMOE_SERVER_RESPONSES_H_
#define FLASHMOE_SERVER_RESPONSES_H_

#include <memory>
#include <string>
#include <string_view>

#include "http/http_server.h"
#include "server/api_error.h"

namespace flashmoe::server {

/// An error in a dialect's words.
using ErrorJson = std::string (*)(const ApiError&);
/// Those of the dialect that an endpoint's path belongs to.
ErrorJson error_json_of(std::string_view path);
/// Those of the dialect that a client speaks: where several share a path, its headers tell.
ErrorJson error_json_of(const HttpRequest& request);
/// Whether a client says that it is Anthropic's.
bool speaks_anthropic(const HttpRequest& request);

HttpResponse json_response(std::string body, unsigned status = 200);
HttpResponse error_response(const ApiError& error, ErrorJson error_json);

/// GET /: browsers get the page, everything else what Ollama's clients look for.
HttpResponse root_response(const HttpRequest& request);

/// Adds headers to whatever is answered: a browser lets a page of another origin read nothing
/// without.
std::shared_ptr<Responder> with_headers(std::shared_ptr<Responder> inner, HttpHeaders headers);

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_RESPONSES_H_
