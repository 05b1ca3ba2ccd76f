#ifndef FLASHMOE_SERVER_JSON_BODY_H_
#define FLASHMOE_SERVER_JSON_BODY_H_

#include <cstddef>
#include <string_view>

#include "server/api_error.h"
#include "server/fields.h"

namespace flashmoe::server {

inline constexpr const char* kBodyTooLarge = "request_too_large";

/// The object that a request's body is, in at most `memory_max` bytes: numbers of one digit take
/// many times the memory that their text does. Pictures and sounds (base64 in the places where the
/// APIs have them) are cut to their beginnings, since no text model reads them. Errors, all 400:
/// text that is no JSON, no object, nested too deeply or with too many members in one object; with
/// the code kBodyTooLarge what takes more memory, found before it does.
ApiResult<Json> parse_body(std::string_view body, std::size_t memory_max = ~std::size_t{0});

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_JSON_BODY_H_
