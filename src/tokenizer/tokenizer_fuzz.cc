// A tokenizer.json, a NUL byte, a text: the file is refused or gives a tokenizer, and a tokenizer
// keeps its promises on any text.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/utf8.h"
#include "tokenizer/detokenizer.h"
#include "tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using flashmoe::TokenId;
  constexpr std::size_t kTextSizeMax = 512;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t separator = std::min(input.find('\0'), input.size());
  const std::string_view file = input.substr(0, separator);
  const std::string_view text = input.substr(std::min(separator + 1, size)).substr(0, kTextSizeMax);

  const auto tokenizer = flashmoe::Tokenizer::from_json(file, "");
  if (!tokenizer.ok()) return 0;
  for (const bool add_special_tokens : {false, true}) {
    const auto ids = (*tokenizer)->encode(text, {.add_special_tokens = add_special_tokens});
    if (!ids.ok()) continue;
    flashmoe::Detokenizer detokenizer(**tokenizer);
    std::string streamed;
    for (const TokenId id : *ids) {
      FM_CHECK((*tokenizer)->is_token(id));
      FM_CHECK(detokenizer.push(id, streamed).ok());
      FM_CHECK(flashmoe::find_invalid_utf8(streamed) == std::string_view::npos);
    }
    detokenizer.finish(streamed);
    FM_CHECK(streamed == (*tokenizer)->decode(*ids).value());
  }
  return 0;
}
