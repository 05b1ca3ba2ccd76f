#include "server/token_ledger.h"

#include <algorithm>
#include <utility>

namespace flashmoe::server {

void TokenLedger::add(TokenInfo token, std::size_t size, bool is_silent) {
  const std::size_t begin = size_;
  size_ += size;
  if (size > 0) extend(size_);
  if (is_silent && !tells_silent_) return;
  entries_.push_back(
      {.token = std::move(token), .begin = begin, .end = size_, .is_silent = is_silent});
}

void TokenLedger::close(std::size_t size) {
  if (size > size_) extend(size);
  size_ = std::max(size_, size);
}

void TokenLedger::extend(std::size_t end) {
  for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
    if (entry->is_silent) continue;
    if (entry->begin != entry->end) break;
    entry->end = end;
  }
}

void TokenLedger::tell(std::size_t begin, std::size_t end, std::vector<TokenInfo>& tokens) {
  for (Entry& entry : entries_) {
    if (entry.begin >= end) break;
    if (entry.is_silent || entry.end <= begin) continue;
    entry.is_told = true;
    const std::string& bytes = entry.token.picked.bytes;
    // Tokens that spell a character together have it together: none of it is cut.
    if (entry.end - entry.begin != bytes.size()) {
      entry.told = bytes;
      continue;
    }
    const std::size_t from = std::max(begin, entry.begin);
    entry.told.append(bytes, from - entry.begin, std::min(end, entry.end) - from);
  }
  while (!entries_.empty()) {
    const Entry& first = entries_.front();
    const bool is_over = first.is_silent ? first.end <= end : first.end <= end && first.begin < end;
    if (!is_over) break;
    release_front(tokens);
  }
}

void TokenLedger::finish(std::vector<TokenInfo>& tokens) {
  while (!entries_.empty()) release_front(tokens);
}

void TokenLedger::release_front(std::vector<TokenInfo>& tokens) {
  Entry& entry = entries_.front();
  if (entry.is_told || entry.is_silent) {
    entry.token.text = std::move(entry.told);
    tokens.push_back(std::move(entry.token));
  }
  entries_.pop_front();
}

}  // namespace flashmoe::server
