#ifndef FLASHMOE_CHAT_TOKEN_TABLE_H_
#define FLASHMOE_CHAT_TOKEN_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "chat/token_trie.h"

namespace flashmoe {

/// A token per bit, by id.
using TokenMask = std::vector<std::uint64_t>;

/// The tokens of a model, ordered for finding out which of them may come. Immutable; shared by all
/// constraints.
class TokenTable {
 public:
  /// `bytes` by id; empty: no token, or a special one.
  TokenTable(std::vector<std::string> bytes, std::vector<std::int32_t> eos_ids);
  TokenTable(const TokenTable&) = delete;
  TokenTable& operator=(const TokenTable&) = delete;

  std::size_t size() const { return bytes_.size(); }
  const std::string& bytes(std::int32_t id) const { return bytes_[static_cast<std::size_t>(id)]; }
  bool is_eos(std::int32_t id) const;
  std::span<const std::int32_t> eos_ids() const { return eos_ids_; }

  /// Plain tokens are whole characters that a JSON string takes as they are. Those of at most
  /// `count` of them, up to kPlainCharactersMax, which is as many as there are in a plain token.
  static constexpr std::size_t kPlainCharactersMax = 32;
  const TokenMask& plain_up_to(std::size_t count) const;
  const TokenTrie& plain() const { return plain_; }
  const TokenTrie& others() const { return others_; }

 private:
  const std::vector<std::string> bytes_;
  const std::vector<std::int32_t> eos_ids_;
  std::vector<TokenMask> plain_up_to_;
  TokenTrie plain_;
  TokenTrie others_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_TOKEN_TABLE_H_
