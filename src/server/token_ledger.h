#ifndef FLASHMOE_SERVER_TOKEN_LEDGER_H_
#define FLASHMOE_SERVER_TOKEN_LEDGER_H_

#include <cstddef>
#include <deque>
#include <string>
#include <vector>

#include "server/reply_writer.h"

namespace flashmoe::server {

/// Knows which tokens an answer's text is made of, as the text becomes certain. A stop string, the
/// marks of calls and thoughts, and layout are cut away from what a model writes: tokens of those
/// are never told, and one that is cut is told as far as it is in the text. So the tokens that are
/// told, put together, are the text. One thread at a time.
class TokenLedger {
 public:
  /// `tells_silent`: tokens that stand for no text are told as well, as empty ones.
  explicit TokenLedger(bool tells_silent) : tells_silent_(tells_silent) {}

  /// A token was picked that adds `size` bytes to the output. With 0 it is the beginning of a
  /// character, unless it `is_silent`: an end token, for example.
  void add(TokenInfo token, std::size_t size, bool is_silent);
  /// The output is over with `size` bytes: what was of no whole character is at their end.
  void close(std::size_t size);

  /// The output's bytes from `begin` to `end` are in the text: appends the tokens that are known
  /// whole with that. Calls go forward.
  void tell(std::size_t begin, std::size_t end, std::vector<TokenInfo>& tokens);
  /// No more is in the text: appends what is left.
  void finish(std::vector<TokenInfo>& tokens);

 private:
  struct Entry {
    TokenInfo token;
    std::size_t begin = 0;  // in the output
    std::size_t end = 0;
    bool is_silent = false;
    bool is_told = false;  // some of it is in the text
    std::string told;      // what of its bytes is
  };

  /// Gives tokens without bytes of their own yet those up to `end`.
  void extend(std::size_t end);
  void release_front(std::vector<TokenInfo>& tokens);

  const bool tells_silent_;
  std::size_t size_ = 0;  // of the output
  std::deque<Entry> entries_;
};

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_TOKEN_LEDGER_H_
