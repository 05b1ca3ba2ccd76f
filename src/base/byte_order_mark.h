#ifndef FLASHMOE_BASE_BYTE_ORDER_MARK_H_
#define FLASHMOE_BASE_BYTE_ORDER_MARK_H_

#include <string_view>

namespace flashmoe {

/// `text` without the byte order mark that some editors begin files with.
inline std::string_view without_byte_order_mark(std::string_view text) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  return text;
}

}  // namespace flashmoe

#endif  // FLASHMOE_BASE_BYTE_ORDER_MARK_H_
