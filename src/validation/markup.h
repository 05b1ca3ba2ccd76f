#ifndef FLASHMOE_VALIDATION_MARKUP_H_
#define FLASHMOE_VALIDATION_MARKUP_H_

#include <string>
#include <string_view>

namespace flashmoe {

/// Valid UTF-8 as HTML and XML show it: their special characters as entities, and controls that
/// XML has no way to write as U+FFFD.
std::string escape_markup(std::string_view text);

}  // namespace flashmoe

#endif  // FLASHMOE_VALIDATION_MARKUP_H_
