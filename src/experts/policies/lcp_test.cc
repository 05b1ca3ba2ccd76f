#include "experts/policies/lcp.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

#include "experts/testing/all_but.h"

namespace flashmoe {
namespace {

class LcpPolicyTest : public testing::Test {
 protected:
  static constexpr LayerId kLayer{0};

  /// Routes `expert` at `step`; the first time it is loaded.
  void route(std::uint64_t step, std::uint16_t expert) {
    const ExpertId id{expert};
    policy_->on_routed(step, kLayer, {&id, 1}, {});
    if (uses_[expert]++ == 0) policy_->on_loaded({kLayer, id}, LoadCause::kRouted);
  }
  ExpertId victim() { return policy_->choose_victim(kLayer, AllBut(std::set<ExpertKey>{})).expert; }

  const std::vector<std::size_t> counts_ = {8};
  std::unique_ptr<ResidencyPolicy> policy_ = make_lcp_policy(counts_);
  std::vector<int> uses_ = std::vector<int>(8);
};

TEST_F(LcpPolicyTest, FollowsItsFormula) {
  policy_->set_slots({.counts = {8}});
  for (std::uint64_t step = 0; step < 8; ++step) route(step, 1);  // 8 uses, the last at 7
  route(100, 2);                                                  // 1 use
  // Of 8 uses 8 * 0.25^((now - 7) / 128) are left, of one 0.25^((now - 100) / 128): their ratio is
  // 8 * 0.25^(93 / 128) for ever.
  static_assert(93 < 128 * 1.5);  // 8 = 4^1.5
  for (const std::uint64_t now : {100, 200, 400}) {
    route(now, 3);
    EXPECT_EQ(victim(), ExpertId{2}) << now;
  }
}

TEST_F(LcpPolicyTest, LetsGoOfWhatWasPopularOnceAPauseIsLongEnough) {
  policy_->set_slots({.counts = {8}});
  for (std::uint64_t step = 0; step < 8; ++step) route(step, 1);
  // 8 * 0.25^(steps / 128) is 1 after 192 steps.
  route(7 + 191, 2);
  EXPECT_EQ(victim(), ExpertId{2});
  route(7 + 193, 3);
  EXPECT_EQ(victim(), ExpertId{2}) << "older than 3 and as often used";
  route(7 + 194, 2);
  EXPECT_EQ(victim(), ExpertId{1});
}

TEST_F(LcpPolicyTest, CountsOldUsesInFullAgainAtTheNextOne) {
  policy_->set_slots({.counts = {8}});
  for (std::uint64_t step = 0; step < 4; ++step) route(step, 1);
  for (std::uint64_t step = 1000; step < 1004; ++step) route(step, 2);
  EXPECT_EQ(victim(), ExpertId{1});
  route(1004, 1);  // 5 uses against 4, where an lfu that forgets has 1 and a trace against 4
  EXPECT_EQ(victim(), ExpertId{2});
}

}  // namespace
}  // namespace flashmoe
