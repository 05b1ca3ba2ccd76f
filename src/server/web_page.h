#ifndef FLASHMOE_SERVER_WEB_PAGE_H_
#define FLASHMOE_SERVER_WEB_PAGE_H_

#include <string_view>

namespace flashmoe::server {

/// The page at "/": src/server/web/page.html with its style and script in it, as the build puts
/// them together. It needs nothing from elsewhere.
extern const std::string_view kWebPage;

/// What the page may do: run its own script, and ask the server that it came from.
inline constexpr const char* kWebPagePolicy =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors "
    "'none'";

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_WEB_PAGE_H_
