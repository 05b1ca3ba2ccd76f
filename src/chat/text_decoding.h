#ifndef FLASHMOE_CHAT_TEXT_DECODING_H_
#define FLASHMOE_CHAT_TEXT_DECODING_H_

#include <cstdint>
#include <optional>

#include "chat/regular_language.h"

namespace flashmoe {

/// How far a text has been read, byte by byte: the term that its whole characters have led to, and
/// what is known of the next character. A number, so that it can be part of a state.
struct TextProgress {
  RegularLanguage::Term term = RegularLanguage::kNothing;
  std::uint32_t partial = 0;  // 0: between characters
};

/// After one more byte of UTF-8. None: no text of the language goes on with it.
std::optional<TextProgress> read_utf8_byte(RegularLanguage& language, const TextProgress& at,
                                           unsigned char byte);

/// After one more byte within a JSON string, escapes included; not the quote that ends it.
std::optional<TextProgress> read_string_byte(RegularLanguage& language, const TextProgress& at,
                                             unsigned char byte);

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_TEXT_DECODING_H_
