#include "chat/token_table.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "chat/characters.h"

namespace flashmoe {
namespace {

/// The characters of a plain token; 0: it is none.
std::size_t plain_characters(const std::string& bytes) {
  const bool has_special = std::any_of(bytes.begin(), bytes.end(), [](char c) {
    return c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20;
  });
  if (has_special) return 0;
  const std::optional<std::u32string> characters = characters_of(bytes);
  if (!characters || characters->size() > TokenTable::kPlainCharactersMax) return 0;
  return characters->size();
}

}  // namespace

TokenTable::TokenTable(std::vector<std::string> bytes, std::vector<std::int32_t> eos_ids)
    : bytes_(std::move(bytes)), eos_ids_(std::move(eos_ids)) {
  const TokenMask none((bytes_.size() + 63) / 64);
  plain_up_to_.assign(kPlainCharactersMax + 1, none);
  std::vector<TokenTrie::Entry> plain;
  std::vector<TokenTrie::Entry> others;
  for (std::size_t i = 0; i < bytes_.size(); ++i) {
    const std::size_t characters = plain_characters(bytes_[i]);
    (characters > 0 ? plain : others).push_back({&bytes_[i], static_cast<std::int32_t>(i)});
    if (characters > 0) plain_up_to_[characters][i / 64] |= std::uint64_t{1} << i % 64;
  }
  for (std::size_t count = 1; count <= kPlainCharactersMax; ++count) {
    for (std::size_t i = 0; i < none.size(); ++i) {
      plain_up_to_[count][i] |= plain_up_to_[count - 1][i];
    }
  }
  plain_ = TokenTrie(std::move(plain));
  others_ = TokenTrie(std::move(others));
}

bool TokenTable::is_eos(std::int32_t id) const {
  return std::find(eos_ids_.begin(), eos_ids_.end(), id) != eos_ids_.end();
}

const TokenMask& TokenTable::plain_up_to(std::size_t count) const {
  return plain_up_to_[std::min(count, kPlainCharactersMax)];
}

}  // namespace flashmoe
