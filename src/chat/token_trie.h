#ifndef FLASHMOE_CHAT_TOKEN_TRIE_H_
#define FLASHMOE_CHAT_TOKEN_TRIE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace flashmoe {

/// Tokens by their bytes: what begins alike is walked once. Immutable.
class TokenTrie {
 public:
  struct Entry {
    const std::string* bytes = nullptr;  // not empty
    std::int32_t id = 0;
  };

  TokenTrie() = default;
  explicit TokenTrie(std::vector<Entry> entries);

  /// Calls `take` with each token all of whose bytes lead from `start` to states that are not
  /// State(), as `next` says: State next(State, unsigned char).
  template <typename State, typename Next, typename Take>
  void walk(State start, const Next& next, const Take& take) const {
    std::vector<State> states(depth_max_ + 1);
    states[0] = start;
    for (std::size_t i = 0; i < nodes_.size();) {
      const Node& node = nodes_[i];
      const State to = next(states[node.depth - 1], node.byte);
      if (to == State()) {
        i = node.end;
        continue;
      }
      states[node.depth] = to;
      for (std::uint32_t k = node.ids_begin; k < node.ids_end; ++k) take(ids_[k]);
      ++i;
    }
  }

 private:
  /// In the order of a walk: what goes on from a node follows it, up to `end`.
  struct Node {
    std::uint32_t end = 0;
    std::uint32_t ids_begin = 0;
    std::uint32_t ids_end = 0;
    std::uint16_t depth = 0;  // bytes from the root
    unsigned char byte = 0;
  };
  std::vector<Node> nodes_;
  std::vector<std::int32_t> ids_;
  std::size_t depth_max_ = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_TOKEN_TRIE_H_
