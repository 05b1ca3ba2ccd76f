#ifndef FLASHMOE_TOKENIZER_BYTE_LEVEL_H_
#define FLASHMOE_TOKENIZER_BYTE_LEVEL_H_

#include <string>
#include <string_view>

namespace flashmoe {

/// Turns a token as a byte-level vocabulary spells it ("Ġthe") into the bytes it stands for
/// (" the"), appended to `out`. Such vocabularies spell the bytes 0x21-0x7E, 0xA1-0xAC and
/// 0xAE-0xFF as the code points of the same number, and the other 68, in order, as U+0100, U+0101,
/// ... Returns false, with `out` as it was, if a code point of `token` (valid UTF-8) spells no
/// byte.
bool append_byte_level(std::string_view token, std::string& out);

}  // namespace flashmoe

#endif  // FLASHMOE_TOKENIZER_BYTE_LEVEL_H_
