#include "experts/resident_set_keeper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/testing/temporary_folder.h"
#include "experts/policies/lru.h"
#include "experts/testing/expert_files.h"

namespace flashmoe {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ResidentSetKeeperTest : public testing::Test {
 protected:
  void TearDown() override { keeper_.reset(); }

  void open(std::size_t slot_count, const std::string& identity = "a") {
    keeper_.reset();
    cache_ = ExpertCache::create(store_, make_lru_policy(store_.expert_counts()),
                                 make_read_queue({.backend = IoBackend::kPread}).value(),
                                 {.budget_bytes = slot_count * store_.slot_size()})
                 .value();
    keeper_ = std::make_unique<ResidentSetKeeper>(
        ResidentSetKeeper::Options{
            .path = path_,
            .identity = identity,
            .on_warning = [this](const Status& s) { warnings_.push_back(s.message()); }},
        store_, *cache_);
  }
  void close() { keeper_.reset(); }
  void use(std::initializer_list<int> experts) {
    std::vector<ExpertId> routed;
    for (const int id : experts) routed.push_back(ExpertId{static_cast<std::uint16_t>(id)});
    std::vector<ExpertLease> leases(routed.size());
    ASSERT_TRUE(cache_->acquire(step_++, LayerId{0}, routed, leases).ok());
    for (const ExpertLease& lease : leases) ASSERT_TRUE(lease.wait().ok());
  }
  void wait_for(int expert) const {
    const ExpertKey key{LayerId{0}, ExpertId{static_cast<std::uint16_t>(expert)}};
    // A minute at most, so that what never comes is a failure and no hang.
    for (int i = 0; !cache_->is_resident(key) && i < 60000; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ASSERT_TRUE(cache_->is_resident(key)) << expert;
  }
  std::vector<int> in_file(const std::string& identity = "a") const {
    std::vector<int> ids;
    const auto set = read_resident_set(path_, identity, store_.expert_counts());
    EXPECT_TRUE(set.ok()) << set.status().message();
    if (!set.ok()) return ids;
    for (const ExpertId id : set->layers[0]) ids.push_back(id.value);
    return ids;
  }

  const std::vector<ExpertFiles::LayerShape> shapes_ = {
      {.expert_count = 8, .segment_sizes = {20000}}};
  const ExpertFiles files_{shapes_, 7};
  const ExpertStore store_ = files_.open_store();
  TemporaryFolder folder_;
  fs::path path_ = folder_ / "set";
  std::vector<std::string> warnings_;
  std::unique_ptr<ExpertCache> cache_;
  std::unique_ptr<ResidentSetKeeper> keeper_;
  std::uint64_t step_ = 0;
};

TEST_F(ResidentSetKeeperTest, BringsBackWhatWasThereAtTheEnd) {
  open(4);
  use({3, 1});
  use({6});
  close();
  EXPECT_THAT(in_file(), ElementsAre(6, 3, 1));
  open(4);
  for (const int expert : {6, 3, 1}) wait_for(expert);
  EXPECT_EQ(cache_->resident_count(LayerId{0}), 3u);
  EXPECT_EQ(cache_->statistics().miss_count, 0u);
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(ResidentSetKeeperTest, BringsBackTheMostWantedThatFit) {
  open(4);
  use({3, 1, 7});
  close();
  open(2);
  for (const int expert : {3, 1}) wait_for(expert);
  EXPECT_EQ(cache_->resident_count(LayerId{0}), 2u);
}

TEST_F(ResidentSetKeeperTest, ARunWithLessForgetsNothing) {
  open(4);
  use({3, 1, 7});
  close();
  open(1);
  use({5});
  close();
  EXPECT_THAT(in_file(), ElementsAre(5, 3, 1, 7));
}

TEST_F(ResidentSetKeeperTest, WritesNowAndThenAndOnlyWhatChanged) {
  open(4);
  use({3});
  for (std::size_t i = 1; i < ResidentSetKeeper::kSaveInterval; ++i) keeper_->after_step();
  EXPECT_FALSE(fs::exists(path_));
  keeper_->after_step();
  EXPECT_THAT(in_file(), ElementsAre(3));
  fs::remove(path_);
  close();
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(ResidentSetKeeperTest, WritesNothingIfNothingWasUsed) {
  open(4);
  close();
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(ResidentSetKeeperTest, ReplacesTheSetOfAnotherModel) {
  open(4);
  use({3});
  open(4, "b");
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("another model")));
  use({5});
  close();
  EXPECT_THAT(in_file("b"), ElementsAre(5));
}

TEST_F(ResidentSetKeeperTest, LeavesAFileThatIsNoResidentSetAsItIs) {
  std::ofstream(path_) << "a letter";
  open(4);
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr(path_.string())));
  use({5});
  close();
  std::string text;
  std::getline(std::ifstream(path_), text);
  EXPECT_EQ(text, "a letter");
  EXPECT_EQ(warnings_.size(), 1u);
}

TEST_F(ResidentSetKeeperTest, TellsThatItCannotWrite) {
  path_ = folder_ / "absent" / "set";
  open(4);
  use({5});
  close();
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr(path_.string())));
}

}  // namespace
}  // namespace flashmoe
