#include "experts/resident_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include "base/testing/temporary_folder.h"
#include "experts/testing/expert_files.h"
#include "format/safetensors_writer.h"

namespace flashmoe {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr const char* kIdentity = "0123456789abcdef";
const std::vector<std::size_t> kCounts = {8, 0, 300};

ResidentSet example() { return {.layers = {{{5}, {0}, {7}}, {}, {{299}, {1}}}}; }

class ResidentSetFile : public testing::Test {
 protected:
  fs::path path() const { return folder_ / "set"; }
  Result<ResidentSet> read() const { return read_resident_set(path(), kIdentity, kCounts); }
  std::string bytes() const {
    std::ifstream file(path(), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void put(const std::string& bytes) const { std::ofstream(path(), std::ios::binary) << bytes; }

  TemporaryFolder folder_;
};

TEST_F(ResidentSetFile, ComesBackAsItWasWritten) {
  ASSERT_TRUE(write_resident_set(path(), kIdentity, example()).ok());
  const Result<ResidentSet> set = read();
  ASSERT_TRUE(set.ok()) << set.status().message();
  EXPECT_EQ(*set, example());
}

TEST_F(ResidentSetFile, MayBeEmpty) {
  const ResidentSet empty = {.layers = {{}, {}, {}}};
  ASSERT_TRUE(write_resident_set(path(), kIdentity, empty).ok());
  EXPECT_EQ(read().value(), empty);
}

TEST_F(ResidentSetFile, ReplacesTheOneBeforeAndLeavesNothingElse) {
  put("an older file");
  ASSERT_TRUE(write_resident_set(path(), kIdentity, example()).ok());
  EXPECT_TRUE(read().ok());
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), 1);
}

TEST_F(ResidentSetFile, StaysWhereANewOneCannotBeWritten) {
  EXPECT_EQ(write_resident_set(folder_ / "absent" / "set", kIdentity, example()).code(),
            StatusCode::kIo);
  EXPECT_EQ(write_resident_set(folder_.path(), kIdentity, example()).code(),
            StatusCode::kInvalidArgument);
}

TEST_F(ResidentSetFile, OfAnotherModelIsRefused) {
  ASSERT_TRUE(write_resident_set(path(), "fedcba9876543210", example()).ok());
  const Status status = read().status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr(path().string()));
  EXPECT_THAT(status.message(), HasSubstr("another model"));
}

TEST_F(ResidentSetFile, MustFitTheCountsOfTheModel) {
  ASSERT_TRUE(write_resident_set(path(), kIdentity, example()).ok());
  for (const std::vector<std::size_t>& counts :
       {std::vector<std::size_t>{8, 0}, {8, 0, 300, 1}, {2, 0, 300}, {7, 0, 300}, {8, 0, 299}}) {
    EXPECT_EQ(read_resident_set(path(), kIdentity, counts).status().code(), StatusCode::kCorrupt);
  }
}

TEST_F(ResidentSetFile, NamesNoExpertTwice) {
  ASSERT_TRUE(write_resident_set(path(), kIdentity, {.layers = {{{5}, {5}}, {}, {}}}).ok());
  EXPECT_EQ(read().status().code(), StatusCode::kCorrupt);
}

TEST_F(ResidentSetFile, OfALaterVersionOrAnotherKindIsRefused) {
  const auto write = [&](const std::map<std::string, std::string>& metadata) {
    SafetensorsWriter writer =
        SafetensorsWriter::create(path(), {{"counts", DType::kI64, {0}}, {"ids", DType::kU16, {0}}},
                                  metadata)
            .value();
    ASSERT_TRUE(writer.finish().ok());
  };
  write({{"flash-moe.resident_set", "2"}, {"model", kIdentity}});
  EXPECT_EQ(read().status().code(), StatusCode::kUnsupported);
  write({{"model", kIdentity}});
  EXPECT_EQ(read().status().code(), StatusCode::kCorrupt);
  EXPECT_EQ(read_resident_set(folder_ / "none", kIdentity, kCounts).status().code(),
            StatusCode::kNotFound);
}

TEST_F(ResidentSetFile, CutAnywhereIsAnError) {
  ASSERT_TRUE(write_resident_set(path(), kIdentity, example()).ok());
  const std::string whole = bytes();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    put(whole.substr(0, size));
    EXPECT_FALSE(read().ok()) << size;
  }
}

TEST_F(ResidentSetFile, DamagedAnywhereIsAnErrorOrAnotherSetOfTheseExperts) {
  constexpr std::uint64_t kSeed = 20261126;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::mt19937_64 random(kSeed);
  ASSERT_TRUE(write_resident_set(path(), kIdentity, example()).ok());
  const std::string whole = bytes();
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(random());
    put(damaged);
    const Result<ResidentSet> set = read();
    if (!set.ok()) continue;
    ASSERT_EQ(set->layers.size(), kCounts.size());
    for (std::size_t l = 0; l < kCounts.size(); ++l) {
      for (const ExpertId id : set->layers[l]) EXPECT_LT(id.value, kCounts[l]);
    }
  }
}

TEST(ResidentSet, KeepsWhatAnOlderOneKnewBehindWhatItHas) {
  ResidentSet set = {.layers = {{{3}, {1}}, {}, {}}};
  append_missing(set, {.layers = {{{2}, {1}, {0}}, {}, {{4}}}});
  EXPECT_EQ(set, (ResidentSet{.layers = {{{3}, {1}, {2}, {0}}, {}, {{4}}}}));
}

TEST(ResidentSet, RanksTheFirstOfEveryLayerBeforeTheSeconds) {
  const std::vector<ExpertKey> expected = {
      {{0}, {5}}, {{2}, {299}}, {{0}, {0}}, {{2}, {1}}, {{0}, {7}}};
  EXPECT_EQ(by_rank(example()), expected);
}

TEST(ResidentSet, IsReadInTheOrderOfTheFiles) {
  const ExpertFiles files(ExpertFiles::mixed_shapes(), 5);
  const ExpertStore store = files.open_store();
  std::vector<ExpertKey> keys;
  for (std::uint32_t l = 0; l < store.layer_count(); ++l) {
    for (std::uint16_t e = 0; e < store.expert_count({l}); ++e) keys.push_back({{l}, {e}});
  }
  std::ranges::shuffle(keys, std::mt19937_64(5));
  sort_in_file_order(store, keys);
  for (std::size_t i = 1; i < keys.size(); ++i) {
    const ExpertSegment& before = store.segments(keys[i - 1])[0];
    const ExpertSegment& after = store.segments(keys[i])[0];
    EXPECT_LT(std::pair(before.file_index, before.offset),
              std::pair(after.file_index, after.offset));
  }
}

}  // namespace
}  // namespace flashmoe
