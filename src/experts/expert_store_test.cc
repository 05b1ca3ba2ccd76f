#include "experts/expert_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <numeric>
#include <vector>

#include "experts/testing/expert_files.h"
#include "experts/testing/expert_ids.h"

namespace flashmoe {
namespace {

using testing::HasSubstr;

class ExpertStoreTest : public testing::Test {
 protected:
  // Opens the files with one segment changed.
  Status open_with(std::size_t layer, std::size_t segment, const ExpertSegment& changed) {
    std::vector<ExpertStore::Layer> layers = files_.layers();
    layers[layer].segments[segment] = changed;
    return ExpertStore::open(files_.paths(), std::move(layers)).status();
  }

  ExpertFiles files_{ExpertFiles::mixed_shapes(), 1};
  ExpertStore store_ = files_.open_store();
};

TEST_F(ExpertStoreTest, KnowsCountsAndSizes) {
  EXPECT_EQ(store_.layer_count(), 5u);
  EXPECT_EQ(store_.expert_counts(), (std::vector<std::size_t>{12, 8, 0, 16, 12}));
  EXPECT_EQ(store_.expert_size(LayerId{0}), 40960u + 1280 + 1280 + 17001 + 300);
  EXPECT_EQ(store_.expert_size(LayerId{2}), 0u);
  EXPECT_EQ(store_.segments(key(3, 15)).size(), 3u);
}

TEST_F(ExpertStoreTest, PutsEverySegmentInItsReadAndEveryReadInTheSlot) {
  for (std::uint32_t l = 0; l < store_.layer_count(); ++l) {
    for (std::uint16_t e = 0; e < store_.expert_count({l}); ++e) {
      SCOPED_TRACE(testing::Message() << "layer " << l << " expert " << e);
      const ExpertPlacement place = store_.placement(key(l, e));
      EXPECT_LE(place.size, store_.slot_size());
      std::uint64_t end = 0;  // of what the reads so far may overwrite
      std::uint64_t bytes = 0;
      for (const auto& read : std::span(place.reads).first(place.read_count)) {
        const std::size_t alignment = store_.file(read.file_index).direct_alignment();
        EXPECT_EQ(read.padded, alignment > 1 && read.size >= 16384);
        const std::size_t margin = read.padded ? read.slot_offset % alignment : 0;
        EXPECT_EQ(margin, read.padded ? read.offset % alignment : 0);
        EXPECT_GE(read.slot_offset - margin, end);
        end = read.slot_offset + read.size;
        if (read.padded) end = (end + alignment - 1) / alignment * alignment;
        bytes += read.size;
        std::size_t inside_count = 0;
        for (std::size_t i = 0; i < store_.segments(key(l, e)).size(); ++i) {
          const ExpertSegment& segment = store_.segments(key(l, e))[i];
          if (segment.file_index != read.file_index || segment.offset < read.offset ||
              segment.offset >= read.offset + read.size) {
            continue;
          }
          ++inside_count;
          EXPECT_EQ(place.segment_offsets[i] - read.slot_offset, segment.offset - read.offset);
        }
        EXPECT_GT(inside_count, 0u);
      }
      EXPECT_EQ(bytes, store_.expert_size({l}));
      EXPECT_EQ(end, place.size);
    }
  }
  EXPECT_EQ(store_.slot_size() % store_.slot_alignment(), 0u);
}

TEST_F(ExpertStoreTest, ReadsWhatIsContiguousOnDiskAtOnce) {
  EXPECT_EQ(store_.placement(key(0, 3)).read_count, 5u);  // stacked by segment
  EXPECT_EQ(store_.placement(key(1, 4)).read_count, 1u);  // stored by expert, in another order
  EXPECT_EQ(store_.placement(key(1, 3)).read_count, 3u);  // likewise, with gaps
}

TEST_F(ExpertStoreTest, TakesLittleMoreMemoryThanTheExpertsHave) {
  // The largest expert has five reads; two are padded, each by less than two pages.
  EXPECT_LT(store_.slot_size(), store_.expert_size({0}) + 5 * 4096 + 3 * 64);
}

TEST_F(ExpertStoreTest, RefusesASegmentOutsideItsFile) {
  ExpertSegment segment = files_.layers()[1].segments[4];
  segment.offset = files_.file(1).contents().size() - segment.size + 1;
  const Status status = open_with(1, 4, segment);
  EXPECT_EQ(status.code(), StatusCode::kCorrupt);
  EXPECT_THAT(status.message(), HasSubstr("expert store: layer 1 expert 1: "));
  EXPECT_THAT(status.message(), HasSubstr(files_.paths()[1].string()));
  EXPECT_THAT(status.message(), HasSubstr("outside the file"));
  segment.offset = std::numeric_limits<std::uint64_t>::max() - 10;
  EXPECT_EQ(open_with(1, 4, segment).code(), StatusCode::kCorrupt);
}

TEST_F(ExpertStoreTest, RefusesExpertsOfDifferentSizesInALayer) {
  ExpertSegment segment = files_.layers()[0].segments[7];
  segment.size -= 1;
  const Status status = open_with(0, 7, segment);
  EXPECT_EQ(status.code(), StatusCode::kCorrupt);
  EXPECT_THAT(status.message(), HasSubstr("layer 0 expert 1: "));
  EXPECT_THAT(status.message(), HasSubstr("expert 0 has 1280"));
}

TEST_F(ExpertStoreTest, RefusesSegmentsWithoutBytes) {
  std::vector<ExpertStore::Layer> layers(1);
  layers[0].segments_per_expert = 1;
  layers[0].segments = {{.file_index = 0, .offset = 8, .size = 0}};
  EXPECT_EQ(ExpertStore::open(files_.paths(), std::move(layers)).status().code(),
            StatusCode::kCorrupt);
}

TEST_F(ExpertStoreTest, NamesAFileThatIsNotThere) {
  const std::vector<std::filesystem::path> paths = {"no_such_file.safetensors"};
  const Status status = ExpertStore::open(paths, {}).status();
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_THAT(status.message(), HasSubstr("no_such_file.safetensors"));
}

TEST(ExpertStore, MayHaveNoExpertsAtAll) {
  const auto store = ExpertStore::open({}, std::vector<ExpertStore::Layer>(3));
  ASSERT_TRUE(store.ok());
  EXPECT_EQ(store->slot_size(), 0u);
  EXPECT_EQ(store->expert_count({2}), 0u);
}

}  // namespace
}  // namespace flashmoe
