#ifndef FLASHMOE_ENGINE_PREFIX_CACHE_H_
#define FLASHMOE_ENGINE_PREFIX_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "engine/prefix_archive.h"
#include "engine/remembered_sequence.h"

namespace flashmoe {

/// How many tokens `a` and `b` begin with alike.
std::size_t common_prefix(std::span<const std::int32_t> a, std::span<const std::int32_t> b);

/// Checkpoints of sequences, so that one which begins alike need not be computed again
/// (docs/serving.md). A checkpoint is a RememberedSequence and the tokens that led to it. Holds at
/// most `budget_bytes` in memory: blocks of the KV cache that checkpoints share count once. With an
/// archive, checkpoints are on disk as well, and come back from there. One thread at a time.
class PrefixCache {
 public:
  struct Statistics {
    std::uint64_t checkpoint_count = 0;  // in memory
    std::uint64_t bytes = 0;
    std::uint64_t evicted_count = 0;  // from memory, to make room for others
    std::uint64_t disk_count = 0;
    std::uint64_t disk_bytes = 0;
    std::uint64_t loaded_count = 0;  // that came back from disk
  };

  /// `archive` may be null.
  PrefixCache(std::uint64_t budget_bytes, std::unique_ptr<PrefixArchive> archive);

  bool is_on() const { return budget_bytes_ > 0; }
  std::uint64_t budget_bytes() const { return budget_bytes_; }

  /// What is known of a sequence of tokens.
  struct Match {
    std::size_t checkpoint = 0;  // tokens of the longest checkpoint that it begins with
    std::size_t common = 0;      // tokens that it has in common with any checkpoint
  };
  /// Leaves at least one of `tokens` to be computed: whoever asks wants logits.
  Match find(std::span<const std::int32_t> tokens) const;

  /// A sequence that stands at the longest checkpoint that `tokens` begin with, which has thereby
  /// been used; none where there is none, or what was on disk is damaged. Errors: kIo if memory
  /// cannot be had.
  Result<std::optional<RememberedSequence>> resume(std::span<const std::int32_t> tokens);

  /// Keeps `sequence`, to which `tokens` led, if the budget can hold it at all; others make room.
  /// One that is known already stays as it is.
  void store(std::span<const std::int32_t> tokens, RememberedSequence sequence);
  /// The same with a copy of `sequence`, for which room is made first. Errors: kIo if memory cannot
  /// be had.
  Status store_copy(std::span<const std::int32_t> tokens, const RememberedSequence& sequence);
  bool contains(std::span<const std::int32_t> tokens) const;

  /// To be called now and then: whether something is being computed. Learns what the archive did.
  void tend(bool is_busy);

  Statistics statistics() const;

 private:
  struct Checkpoint {
    std::uint64_t key = 0;
    std::vector<std::int32_t> tokens;
    std::shared_ptr<const RememberedSequence> sequence;  // null: not in memory
    std::optional<std::uint64_t> archived;               // its number in the archive
    bool is_being_archived = false;
    std::uint64_t use_count = 1;
    double age = 0;  // age_ when it was last used
  };
  using Position = std::list<Checkpoint>::iterator;

  /// Whether it can be had at this moment, from memory or disk.
  static bool is_there(const Checkpoint& checkpoint) {
    return checkpoint.sequence != nullptr || checkpoint.archived.has_value();
  }
  /// What a checkpoint takes beside the blocks that it may share.
  static std::uint64_t unshared_bytes(const RememberedSequence& sequence) {
    return sequence.own_bytes() + sequence.state.position() * sizeof(std::int32_t);
  }
  /// Whether the budget could hold it if nothing else were there.
  bool could_hold(const RememberedSequence& sequence) const;
  Position longest(std::span<const std::int32_t> tokens);
  /// Bytes that would come free with it.
  std::uint64_t own_bytes(const Checkpoint& checkpoint) const;
  double worth(const Checkpoint& checkpoint) const;
  void put_in_memory(Checkpoint& checkpoint, RememberedSequence sequence);
  /// Drops checkpoints from memory until `bytes` fit beside the others, but not `kept`.
  void make_room(std::uint64_t bytes, const Checkpoint* kept);
  void drop_from_memory(Position position);

  const std::uint64_t budget_bytes_;
  std::list<Checkpoint> checkpoints_;
  std::unordered_map<const KvBlock*, std::size_t> block_users_;  // checkpoints that have it
  std::uint64_t bytes_ = 0;
  double age_ = 0;  // worth of what was evicted last
  std::uint64_t next_key_ = 1;
  std::uint64_t evicted_count_ = 0;
  std::uint64_t loaded_count_ = 0;
  std::unique_ptr<PrefixArchive> archive_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_PREFIX_CACHE_H_
