#include "engine/step_pacer.h"

#include <gtest/gtest.h>

namespace flashmoe {
namespace {

TEST(StepPacer, GivesAPromptAllThereIsWhileNobodyDecodes) {
  const StepPacer pacer(4096);
  EXPECT_EQ(pacer.prompt_rows(0), 4096u);
}

TEST(StepPacer, FindsTheRowsThatAStepHasTimeFor) {
  StepPacer pacer(4096);
  constexpr double kSecondsPerRow = 1e-3;
  for (int i = 0; i < 20; ++i) {
    const std::size_t rows = pacer.prompt_rows(3);
    pacer.on_mixed_step(rows, kSecondsPerRow * static_cast<double>(rows));
  }
  EXPECT_GE(pacer.prompt_rows(3), 250u);
  EXPECT_LE(pacer.prompt_rows(3), 512u);
}

TEST(StepPacer, KeepsALeastChunkHoweverSlowTheMachine) {
  StepPacer pacer(4096);
  for (int i = 0; i < 20; ++i) pacer.on_mixed_step(pacer.prompt_rows(1), 60);
  EXPECT_EQ(pacer.prompt_rows(1), StepPacer::kRowsMin);
}

TEST(StepPacer, LearnsNothingFromAChunkThatThePromptCutShort) {
  StepPacer pacer(4096);
  const std::size_t before = pacer.prompt_rows(1);
  pacer.on_mixed_step(2, 0.01);
  EXPECT_EQ(pacer.prompt_rows(1), before);
}

TEST(StepPacer, LeavesRoomForThoseThatDecode) {
  const StepPacer pacer(40);
  EXPECT_EQ(pacer.prompt_rows(30), 10u);
  EXPECT_EQ(pacer.prompt_rows(40), 0u);
}

}  // namespace
}  // namespace flashmoe
