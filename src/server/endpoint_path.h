#ifndef FLASHMOE_SERVER_ENDPOINT_PATH_H_
#define FLASHMOE_SERVER_ENDPOINT_PATH_H_

#include <string>
#include <string_view>

namespace flashmoe::server {

/// The one spelling of a request's path under which its endpoint is known. Clients put base URLs
/// and paths together in ways of their own: slashes may be doubled or trail, and /v1 may be
/// missing, come twice, or lead an endpoint that goes without. What is no endpoint's keeps its
/// name.
std::string endpoint_path(std::string_view path);

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_ENDPOINT_PATH_H_
