#include "format/shard_plan.h"

#include <gtest/gtest.h>

namespace flashmoe {
namespace {

TEST(ShardPlan, FillsFilesInOrder) {
  const std::vector<std::uint64_t> sizes = {3, 3, 4, 10, 11, 1};
  const std::vector<Shard> shards = plan_shards(sizes, 10);
  ASSERT_EQ(shards.size(), 4u);
  EXPECT_EQ(shards[0].file_name, "model-00001-of-00004.safetensors");
  const std::vector<std::size_t> ends = {3, 4, 5, 6};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(shards[i].begin, i == 0 ? 0 : ends[i - 1]);
    EXPECT_EQ(shards[i].end, ends[i]);
  }
}

TEST(ShardPlan, NumbersNoFileThatIsAlone) {
  const std::vector<std::uint64_t> sizes = {3, 3};
  const std::vector<Shard> shards = plan_shards(sizes, 10);
  ASSERT_EQ(shards.size(), 1u);
  EXPECT_EQ(shards[0].file_name, "model.safetensors");
  EXPECT_TRUE(plan_shards({}, 10).empty());
}

}  // namespace
}  // namespace flashmoe
