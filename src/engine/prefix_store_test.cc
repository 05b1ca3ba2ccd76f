// Checkpoints on disk: what comes back is what was kept, or nothing.
#include "engine/prefix_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <fstream>
#include <random>

#include "base/testing/temporary_folder.h"
#include "kernels/ops.h"

namespace flashmoe {
namespace {

namespace fs = std::filesystem;

/// A layer that looks back to every position, one that has a state of fixed size, and one that
/// looks back a little.
StateLayout three_layers() {
  const StateNeeds layers[] = {{.position_bytes = {64, 64}},
                               {.fixed_bytes = 200},
                               {.position_bytes = {32, 32}, .window = 100}};
  return StateLayout(layers);
}

class PrefixFiles : public ::testing::Test {
 protected:
  /// A sequence of `tokens` tokens; its bytes follow from `seed`. Blocks of `groups` stand before.
  RememberedSequence make(std::size_t tokens, unsigned seed,
                          std::vector<KvCache::Blocks> groups = {}) {
    std::mt19937 random(seed);
    const auto fill = [&](std::span<std::byte> bytes) {
      for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    };
    AlignedBuffer fixed = AlignedBuffer::allocate(layout_.fixed_bytes()).value();
    fill(fixed.bytes());
    groups.resize(layout_.groups().size());
    for (std::size_t g = 0; g < groups.size(); ++g) {
      const StateLayout::Group& group = layout_.groups()[g];
      while (groups[g].size() * kKvBlock < tokens) {
        KvBlock block = AlignedBuffer::allocate(group.block_bytes).value();
        fill(block.bytes());
        groups[g].push_back(std::make_shared<KvBlock>(std::move(block)));
      }
      const std::size_t passed = KvCache::first_block(group.window, tokens);
      for (std::size_t i = 0; i < passed; ++i) groups[g][i] = nullptr;
    }
    ExpertUse experts(kExpertCounts);
    const auto used = static_cast<std::uint16_t>(random() % kExpertCounts[1]);
    experts.add(LayerId{1}, tokens - 1, 1, {&used, 1});
    return {SequenceState::assemble(layout_, tokens, std::move(fixed), std::move(groups)),
            std::move(experts)};
  }
  static std::vector<std::int32_t> ids(std::size_t count, std::int32_t first = 0) {
    std::vector<std::int32_t> ids(count);
    for (std::size_t i = 0; i < count; ++i) ids[i] = first + static_cast<std::int32_t>(i);
    return ids;
  }
  static bool equal(const RememberedSequence& x, const RememberedSequence& y) {
    const SequenceState& a = x.state;
    const SequenceState& b = y.state;
    const auto same = [](std::span<const std::byte> p, std::span<const std::byte> q) {
      return p.size() == q.size() && std::memcmp(p.data(), q.data(), p.size()) == 0;
    };
    bool is_equal = a.position() == b.position() &&
                    x.experts.counts_at(a.position()) == y.experts.counts_at(a.position()) &&
                    same(a.fixed(), b.fixed());
    for (std::size_t g = 0; is_equal && g < a.kv().groups().size(); ++g) {
      const KvCache::Blocks& of_a = a.kv().groups()[g];
      const KvCache::Blocks& of_b = b.kv().groups()[g];
      is_equal = std::equal(of_a.begin(), of_a.end(), of_b.begin(), of_b.end(),
                            [&](const auto& block_a, const auto& block_b) {
                              if (block_a == nullptr || block_b == nullptr) {
                                return block_a == block_b;
                              }
                              return same(block_a->bytes(), block_b->bytes());
                            });
    }
    return is_equal;
  }
  std::unique_ptr<PrefixStore> open(std::uint64_t size_max = 1u << 30,
                                    const std::string& identity = "model") {
    return PrefixStore::open(layout_, {folder_.path(), identity, kExpertCounts, size_max}).value();
  }
  std::uint64_t save(PrefixStore& store, std::span<const std::int32_t> tokens,
                     const RememberedSequence& sequence) {
    std::vector<std::uint64_t> removed;
    return store.save(tokens, sequence, removed).value();
  }
  std::vector<fs::path> files(std::string_view kind) const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::recursive_directory_iterator(folder_.path())) {
      if (entry.path().filename().string().starts_with(kind)) found.push_back(entry.path());
    }
    return found;
  }

  static inline const std::vector<std::size_t> kExpertCounts = {0, 6};
  TemporaryFolder folder_;
  const StateLayout layout_ = three_layers();
};

TEST_F(PrefixFiles, ComeBackInALaterRun) {
  const RememberedSequence sequence = make(150, 1);
  save(*open(), ids(150), sequence);
  auto store = open();
  ASSERT_EQ(store->entries().size(), 1u);
  EXPECT_EQ(store->entries()[0].tokens, ids(150));
  EXPECT_TRUE(equal(store->load(store->entries()[0].number).value(), sequence));
}

TEST_F(PrefixFiles, KnowWhichExpertsWereUsed) {
  const RememberedSequence sequence = make(150, 1);
  save(*open(), ids(150), sequence);
  auto store = open();
  const RememberedSequence loaded = store->load(store->entries()[0].number).value();
  EXPECT_EQ(loaded.experts.most_used(9), sequence.experts.most_used(9));
  EXPECT_EQ(loaded.experts.most_used(9).size(), 1u);
}

TEST_F(PrefixFiles, AreTheUsersAlone) {
  save(*open(), ids(70), make(70, 1));
  for (const auto& entry : fs::recursive_directory_iterator(folder_.path())) {
    struct stat status {};
    ASSERT_EQ(::stat(entry.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0077u, 0u) << entry.path();
  }
}

TEST_F(PrefixFiles, ShareBlocksAndKeepThemAsLongAsSomebodyNeedsThem) {
  const RememberedSequence first = make(130, 1);
  std::vector<KvCache::Blocks> shared(first.state.kv().groups().begin(),
                                      first.state.kv().groups().end());
  for (KvCache::Blocks& blocks : shared) blocks.resize(2);
  const RememberedSequence second = make(200, 2, shared);
  auto store = open();
  const std::uint64_t a = save(*store, ids(130), first);
  const std::uint64_t b = save(*store, ids(200), second);
  // Of each group two of the first and one of the second alone; the rest is in states. The window
  // of the second has passed one of the first's.
  EXPECT_EQ(files("block-").size(), 6u);
  store->remove(a);
  EXPECT_EQ(files("block-").size(), 5u);
  EXPECT_TRUE(equal(store->load(b).value(), second));
  store->remove(b);
  EXPECT_TRUE(files("block-").empty());
  EXPECT_EQ(store->size(), 0u);
}

TEST_F(PrefixFiles, StayBelowTheirLimitByLastUse) {
  auto store = open();
  const std::uint64_t one = (save(*store, ids(64), make(64, 0)), store->size());
  store.reset();
  fs::remove_all(folder_.path());
  store = open(4 * one + 10'000);
  std::vector<std::uint64_t> removed;
  std::uint64_t first = 0;
  for (unsigned i = 0; i < 12; ++i) {
    const std::uint64_t number =
        store->save(ids(64, static_cast<std::int32_t>(100 * i)), make(64, i), removed).value();
    if (i == 0) first = number;
    if (i < 6) {
      ASSERT_TRUE(store->load(first).ok()) << i;
    }
    EXPECT_LE(store->size(), 4 * one + 10'000);
  }
  EXPECT_GE(removed.size(), 8u);
  EXPECT_NE(removed.front(), first);
  EXPECT_EQ(store->save(ids(6400), make(6400, 1), removed).status().code(),
            StatusCode::kOutOfBudget);
}

TEST_F(PrefixFiles, ThatAreDamagedAreNeverUsed) {
  const RememberedSequence sequence = make(150, 1);
  for (const char* kind : {"state-", "block-"}) {
    for (const int at : {20, -30, -1}) {
      fs::remove_all(folder_.path());
      save(*open(), ids(150), sequence);
      const fs::path path = files(kind).front();
      const auto size = static_cast<std::streamoff>(fs::file_size(path));
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekg(at >= 0 ? at : size + at);
      const char flipped = static_cast<char>(~file.get());
      file.seekp(at >= 0 ? at : size + at);
      file.put(flipped);
      file.close();
      auto store = open();
      for (const PrefixStore::Entry& entry : store->entries()) {
        EXPECT_FALSE(store->load(entry.number).ok()) << kind << at;
      }
      store.reset();
      EXPECT_TRUE(open()->entries().empty()) << kind << at;
    }
  }
}

TEST_F(PrefixFiles, ThatAKilledProcessLeftAreRemoved) {
  save(*open(), ids(150), make(150, 1));
  const fs::path folder = files("state-").front().parent_path();
  std::ofstream(folder / "state-9.new") << "half";
  std::ofstream(folder / "block-77") << "not as large as a block";
  fs::copy_file(files("block-").front(), folder / "block-78");  // nobody refers to it
  std::ofstream(folder / "state-79") << "short";
  auto store = open();
  EXPECT_EQ(store->entries().size(), 1u);
  EXPECT_EQ(files("block-").size(), 4u);
  EXPECT_EQ(files("state-").size(), 1u);
  // A checkpoint without one of its blocks is none.
  store.reset();
  fs::remove(files("block-").front());
  EXPECT_TRUE(open()->entries().empty());
  EXPECT_TRUE(files("block-").empty());
}

TEST_F(PrefixFiles, AreOfOneModelAndOneProcess) {
  auto store = open();
  save(*store, ids(70), make(70, 1));
  EXPECT_EQ(PrefixStore::open(layout_, {folder_.path(), "model", kExpertCounts, 1u << 30})
                .status()
                .code(),
            StatusCode::kIo);
  EXPECT_TRUE(open(1u << 30, "another")->entries().empty());
  store.reset();
  EXPECT_EQ(open()->entries().size(), 1u);
}

TEST_F(PrefixFiles, AreOfOneArithmetic) {
  save(*open(), ids(70), make(70, 1));
  const auto other = PrefixStore::open(layout_, {.folder = folder_.path(),
                                                 .identity = "model",
                                                 .expert_counts = kExpertCounts,
                                                 .numerics = kNumericsVersion + 1});
  EXPECT_TRUE(other.value()->entries().empty());
  EXPECT_EQ(open()->entries().size(), 1u);
}

TEST_F(PrefixFiles, AreOfOnePrecisionOfKeysAndValues) {
  save(*open(), ids(70), make(70, 1));
  for (const KvPrecision precision : {KvPrecision::kBF16, KvPrecision::kInt8}) {
    const auto other = PrefixStore::open(layout_, {.folder = folder_.path(),
                                                   .identity = "model",
                                                   .expert_counts = kExpertCounts,
                                                   .kv_precision = precision});
    EXPECT_TRUE(other.value()->entries().empty());
    save(**other, ids(70), make(70, 1));
  }
  EXPECT_EQ(open()->entries().size(), 1u);
  EXPECT_EQ(files("state-").size(), 3u);
}

}  // namespace
}  // namespace flashmoe
