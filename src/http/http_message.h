#ifndef FLASHMOE_HTTP_HTTP_MESSAGE_H_
#define FLASHMOE_HTTP_HTTP_MESSAGE_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace flashmoe {

/// Names and values of HTTP headers, in order.
using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

/// What a body takes of the server's room for bodies. It goes back when the last copy of this does:
/// hold it as long as the body, and no longer. Any thread may let go of it.
using BodyLease = std::shared_ptr<void>;

/// A request that has been read whole, within the server's limits.
struct HttpRequest {
  std::string method;  // as sent: GET, POST, ...
  std::string path;    // percent-decoded, without the query
  std::string query;   // as sent, without the question mark
  HttpHeaders headers;
  std::string body;
  BodyLease body_lease;
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
  /// What comes after `body`, part by part, where that is not in memory yet: asked for by the
  /// server's thread when the system has taken what was before it. Empty: that was all.
  std::function<std::string()> more = {};
};

}  // namespace flashmoe

#endif  // FLASHMOE_HTTP_HTTP_MESSAGE_H_
