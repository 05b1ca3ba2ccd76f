#ifndef FLASHMOE_HTTP_HTTP_MESSAGE_H_
#define FLASHMOE_HTTP_HTTP_MESSAGE_H_

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace flashmoe {

/// Names and values of HTTP headers, in order.
using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

/// A request that has been read whole, within the server's limits.
struct HttpRequest {
  std::string method;  // as sent: GET, POST, ...
  std::string path;    // percent-decoded, without the query
  std::string query;   // as sent, without the question mark
  HttpHeaders headers;
  std::string body;
  std::string remote;  // the peer's address

  /// The first header of that name, whatever its case. None: not sent.
  std::optional<std::string_view> header(std::string_view name) const;
};

/// A response that is known whole.
struct HttpResponse {
  unsigned status = 200;
  std::string content_type = "application/json";
  std::string body;
  HttpHeaders headers;  // beside those that the server writes itself
};

}  // namespace flashmoe

#endif  // FLASHMOE_HTTP_HTTP_MESSAGE_H_
