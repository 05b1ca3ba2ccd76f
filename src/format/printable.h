#ifndef FLASHMOE_FORMAT_PRINTABLE_H_
#define FLASHMOE_FORMAT_PRINTABLE_H_

#include <string>
#include <string_view>

namespace flashmoe {

/// `text` as messages show names from outside: at most 200 bytes and "...", valid UTF-8, bytes that
/// are not and control characters as \xNN. So a name in a file cannot send escape codes to a
/// terminal, nor spoil the JSON that quotes a message.
std::string printable(std::string_view text);

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_PRINTABLE_H_
