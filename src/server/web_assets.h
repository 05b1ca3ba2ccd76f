#ifndef FLASHMOE_SERVER_WEB_ASSETS_H_
#define FLASHMOE_SERVER_WEB_ASSETS_H_

#include <optional>
#include <span>
#include <string_view>

#include "http/http_message.h"

namespace flashmoe::server {

/// A file of the web page. The build puts the files of src/server/web into the program, and the
/// libraries that it found as "/web/libraries.js", which is empty if it found none.
struct WebAsset {
  std::string_view path;          // "/web/main.js"
  std::string_view content_type;  // with its charset
  std::string_view etag;          // a hash of the body, in quotation marks
  std::string_view body;
};
std::span<const WebAsset> web_assets();

/// What the page may do: run the scripts of this server and no other, ask this server, and make
/// HTML of text by DOMPurify alone. So text of a model that got past DOMPurify still runs nothing.
inline constexpr const char* kWebPagePolicy =
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types dompurify";

/// The page itself for a browser at "/", and its files. None: the request is for something else.
/// Browsers keep what they have got and ask whether it still holds.
std::optional<HttpResponse> web_response(const HttpRequest& request);

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_WEB_ASSETS_H_
