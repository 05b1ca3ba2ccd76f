#ifndef FLASHMOE_FORMAT_PRINTABLE_H_
#define FLASHMOE_FORMAT_PRINTABLE_H_

#include <string>
#include <string_view>
#include <vector>

namespace flashmoe {

/// `text` as messages show names from outside: at most 200 bytes and "...", valid UTF-8, bytes that
/// are not and control characters as \xNN. So a name in a file cannot send escape codes to a
/// terminal, nor spoil the JSON that quotes a message.
std::string printable(std::string_view text);

/// The first few of `names`, which are printable, and how many more there are.
std::string some_of(const std::vector<std::string>& names);

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_PRINTABLE_H_
