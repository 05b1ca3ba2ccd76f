#ifndef FLASHMOE_SERVER_ACCESS_H_
#define FLASHMOE_SERVER_ACCESS_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/http_message.h"
#include "server/api_error.h"

namespace flashmoe::server {

/// Who may ask.
struct AccessRules {
  std::vector<std::string> api_keys;  // any of them; none: no key is needed
  std::vector<std::string>
      allowed_hosts;  // names that the server goes by, beside addresses and localhost
  std::vector<std::string> cors_origins;  // pages elsewhere that may ask; "*": all
};

/// Whether the request may be answered. A page on the web can make a browser send requests here,
/// and its name can be made to lead here: names that are not ours, and origins other than ours, are
/// refused; but at Ollama's paths those that Ollama lets in by default may ask.
std::optional<ApiError> check_access(const AccessRules& rules, const HttpRequest& request,
                                     bool needs_key);

/// The headers that let the request's origin read the answer; none where it may not.
HttpHeaders cors_headers(const AccessRules& rules, const HttpRequest& request);

/// Takes a time that depends on the texts' sizes alone.
bool equal_in_constant_time(std::string_view a, std::string_view b);

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_ACCESS_H_
