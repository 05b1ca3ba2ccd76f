#include "engine/expert_use.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace flashmoe {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::size_t kCounts[] = {4, 0, 3};  // the second layer has no experts

ExpertKey key(std::uint32_t layer, std::uint16_t expert) { return {LayerId{layer}, {expert}}; }

TEST(ExpertUse, RanksByUseOverAllLayers) {
  ExpertUse use(kCounts);
  use.add(LayerId{0}, 0, 3, std::vector<std::uint16_t>{1, 2, 1, 3, 1, 2});
  use.add(LayerId{2}, 0, 1, std::vector<std::uint16_t>{2, 0});
  EXPECT_THAT(use.most_used(10),
              ElementsAre(key(0, 1), key(0, 2), key(0, 3), key(2, 0), key(2, 2)));
  EXPECT_THAT(use.most_used(2), ElementsAre(key(0, 1), key(0, 2)));
}

TEST(ExpertUse, ForgetsOverTokens) {
  ExpertUse use(kCounts);
  use.add(LayerId{0}, 0, 2, std::vector<std::uint16_t>{1, 1});
  use.add(LayerId{0}, 1000, 1, std::vector<std::uint16_t>{2});
  EXPECT_THAT(use.most_used(2), ElementsAre(key(0, 2), key(0, 1)));
  const float faded = use.counts_at(1000)[1];
  EXPECT_NEAR(faded, 2 * std::exp2(-1000 / ExpertUse::kHalfLifeTokens), 1e-4);
}

TEST(ExpertUse, CountsStayFiniteHoweverLongTheSequence) {
  ExpertUse use(kCounts);
  for (std::size_t position = 0; position < 1'000'000; position += 5'000) {
    use.add(LayerId{0}, position, 1, std::vector<std::uint16_t>{3});
  }
  use.add(LayerId{0}, 100'000'000, 1, std::vector<std::uint16_t>{0});
  EXPECT_THAT(use.most_used(1), ElementsAre(key(0, 0)));
  for (const float count : use.counts_at(100'000'000)) EXPECT_TRUE(std::isfinite(count));
}

TEST(ExpertUse, NobodyIsNotCounted) {
  ExpertUse use(kCounts);
  use.add(LayerId{2}, 0, 1, std::vector<std::uint16_t>{0xffff, 1});
  EXPECT_THAT(use.most_used(10), ElementsAre(key(2, 1)));
}

TEST(ExpertUse, GoesOnFromWhatWasWritten) {
  ExpertUse use(kCounts);
  use.add(LayerId{0}, 500, 2, std::vector<std::uint16_t>{1, 2});
  ExpertUse restored(kCounts);
  ASSERT_TRUE(restored.restore(use.counts_at(640), 640));
  use.add(LayerId{0}, 640, 1, std::vector<std::uint16_t>{2});
  restored.add(LayerId{0}, 640, 1, std::vector<std::uint16_t>{2});
  const std::vector<float> a = use.counts_at(641);
  const std::vector<float> b = restored.counts_at(641);
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-5);
}

TEST(ExpertUse, RefusesWhatIsNotOfItsModel) {
  ExpertUse use(kCounts);
  EXPECT_FALSE(use.restore(std::vector<float>(6), 0));
  EXPECT_FALSE(use.restore(std::vector<float>{0, 0, 0, -1, 0, 0, 0}, 0));
  std::vector<float> no_number(7, std::numeric_limits<float>::quiet_NaN());
  EXPECT_FALSE(use.restore(no_number, 0));
  EXPECT_THAT(use.most_used(10), IsEmpty());
}

TEST(ExpertUse, OfAModelWithoutExpertsIsEmpty) {
  EXPECT_THAT(ExpertUse().most_used(5), IsEmpty());
  EXPECT_TRUE(ExpertUse().restore({}, 10));
}

}  // namespace
}  // namespace flashmoe
