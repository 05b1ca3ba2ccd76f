#include "chat/token_trie.h"

#include <algorithm>
#include <utility>

namespace flashmoe {
namespace {

/// What is longer comes as several tokens.
constexpr std::size_t kTokenBytesMax = 1024;

}  // namespace

TokenTrie::TokenTrie(std::vector<Entry> entries) {
  std::erase_if(entries, [](const Entry& entry) {
    return entry.bytes->empty() || entry.bytes->size() > kTokenBytesMax;
  });
  std::sort(entries.begin(), entries.end(), [](const Entry& x, const Entry& y) {
    return std::pair(std::string_view(*x.bytes), x.id) <
           std::pair(std::string_view(*y.bytes), y.id);
  });
  std::vector<std::uint32_t> path;  // nodes from the root to the last token's
  const std::string* last = nullptr;
  const auto leave = [&](std::size_t depth) {
    for (; path.size() > depth; path.pop_back()) {
      nodes_[path.back()].end = static_cast<std::uint32_t>(nodes_.size());
    }
  };
  for (const Entry& entry : entries) {
    const std::string& bytes = *entry.bytes;
    std::size_t common = 0;
    if (last != nullptr) {
      const auto [x, y] = std::mismatch(last->begin(), last->end(), bytes.begin(), bytes.end());
      common = static_cast<std::size_t>(x - last->begin());
    }
    leave(common);
    for (std::size_t i = common; i < bytes.size(); ++i) {
      path.push_back(static_cast<std::uint32_t>(nodes_.size()));
      const auto ids = static_cast<std::uint32_t>(ids_.size());
      nodes_.push_back({.ids_begin = ids,
                        .ids_end = ids,
                        .depth = static_cast<std::uint16_t>(i + 1),
                        .byte = static_cast<unsigned char>(bytes[i])});
    }
    ids_.push_back(entry.id);
    nodes_[path.back()].ids_end = static_cast<std::uint32_t>(ids_.size());
    depth_max_ = std::max(depth_max_, bytes.size());
    last = &bytes;
  }
  leave(0);
}

}  // namespace flashmoe
