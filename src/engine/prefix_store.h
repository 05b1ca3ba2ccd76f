#ifndef FLASHMOE_ENGINE_PREFIX_STORE_H_
#define FLASHMOE_ENGINE_PREFIX_STORE_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "engine/remembered_sequence.h"
#include "flashmoe/kv_precision.h"
#include "kernels/numerics.h"
#include "model/state/state_layout.h"

namespace flashmoe {

/// Checkpoints of sequences in a folder, for a later run (docs/serving.md draws the files). Each is
/// a file of its tokens, recurrent state and uses of experts that names the files of its KV blocks,
/// which checkpoints share. Every file is checksummed and appears whole or not at all; one that is
/// damaged, or of another model, is never used. What it takes is kept below a limit: what was used
/// longest ago goes first. One process at a time has the folder, and in it one thread at a time.
class PrefixStore {
 public:
  struct Options {
    std::filesystem::path folder;                 // is made, for the user alone to read
    std::string identity;                         // of the model: others' checkpoints are let be
    std::vector<std::size_t> expert_counts = {};  // routed experts of its layers
    std::uint64_t size_max = std::uint64_t{8} << 30;
    int numerics = kNumericsVersion;               // what other arithmetic computed is let be, too
    KvPrecision kv_precision = KvPrecision::kF32;  // and what was kept in another

    /// Of the model and the arithmetic, with the precision of keys and values.
    std::uint64_t identity_hash() const;
  };
  /// A checkpoint there is.
  struct Entry {
    std::uint64_t number = 0;
    std::vector<std::int32_t> tokens;
  };

  /// Looks at what is there; files that nothing refers to, or that are damaged, are removed.
  /// `layout` must outlive this. Errors: kIo, where the folder cannot be made or is another
  /// process'.
  static Result<std::unique_ptr<PrefixStore>> open(const StateLayout& layout, Options options);
  ~PrefixStore();
  PrefixStore(const PrefixStore&) = delete;
  PrefixStore& operator=(const PrefixStore&) = delete;

  /// What was there when it was opened, longest unused first.
  std::vector<Entry> entries() const;

  /// Writes a checkpoint, and removes others where room is needed. `removed`: their numbers are
  /// added. Errors: kIo, after which there is no such checkpoint.
  Result<std::uint64_t> save(std::span<const std::int32_t> tokens,
                             const RememberedSequence& sequence,
                             std::vector<std::uint64_t>& removed);
  /// Reads it, and notes that it was used. Errors: kIo and kCorrupt; it is then removed.
  Result<RememberedSequence> load(std::uint64_t number);
  void remove(std::uint64_t number);

  std::uint64_t size() const { return size_; }
  std::size_t count() const { return checkpoints_.size(); }

 private:
  struct Checkpoint {
    std::vector<std::int32_t> tokens;
    std::vector<std::uint64_t> blocks;  // numbers of their files, in the order of full_blocks()
    std::uint64_t size = 0;             // of its own file
    std::uint64_t last_use = 0;         // counts uses of all
  };
  struct Block {
    std::size_t users = 0;  // checkpoints
    std::uint64_t size = 0;
    std::weak_ptr<KvBlock> memory;  // where it was last seen
  };

  PrefixStore(const StateLayout& layout, Options options, int lock);
  Status scan();
  /// Blocks [begin, end) of a group of the KV cache.
  struct BlockRange {
    std::size_t begin = 0;
    std::size_t end = 0;
  };
  /// By group, the blocks that a checkpoint of so many tokens has in files of their own: those that
  /// are full and that its windows have not passed.
  std::vector<BlockRange> full_blocks(std::size_t tokens) const;
  std::size_t full_block_count(std::size_t tokens) const;
  /// Bytes of the blocks, one of each group, that such a checkpoint has not filled.
  std::uint64_t tail_bytes(std::size_t tokens) const;
  bool is_block_size(std::uint64_t file_size) const;
  Result<Checkpoint> read_header(std::uint64_t number) const;
  Result<std::uint64_t> save_block(const std::shared_ptr<KvBlock>& block);
  Result<std::shared_ptr<KvBlock>> load_block(std::uint64_t number, std::uint64_t size);
  void make_room(std::uint64_t bytes, std::vector<std::uint64_t>& removed);
  void release_block(std::uint64_t number);
  std::filesystem::path path_of(const char* kind, std::uint64_t number) const;

  const StateLayout& layout_;
  const Options options_;
  const int lock_;  // a descriptor
  std::map<std::uint64_t, Checkpoint> checkpoints_;
  std::map<std::uint64_t, Block> blocks_;
  std::unordered_map<const KvBlock*, std::uint64_t> known_;  // what blocks in memory are here
  std::uint64_t next_number_ = 1;
  std::uint64_t next_use_ = 1;
  std::uint64_t size_ = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_PREFIX_STORE_H_
