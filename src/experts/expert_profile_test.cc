#include "experts/expert_profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <string>

#include "base/testing/temporary_folder.h"

namespace flashmoe {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kIdentity = "0123456789abcdef";
const std::vector<std::size_t> kCounts = {4, 0, 3};

ExpertProfile example() {
  ExpertProfile profile(kCounts);
  profile.layers[0] = {5, 0, 9, 5};
  profile.layers[2] = {0, 1, 0};
  profile.token_count = 7;
  return profile;
}

/// Two MoE layers, as the example's, of three tokens with two experts each.
RoutingTrace trace(std::vector<std::size_t> num_experts = {4, 3}) {
  return RoutingTrace::create({.layer_count = 2,
                               .token_count = 3,
                               .experts_per_token = 2,
                               .ids = {{0}, {1}, {1}, {3}, {1}, {0}, {2}, {0}, {2}, {0}, {2}, {0}},
                               .num_experts = std::move(num_experts),
                               .starts = {0}})
      .value();
}

TEST(ExpertProfile, CountsTheTokensOfATrace) {
  const ExpertProfile profile = count_trace(trace(), kCounts).value();
  EXPECT_EQ(profile.token_count, 3u);
  EXPECT_THAT(profile.layers[0], ElementsAre(2, 3, 0, 1));
  EXPECT_THAT(profile.layers[1], ElementsAre());
  EXPECT_THAT(profile.layers[2], ElementsAre(3, 0, 3));
}

TEST(ExpertProfile, RefusesATraceOfAnotherModel) {
  EXPECT_EQ(count_trace(trace(), std::vector<std::size_t>{4, 3, 3}).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(count_trace(trace({9, 3}), kCounts).status().code(), StatusCode::kInvalidArgument);
}

TEST(ExpertProfile, RanksByCountThenId) {
  EXPECT_THAT(example().ranked(LayerId{0}), ElementsAre(ExpertId{2}, ExpertId{0}, ExpertId{3}));
  EXPECT_THAT(example().ranked(LayerId{1}), ElementsAre());
}

TEST(ExpertProfile, AddsUp) {
  ExpertProfile sum = example();
  sum.add(example());
  EXPECT_THAT(sum.layers[0], ElementsAre(10, 0, 18, 10));
  EXPECT_EQ(sum.token_count, 14u);
}

TEST(ExpertProfile, ComparesByAngleTopAndCoverage) {
  const ProfileSimilarity same = compare_profiles(example(), example(), 2);
  EXPECT_NEAR(same.cosine, 1, 1e-12);
  EXPECT_EQ(same.overlap, 1);
  EXPECT_NEAR(same.coverage, (14.0 / 19 + 1) / 2, 1e-12);

  ExpertProfile other(kCounts);
  other.layers[0] = {0, 3, 4, 0};
  other.layers[2] = {2, 0, 0};
  const ProfileSimilarity apart = compare_profiles(example(), other, 2);
  EXPECT_NEAR(apart.cosine, 36 / (std::sqrt(25.0 + 81 + 25) * 5) / 2, 1e-12);
  EXPECT_EQ(apart.overlap, (1.0 / 2 + 0) / 2);
  EXPECT_NEAR(apart.coverage, (4.0 / 7 + 0) / 2, 1e-12);
}

TEST(ChooseExperts, TakesTheRoutedThenWhoStaysThenTheProfileThenAnybody) {
  const std::vector<std::size_t> counts = {8};
  ExpertProfile routed(counts);
  routed.layers[0] = {0, 0, 3, 0, 4, 0, 0, 0};
  ExpertProfile profile(counts);
  profile.layers[0] = {0, 0, 9, 0, 0, 0, 1, 2};
  const ResidentSet stay = {.layers = {{{5}, {4}}}};
  const auto choose = [&](std::size_t size) {
    return choose_experts(routed, stay, &profile, std::vector<std::size_t>{size}).layers[0];
  };
  EXPECT_THAT(choose(1), ElementsAre(ExpertId{4}));
  EXPECT_THAT(choose(3), ElementsAre(ExpertId{4}, ExpertId{2}, ExpertId{5}));
  EXPECT_THAT(choose(7), ElementsAre(ExpertId{4}, ExpertId{2}, ExpertId{5}, ExpertId{7},
                                     ExpertId{6}, ExpertId{0}, ExpertId{1}));
  EXPECT_EQ(choose(8).size(), 8u);
  EXPECT_THAT(choose_experts(routed, {}, nullptr, std::vector<std::size_t>{3}).layers[0],
              ElementsAre(ExpertId{4}, ExpertId{2}, ExpertId{0}));
}

class ProfileFileTest : public testing::Test {
 protected:
  fs::path path() const { return folder_ / "profile"; }
  std::string bytes() const {
    std::ifstream file(path(), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void put(const std::string& bytes) const { std::ofstream(path(), std::ios::binary) << bytes; }
  TemporaryFolder folder_;
};

TEST_F(ProfileFileTest, ComesBackAsItWasWritten) {
  ASSERT_TRUE(write_profile(path(), kIdentity, example()).ok());
  const Result<ProfileFile> file = read_profile(path());
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(file->profile, example());
  EXPECT_EQ(file->identity, kIdentity);
  EXPECT_EQ(read_profile_of(path(), kIdentity, kCounts).value(), example());
}

TEST_F(ProfileFileTest, OfAnotherModelIsRefused) {
  ASSERT_TRUE(write_profile(path(), kIdentity, example()).ok());
  const Status other = read_profile_of(path(), "another", kCounts).status();
  EXPECT_EQ(other.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(other.message(), HasSubstr(path().string()));
  EXPECT_EQ(read_profile_of(path(), kIdentity, std::vector<std::size_t>{4, 0, 4}).status().code(),
            StatusCode::kCorrupt);
  EXPECT_EQ(read_profile(folder_ / "none").status().code(), StatusCode::kNotFound);
}

TEST_F(ProfileFileTest, CutAnywhereIsAnError) {
  ASSERT_TRUE(write_profile(path(), kIdentity, example()).ok());
  const std::string whole = bytes();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    put(whole.substr(0, size));
    EXPECT_FALSE(read_profile(path()).ok()) << size;
  }
}

TEST_F(ProfileFileTest, DamagedAnywhereIsAnErrorOrOtherCounts) {
  ASSERT_TRUE(write_profile(path(), kIdentity, example()).ok());
  const std::string whole = bytes();
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x91);
    put(damaged);
    const Result<ProfileFile> file = read_profile(path());
    if (!file.ok()) continue;
    for (const std::vector<std::uint64_t>& layer : file->profile.layers) {
      for (const std::uint64_t count : layer) EXPECT_LE(count, std::uint64_t{1} << 48) << i;
    }
  }
}

}  // namespace
}  // namespace flashmoe
