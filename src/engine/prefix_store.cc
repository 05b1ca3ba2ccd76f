#include "engine/prefix_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "base/name_hash.h"
#include "engine/checked_file.h"
#include "flashmoe/engine.h"
#include "io/file.h"
#include "kernels/ops.h"

namespace flashmoe {
namespace {

namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little, "the files are little-endian");

/// "FMPFX" and the version of the file.
constexpr std::uint64_t kPrefixMagic = 0x3330'5846'504d'46;
/// A file that says more is damaged.
constexpr std::uint64_t kTokensMax = std::uint64_t{1} << 28;

/// What a checkpoint's file begins with; then tokens, numbers of blocks, the state that does not
/// grow, the blocks that are not full, and uses of experts.
struct PrefixHeader {
  std::uint64_t magic = kPrefixMagic;
  std::uint64_t identity = 0;
  std::uint64_t token_count = 0;
  std::uint64_t block_count = 0;
  std::uint64_t fixed_size = 0;
  std::uint64_t tail_size = 0;
  std::uint64_t expert_count = 0;
};

template <typename T>
std::span<const std::byte> bytes_of_one(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

/// The number in "KIND-NUMBER", if the name is of that kind.
std::optional<std::uint64_t> number_of(const std::string& name, std::string_view kind) {
  if (!name.starts_with(kind)) return std::nullopt;
  std::uint64_t number = 0;
  const char* const begin = name.data() + kind.size();
  const char* const end = name.data() + name.size();
  const auto [stop, failure] = std::from_chars(begin, end, number);
  if (failure != std::errc() || stop != end) return std::nullopt;
  return number;
}

constexpr const char* kStateKind = "state-";
constexpr const char* kBlockKind = "block-";

}  // namespace

std::uint64_t PrefixStore::Options::identity_hash() const {
  // Folders of f32 are called as they were before there was another precision.
  const std::string kv = kv_precision == KvPrecision::kF32
                             ? ""
                             : fmt::format("\nkeys and values {}", to_string(kv_precision));
  return name_hash(fmt::format("{}\nnumerics {}{}", identity, numerics, kv));
}

Result<std::unique_ptr<PrefixStore>> PrefixStore::open(const StateLayout& layout, Options options) {
  options.folder /= fmt::format("{:016x}", options.identity_hash());
  std::error_code failure;
  fs::create_directories(options.folder, failure);
  if (!failure) fs::permissions(options.folder, fs::perms::owner_all, failure);
  if (failure) {
    return error(StatusCode::kIo, "--cache-dir {}: {}", options.folder.string(), failure.message());
  }
  const fs::path lock_path = options.folder / "lock";
  const int lock = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (lock < 0 || ::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    const int reason = errno;
    if (lock >= 0) ::close(lock);
    return error(StatusCode::kIo, "--cache-dir {}: {}", options.folder.string(),
                 reason == EWOULDBLOCK ? "another server of this model uses it; choose another"
                                       : std::generic_category().message(reason));
  }
  std::unique_ptr<PrefixStore> store(new PrefixStore(layout, std::move(options), lock));
  FM_RETURN_IF_ERROR(store->scan());
  return store;
}

PrefixStore::PrefixStore(const StateLayout& layout, Options options, int lock)
    : layout_(layout), options_(std::move(options)), lock_(lock) {}

PrefixStore::~PrefixStore() { ::close(lock_); }

fs::path PrefixStore::path_of(const char* kind, std::uint64_t number) const {
  return options_.folder / fmt::format("{}{}", kind, number);
}

Status PrefixStore::scan() {
  std::error_code failure;
  std::multimap<fs::file_time_type, std::uint64_t> states;  // by their last use
  for (const auto& file : fs::directory_iterator(options_.folder, failure)) {
    const std::string name = file.path().filename().string();
    std::error_code ignored;
    if (const auto state = number_of(name, kStateKind)) {
      states.emplace(fs::last_write_time(file.path(), ignored), *state);
      next_number_ = std::max(next_number_, *state + 1);
    } else if (const auto block = number_of(name, kBlockKind)) {
      next_number_ = std::max(next_number_, *block + 1);
      if (const std::uint64_t size = file.file_size(ignored); is_block_size(size)) {
        blocks_[*block].size = size;
      } else {
        fs::remove(file.path(), ignored);
      }
    } else if (name.ends_with(".new")) {
      fs::remove(file.path(), ignored);  // of a process that was killed
    }
  }
  if (failure) {
    return error(StatusCode::kIo, "--cache-dir {}: {}", options_.folder.string(),
                 failure.message());
  }
  for (const auto& [time, number] : states) {
    Result<Checkpoint> checkpoint = read_header(number);
    const bool has_blocks =
        checkpoint.ok() &&
        std::all_of(checkpoint->blocks.begin(), checkpoint->blocks.end(),
                    [this](std::uint64_t block) { return blocks_.contains(block); });
    if (!has_blocks) {
      fs::remove(path_of(kStateKind, number), failure);
      continue;
    }
    for (const std::uint64_t block : checkpoint->blocks) ++blocks_[block].users;
    size_ += checkpoint->size;
    checkpoint->last_use = next_use_++;
    checkpoints_.emplace(number, std::move(*checkpoint));
  }
  for (auto it = blocks_.begin(); it != blocks_.end();) {
    if (it->second.users > 0) {
      size_ += it->second.size;
      ++it;
    } else {
      fs::remove(path_of(kBlockKind, it->first), failure);
      it = blocks_.erase(it);
    }
  }
  std::vector<std::uint64_t> removed;
  make_room(0, removed);
  return Status();
}

bool PrefixStore::is_block_size(std::uint64_t file_size) const {
  return std::ranges::any_of(layout_.groups(), [file_size](const StateLayout::Group& group) {
    return file_size == checked_file_size(group.block_bytes);
  });
}

std::vector<PrefixStore::BlockRange> PrefixStore::full_blocks(std::size_t tokens) const {
  std::vector<BlockRange> ranges;
  for (const StateLayout::Group& group : layout_.groups()) {
    const std::size_t end = tokens / kKvBlock;
    ranges.push_back({std::min(KvCache::first_block(group.window, tokens), end), end});
  }
  return ranges;
}

std::size_t PrefixStore::full_block_count(std::size_t tokens) const {
  std::size_t count = 0;
  for (const BlockRange& range : full_blocks(tokens)) count += range.end - range.begin;
  return count;
}

std::uint64_t PrefixStore::tail_bytes(std::size_t tokens) const {
  std::uint64_t bytes = 0;
  if (tokens % kKvBlock == 0) return bytes;
  for (const StateLayout::Group& group : layout_.groups()) bytes += group.block_bytes;
  return bytes;
}

/// The checksum is looked at when the whole file is read: here only what must fit together.
Result<PrefixStore::Checkpoint> PrefixStore::read_header(std::uint64_t number) const {
  FM_ASSIGN_OR_RETURN(const File file,
                      File::open(path_of(kStateKind, number), File::Mode::kBuffered));
  PrefixHeader header;
  FM_RETURN_IF_ERROR(file.read_at(0, std::as_writable_bytes(std::span(&header, 1))));
  const bool is_ours = header.magic == kPrefixMagic &&
                       header.identity == options_.identity_hash() &&
                       header.token_count <= kTokensMax &&
                       header.block_count == full_block_count(header.token_count);
  const std::uint64_t size = sizeof(header) + header.token_count * sizeof(std::int32_t) +
                             header.block_count * sizeof(std::uint64_t) + header.fixed_size +
                             header.tail_size + header.expert_count * sizeof(float);
  if (!is_ours || file.size() != checked_file_size(size)) {
    return error(StatusCode::kCorrupt, "{}: is no checkpoint of this model", file.path());
  }
  Checkpoint checkpoint{.size = file.size()};
  checkpoint.tokens.resize(header.token_count);
  checkpoint.blocks.resize(header.block_count);
  FM_RETURN_IF_ERROR(
      file.read_at(sizeof(header), std::as_writable_bytes(std::span(checkpoint.tokens))));
  FM_RETURN_IF_ERROR(file.read_at(sizeof(header) + header.token_count * sizeof(std::int32_t),
                                  std::as_writable_bytes(std::span(checkpoint.blocks))));
  return checkpoint;
}

std::vector<PrefixStore::Entry> PrefixStore::entries() const {
  std::vector<Entry> entries;
  for (const auto& [number, checkpoint] : checkpoints_)
    entries.push_back({number, checkpoint.tokens});
  std::sort(entries.begin(), entries.end(), [this](const Entry& a, const Entry& b) {
    return checkpoints_.at(a.number).last_use < checkpoints_.at(b.number).last_use;
  });
  return entries;
}

Result<std::uint64_t> PrefixStore::save_block(const std::shared_ptr<KvBlock>& block) {
  if (const auto known = known_.find(block.get()); known != known_.end()) {
    const auto found = blocks_.find(known->second);
    if (found != blocks_.end() && found->second.memory.lock() == block) return known->second;
    known_.erase(known);
  }
  const std::uint64_t number = next_number_++;
  const std::array<std::span<const std::byte>, 1> parts = {std::as_const(*block).bytes()};
  FM_RETURN_IF_ERROR(write_checked_file(path_of(kBlockKind, number), parts));
  blocks_[number] = {.size = checked_file_size(block->size()), .memory = block};
  size_ += blocks_[number].size;
  known_[block.get()] = number;
  return number;
}

Result<std::uint64_t> PrefixStore::save(std::span<const std::int32_t> tokens,
                                        const RememberedSequence& sequence,
                                        std::vector<std::uint64_t>& removed) {
  const SequenceState& state = sequence.state;
  FM_CHECK(state.position() == tokens.size());
  const std::span<const KvCache::Blocks> groups = state.kv().groups();
  std::uint64_t bytes = sequence.own_bytes() + tokens.size_bytes() + 4096;
  for (const KvBlock* block : state.kv().held_blocks()) bytes += block->size() + 64;
  if (bytes > options_.size_max) {
    return error(StatusCode::kOutOfBudget, "a checkpoint of {} tokens is larger than --cache-disk",
                 tokens.size());
  }
  make_room(bytes, removed);

  Checkpoint checkpoint{.tokens = {tokens.begin(), tokens.end()}, .last_use = next_use_++};
  const auto undo = [&](const Status& status) {
    for (const std::uint64_t block : checkpoint.blocks) release_block(block);
    return status;
  };
  const std::vector<BlockRange> full = full_blocks(tokens.size());
  for (std::size_t g = 0; g < groups.size(); ++g) {
    for (std::size_t i = full[g].begin; i < full[g].end; ++i) {
      const Result<std::uint64_t> block = save_block(groups[g][i]);
      if (!block.ok()) return undo(block.status());
      ++blocks_[*block].users;
      checkpoint.blocks.push_back(*block);
    }
  }
  const std::vector<float> uses = sequence.experts.counts_at(tokens.size());
  const PrefixHeader header{.identity = options_.identity_hash(),
                            .token_count = tokens.size(),
                            .block_count = checkpoint.blocks.size(),
                            .fixed_size = state.fixed_bytes(),
                            .tail_size = tail_bytes(tokens.size()),
                            .expert_count = uses.size()};
  std::vector<std::span<const std::byte>> parts = {
      bytes_of_one(header), std::as_bytes(tokens),
      std::as_bytes(std::span<const std::uint64_t>(checkpoint.blocks)), state.fixed()};
  if (header.tail_size > 0) {
    for (const KvCache::Blocks& group : groups)
      parts.push_back(std::as_const(*group[tokens.size() / kKvBlock]).bytes());
  }
  parts.push_back(std::as_bytes(std::span(uses)));
  const std::uint64_t number = next_number_++;
  if (const Status written = write_checked_file(path_of(kStateKind, number), parts);
      !written.ok()) {
    return undo(written);
  }
  for (const std::span<const std::byte> part : parts) checkpoint.size += part.size();
  checkpoint.size = checked_file_size(checkpoint.size);
  size_ += checkpoint.size;
  checkpoints_.emplace(number, std::move(checkpoint));
  return number;
}

Result<std::shared_ptr<KvBlock>> PrefixStore::load_block(std::uint64_t number, std::uint64_t size) {
  Block& block = blocks_.at(number);
  if (block.size != checked_file_size(size)) {
    return error(StatusCode::kCorrupt, "block {}: is another one than it was", number);
  }
  if (std::shared_ptr<KvBlock> present = block.memory.lock()) return present;
  FM_ASSIGN_OR_RETURN(KvBlock buffer, AlignedBuffer::allocate(size));
  const std::array<std::span<std::byte>, 1> parts = {buffer.bytes()};
  FM_RETURN_IF_ERROR(read_checked_file(path_of(kBlockKind, number), parts));
  auto loaded = std::make_shared<KvBlock>(std::move(buffer));
  block.memory = loaded;
  known_[loaded.get()] = number;
  return loaded;
}

Result<RememberedSequence> PrefixStore::load(std::uint64_t number) {
  Checkpoint& checkpoint = checkpoints_.at(number);
  const auto read = [&]() -> Result<RememberedSequence> {
    FM_ASSIGN_OR_RETURN(const SequenceState fresh, SequenceState::create(layout_));
    PrefixHeader header;
    std::vector<std::int32_t> tokens(checkpoint.tokens.size());
    std::vector<std::uint64_t> numbers(checkpoint.blocks.size());
    FM_ASSIGN_OR_RETURN(AlignedBuffer fixed, AlignedBuffer::allocate(fresh.fixed_bytes()));
    std::vector<std::shared_ptr<KvBlock>> tails;
    if (tail_bytes(tokens.size()) > 0) {
      for (const StateLayout::Group& group : layout_.groups()) {
        FM_ASSIGN_OR_RETURN(KvBlock tail, AlignedBuffer::allocate(group.block_bytes));
        tails.push_back(std::make_shared<KvBlock>(std::move(tail)));
      }
    }
    ExpertUse experts(options_.expert_counts);
    std::vector<float> uses(experts.bytes() / sizeof(float));
    std::vector<std::span<std::byte>> parts = {
        std::as_writable_bytes(std::span(&header, 1)), std::as_writable_bytes(std::span(tokens)),
        std::as_writable_bytes(std::span(numbers)), fixed.bytes()};
    for (const std::shared_ptr<KvBlock>& tail : tails) parts.push_back(tail->bytes());
    parts.push_back(std::as_writable_bytes(std::span(uses)));
    FM_RETURN_IF_ERROR(read_checked_file(path_of(kStateKind, number), parts));
    if (tokens != checkpoint.tokens || numbers != checkpoint.blocks ||
        !experts.restore(uses, tokens.size())) {
      return error(StatusCode::kCorrupt, "checkpoint {}: is another one than it was", number);
    }
    std::vector<KvCache::Blocks> groups;
    const std::vector<BlockRange> full = full_blocks(tokens.size());
    auto next = numbers.begin();
    for (std::size_t g = 0; g < full.size(); ++g) {
      KvCache::Blocks& blocks = groups.emplace_back(full[g].begin);
      for (std::size_t i = full[g].begin; i < full[g].end; ++i) {
        FM_ASSIGN_OR_RETURN(std::shared_ptr<KvBlock> block,
                            load_block(*next++, layout_.groups()[g].block_bytes));
        blocks.push_back(std::move(block));
      }
      if (!tails.empty()) blocks.push_back(std::move(tails[g]));
    }
    return RememberedSequence{
        SequenceState::assemble(layout_, tokens.size(), std::move(fixed), std::move(groups)),
        std::move(experts)};
  };
  Result<RememberedSequence> sequence = read();
  if (!sequence.ok()) {
    remove(number);
    return sequence;
  }
  checkpoint.last_use = next_use_++;
  std::error_code ignored;
  fs::last_write_time(path_of(kStateKind, number), fs::file_time_type::clock::now(), ignored);
  return sequence;
}

void PrefixStore::make_room(std::uint64_t bytes, std::vector<std::uint64_t>& removed) {
  while (!checkpoints_.empty() && size_ + bytes > options_.size_max) {
    const auto oldest = std::min_element(
        checkpoints_.begin(), checkpoints_.end(),
        [](const auto& a, const auto& b) { return a.second.last_use < b.second.last_use; });
    removed.push_back(oldest->first);
    remove(oldest->first);
  }
}

/// The checkpoint goes before its blocks: a process that is killed in between leaves blocks that
/// nothing refers to, and never the reverse.
void PrefixStore::remove(std::uint64_t number) {
  const auto found = checkpoints_.find(number);
  if (found == checkpoints_.end()) return;
  std::error_code ignored;
  fs::remove(path_of(kStateKind, number), ignored);
  size_ -= found->second.size;
  const std::vector<std::uint64_t> blocks = std::move(found->second.blocks);
  checkpoints_.erase(found);
  for (const std::uint64_t block : blocks) release_block(block);
}

void PrefixStore::release_block(std::uint64_t number) {
  const auto found = blocks_.find(number);
  if (found == blocks_.end()) return;
  if (found->second.users > 0) --found->second.users;
  if (found->second.users > 0) return;
  std::error_code ignored;
  fs::remove(path_of(kBlockKind, number), ignored);
  size_ -= found->second.size;
  blocks_.erase(found);
  std::erase_if(known_, [number](const auto& known) { return known.second == number; });
}

}  // namespace flashmoe
