#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "validation/lab.h"

namespace flashmoe {
namespace {

std::string verdict(const Figures& figures, const std::string& part) {
  for (const Claim& claim : judge_claims(figures)) {
    if (claim.claim.find(part) != std::string::npos) return claim.verdict;
  }
  return "no such claim";
}

TEST(Claims, ThatNoExperimentSpeaksOfAreNotJudged) {
  for (const Claim& claim : judge_claims({})) EXPECT_EQ(claim.verdict, "not testable here");
  EXPECT_EQ(judge_claims({}).size(), 10u);
}

TEST(Claims, TellHowFarWhatWasTriedRan) {
  Figures figures;
  figures.seconds_by_capacity = {{208, 1.0}};
  for (const std::size_t of_512 : {160, 208, 224, 256}) {
    figures.pressure.push_back({.of_512 = of_512,
                                .heeds_limit = false,
                                .outcome = of_512 < 224 ? "ran" : "killed",
                                .tokens_per_second = of_512 < 224 ? 9.0 : 0.0});
    figures.pressure.push_back(
        {.of_512 = of_512, .heeds_limit = true, .outcome = of_512 < 256 ? "ran" : "refused"});
  }
  figures.pressure.push_back({.of_512 = 0, .heeds_limit = true, .outcome = "ran"});
  for (const Claim& claim : judge_claims(figures)) {
    if (claim.claim.find("memory cliff") == std::string::npos) continue;
    EXPECT_THAT(claim.figures,
                testing::HasSubstr("for those, 160 to 224 of 512 ran, 256 of 512 refused; exact "
                                   "ran; with one for all experts, 160 to 208 of 512 ran, 224 to "
                                   "256 of 512 killed"));
  }
}

TEST(Claims, FollowTheFigures) {
  Figures figures;
  figures.fallback_by_capacity = {{64, 0.5}, {192, 0.0}};
  EXPECT_EQ(verdict(figures, "0 % fallback"), "reproduced");
  figures.fallback_by_capacity = {{192, 0.3}};
  EXPECT_EQ(verdict(figures, "0 % fallback"), "refuted");

  figures.coherent_by_capacity = {{160, false}, {192, true}, {256, true}};
  EXPECT_EQ(verdict(figures, "Coherent only"), "reproduced");
  figures.coherent_by_capacity = {{160, false}, {192, false}, {256, true}};
  EXPECT_EQ(verdict(figures, "Coherent only"), "refuted");

  figures.seconds_by_capacity = {{208, 1.0}, {224, 1.0}};
  EXPECT_EQ(verdict(figures, "memory cliff"), "not testable here");
  figures.pressure = {
      {.of_512 = 208, .heeds_limit = false, .outcome = "ran", .tokens_per_second = 9},
      {.of_512 = 224, .heeds_limit = false, .outcome = "ran", .tokens_per_second = 5}};
  EXPECT_EQ(verdict(figures, "memory cliff"), "refuted");
  figures.pressure[1].tokens_per_second = 4;
  EXPECT_EQ(verdict(figures, "memory cliff"), "reproduced");
  figures.pressure[1] = {.of_512 = 224, .heeds_limit = false, .outcome = "killed"};
  EXPECT_EQ(verdict(figures, "memory cliff"), "reproduced");
  figures.pressure[0].outcome = "killed";  // nothing ran: no cliff between them
  EXPECT_EQ(verdict(figures, "memory cliff"), "refuted");
  figures.pressure[0].outcome = "ran";
  // A budget that heeds the limit is refused before it can fall.
  figures.pressure[1].heeds_limit = true;
  EXPECT_EQ(verdict(figures, "memory cliff"), "refuted");

  figures.discovery_slope = Slope{.per_step = 2, .half_width = 1};
  EXPECT_EQ(verdict(figures, "five cycles"), "reproduced");
  figures.discovery_slope = Slope{.per_step = 2, .half_width = 3};
  EXPECT_EQ(verdict(figures, "five cycles"), "refuted");

  figures.held_out_divergence_by_depth = {{10, 1.0}, {50, 0.95}};
  EXPECT_EQ(verdict(figures, "Ten discovery"), "reproduced");
  figures.held_out_divergence_by_depth = {{10, 1.0}, {50, 0.5}};
  EXPECT_EQ(verdict(figures, "Ten discovery"), "refuted");

  figures.swaps_done = 4;
  figures.divergence_during_swaps = 1;
  figures.divergence_after_swaps = 0.2;
  figures.divergence_after_recompute = 0.19;
  EXPECT_EQ(verdict(figures, "whatever the KV"), "reproduced");
  figures.divergence_after_recompute = 0.1;
  EXPECT_EQ(verdict(figures, "whatever the KV"), "refuted");

  figures.drop_ratios = {1.3, 1.25};
  EXPECT_EQ(verdict(figures, "Dropping caches"), "reproduced");
  figures.drop_ratios = {1.3, 1.0};
  EXPECT_EQ(verdict(figures, "Dropping caches"), "refuted");
}

}  // namespace
}  // namespace flashmoe
