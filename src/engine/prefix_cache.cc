#include "engine/prefix_cache.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace flashmoe {
namespace {

bool begins_with(std::span<const std::int32_t> tokens, std::span<const std::int32_t> prefix) {
  return prefix.size() <= tokens.size() && std::equal(prefix.begin(), prefix.end(), tokens.begin());
}

}  // namespace

std::size_t common_prefix(std::span<const std::int32_t> a, std::span<const std::int32_t> b) {
  const std::size_t size = std::min(a.size(), b.size());
  return static_cast<std::size_t>(
      std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(size), b.begin()).first -
      a.begin());
}

PrefixCache::PrefixCache(std::uint64_t budget_bytes, std::unique_ptr<PrefixArchive> archive)
    : budget_bytes_(budget_bytes), archive_(std::move(archive)) {
  if (archive_ == nullptr) return;
  for (PrefixStore::Entry& entry : archive_->entries()) {
    checkpoints_.push_back(
        {.key = next_key_++, .tokens = std::move(entry.tokens), .archived = entry.number});
  }
}

PrefixCache::Match PrefixCache::find(std::span<const std::int32_t> tokens) const {
  Match match;
  for (const Checkpoint& checkpoint : checkpoints_) {
    const std::size_t common = common_prefix(checkpoint.tokens, tokens);
    match.common = std::max(match.common, common);
    if (is_there(checkpoint) && common == checkpoint.tokens.size() && common < tokens.size()) {
      match.checkpoint = std::max(match.checkpoint, common);
    }
  }
  return match;
}

PrefixCache::Position PrefixCache::longest(std::span<const std::int32_t> tokens) {
  Position best = checkpoints_.end();
  for (Position it = checkpoints_.begin(); it != checkpoints_.end(); ++it) {
    if (!is_there(*it) || it->tokens.size() >= tokens.size()) continue;
    if (!begins_with(tokens, it->tokens)) continue;
    if (best == checkpoints_.end() || it->tokens.size() > best->tokens.size()) best = it;
  }
  return best;
}

Result<std::optional<RememberedSequence>> PrefixCache::resume(
    std::span<const std::int32_t> tokens) {
  while (true) {
    const Position found = longest(tokens);
    if (found == checkpoints_.end()) return std::optional<RememberedSequence>();
    ++found->use_count;
    found->age = age_;
    if (found->sequence == nullptr) {
      Result<RememberedSequence> loaded = archive_->load(*found->archived);
      if (!loaded.ok() || !could_hold(*loaded)) {
        // Damaged, or of a larger budget: the next best will do.
        checkpoints_.erase(found);
        continue;
      }
      ++loaded_count_;
      put_in_memory(*found, std::move(*loaded));
      make_room(0, &*found);
    }
    FM_ASSIGN_OR_RETURN(RememberedSequence sequence, found->sequence->fork());
    return std::optional<RememberedSequence>(std::move(sequence));
  }
}

bool PrefixCache::contains(std::span<const std::int32_t> tokens) const {
  return std::any_of(checkpoints_.begin(), checkpoints_.end(), [&](const Checkpoint& checkpoint) {
    return std::equal(checkpoint.tokens.begin(), checkpoint.tokens.end(), tokens.begin(),
                      tokens.end());
  });
}

bool PrefixCache::could_hold(const RememberedSequence& sequence) const {
  std::uint64_t bytes = unshared_bytes(sequence);
  for (const KvBlock* block : sequence.state.kv().held_blocks()) bytes += block->size();
  return bytes <= budget_bytes_;
}

void PrefixCache::store(std::span<const std::int32_t> tokens, RememberedSequence sequence) {
  FM_CHECK(!sequence.state.broken());
  FM_CHECK(sequence.state.position() == tokens.size());
  if (tokens.empty() || contains(tokens) || !could_hold(sequence)) return;
  checkpoints_.push_back(
      {.key = next_key_++, .tokens = {tokens.begin(), tokens.end()}, .age = age_});
  Checkpoint& checkpoint = checkpoints_.back();
  put_in_memory(checkpoint, std::move(sequence));
  make_room(0, &checkpoint);
  if (archive_ == nullptr) return;
  checkpoint.is_being_archived = true;
  archive_->add(checkpoint.key, checkpoint.tokens, checkpoint.sequence);
}

Status PrefixCache::store_copy(std::span<const std::int32_t> tokens,
                               const RememberedSequence& sequence) {
  if (tokens.empty() || contains(tokens) || !could_hold(sequence)) return Status();
  // Its blocks are the sequence's as well, and in memory anyway.
  make_room(unshared_bytes(sequence), nullptr);
  FM_ASSIGN_OR_RETURN(RememberedSequence copy, sequence.fork());
  store(tokens, std::move(copy));
  return Status();
}

void PrefixCache::put_in_memory(Checkpoint& checkpoint, RememberedSequence sequence) {
  bytes_ += unshared_bytes(sequence);
  for (const KvBlock* block : sequence.state.kv().held_blocks()) {
    if (++block_users_[block] == 1) bytes_ += block->size();
  }
  checkpoint.sequence = std::make_shared<const RememberedSequence>(std::move(sequence));
}

std::uint64_t PrefixCache::own_bytes(const Checkpoint& checkpoint) const {
  std::uint64_t bytes = unshared_bytes(*checkpoint.sequence);
  for (const KvBlock* block : checkpoint.sequence->state.kv().held_blocks()) {
    if (block_users_.at(block) == 1) bytes += block->size();
  }
  return bytes;
}

/// The tokens that it alone saves, and how often, for each byte that it takes; those used long ago
/// lag behind by what has been evicted since.
double PrefixCache::worth(const Checkpoint& checkpoint) const {
  std::size_t nearest = 0;
  for (const Checkpoint& other : checkpoints_) {
    if (other.tokens.size() < checkpoint.tokens.size() && other.tokens.size() > nearest &&
        begins_with(checkpoint.tokens, other.tokens)) {
      nearest = other.tokens.size();
    }
  }
  const auto saved = static_cast<double>(checkpoint.tokens.size() - nearest);
  return checkpoint.age + static_cast<double>(checkpoint.use_count) * saved /
                              static_cast<double>(own_bytes(checkpoint));
}

void PrefixCache::make_room(std::uint64_t bytes, const Checkpoint* kept) {
  while (bytes_ + bytes > budget_bytes_) {
    Position least = checkpoints_.end();
    double least_worth = 0;
    for (Position it = checkpoints_.begin(); it != checkpoints_.end(); ++it) {
      if (it->sequence == nullptr || &*it == kept) continue;
      if (const double worth_of_it = worth(*it);
          least == checkpoints_.end() || worth_of_it < least_worth) {
        least = it;
        least_worth = worth_of_it;
      }
    }
    // One alone always has room: could_hold().
    if (least == checkpoints_.end()) return;
    age_ = std::max(age_, least_worth);
    ++evicted_count_;
    drop_from_memory(least);
    if (!least->archived && !least->is_being_archived) checkpoints_.erase(least);
  }
}

void PrefixCache::drop_from_memory(Position position) {
  bytes_ -= unshared_bytes(*position->sequence);
  for (const KvBlock* block : position->sequence->state.kv().held_blocks()) {
    const auto users = block_users_.find(block);
    if (--users->second > 0) continue;
    bytes_ -= block->size();
    block_users_.erase(users);
  }
  position->sequence = nullptr;
}

void PrefixCache::tend(bool is_busy) {
  if (archive_ == nullptr) return;
  archive_->set_busy(is_busy);
  const PrefixArchive::Changes changes = archive_->take_changes();
  if (changes.empty()) return;  // as at nearly every step
  const auto with_key = [this](std::uint64_t key) {
    return std::find_if(checkpoints_.begin(), checkpoints_.end(),
                        [key](const Checkpoint& checkpoint) { return checkpoint.key == key; });
  };
  for (const PrefixArchive::Changes::Saved& saved : changes.saved) {
    const Position found = with_key(saved.key);
    FM_CHECK(found != checkpoints_.end());
    found->archived = saved.number;
    found->is_being_archived = false;
  }
  for (const std::uint64_t key : changes.given_up) {
    const Position found = with_key(key);
    FM_CHECK(found != checkpoints_.end());
    found->is_being_archived = false;
  }
  for (Checkpoint& checkpoint : checkpoints_) {
    const auto& removed = changes.removed;
    if (checkpoint.archived &&
        std::find(removed.begin(), removed.end(), *checkpoint.archived) != removed.end()) {
      checkpoint.archived.reset();
    }
  }
  checkpoints_.remove_if([](const Checkpoint& checkpoint) {
    return !is_there(checkpoint) && !checkpoint.is_being_archived;
  });
}

PrefixCache::Statistics PrefixCache::statistics() const {
  Statistics statistics{
      .bytes = bytes_, .evicted_count = evicted_count_, .loaded_count = loaded_count_};
  for (const Checkpoint& checkpoint : checkpoints_) {
    if (checkpoint.sequence != nullptr) ++statistics.checkpoint_count;
  }
  if (archive_ != nullptr) {
    const PrefixArchive::Size size = archive_->size();
    statistics.disk_count = size.count;
    statistics.disk_bytes = size.bytes;
  }
  return statistics;
}

}  // namespace flashmoe
