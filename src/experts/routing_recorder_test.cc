#include "experts/routing_recorder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/testing/temporary_folder.h"
#include "experts/routing_trace_file.h"

namespace flashmoe {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

class RoutingRecorderTest : public ::testing::Test {
 protected:
  void create() {
    recorder_ =
        RoutingRecorder::create({.path = path(), .num_experts = {600, 600}, .experts_per_token = 2})
            .value();
  }
  fs::path path() const { return folder_.path() / "t.safetensors"; }
  // A pass whose choices tell layer and token.
  void step(std::size_t rows, const std::vector<std::size_t>& starts = {}, std::size_t layers = 2) {
    recorder_->begin_step(rows, starts);
    for (std::size_t l = 0; l < layers; ++l) {
      std::vector<std::uint16_t> ids;
      std::vector<float> weights;
      for (std::size_t t = token_; t < token_ + rows; ++t) {
        ids.push_back(static_cast<std::uint16_t>(t % 600));
        ids.push_back(static_cast<std::uint16_t>((t + l + 1) % 600));
        weights.push_back(static_cast<float>(t));
        weights.push_back(static_cast<float>(l));
      }
      recorder_->record(l, ids, weights);
    }
    if (layers == 2) token_ += rows;
  }
  RoutingTrace read() const {
    return std::move(read_routing_traces(path().string(), /*all=*/false).value().front().trace);
  }
  std::size_t file_count() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()));
  }

  TemporaryFolder folder_;
  std::unique_ptr<RoutingRecorder> recorder_;
  std::size_t token_ = 0;
};

TEST_F(RoutingRecorderTest, SortsPassesOfAnySizeByLayer) {
  std::mt19937_64 random(7);
  create();
  while (token_ < 1500) step(1 + random() % (token_ < 700 ? 5 : 300));
  EXPECT_EQ(file_count(), 0u);  // nothing to see before the end
  ASSERT_TRUE(recorder_->finish().ok());
  EXPECT_EQ(file_count(), 1u);
  const RoutingTrace trace = read();
  ASSERT_EQ(trace.token_count(), token_);
  EXPECT_THAT(trace.num_experts(), ElementsAre(600, 600));
  for (std::size_t l = 0; l < 2; ++l) {
    for (std::size_t t = 0; t < token_; ++t) {
      ASSERT_EQ(trace.routed(l, t)[0].value, t % 600);
      ASSERT_EQ(trace.routed(l, t)[1].value, (t + l + 1) % 600);
      ASSERT_EQ(trace.weights(l, t)[0], static_cast<float>(t));
    }
  }
}

TEST_F(RoutingRecorderTest, MarksWhereSequencesBegin) {
  create();
  step(3, {0});
  step(1);
  step(2, {0, 1});
  ASSERT_TRUE(recorder_->finish().ok());
  EXPECT_THAT(read().starts(), ElementsAre(0, 4, 5));
}

TEST_F(RoutingRecorderTest, ForgetsAPassThatEndedEarly) {
  create();
  step(4, {0}, /*layers=*/1);
  step(2);
  step(5, {}, /*layers=*/1);
  ASSERT_TRUE(recorder_->finish().ok());
  EXPECT_EQ(read().token_count(), 2u);
  EXPECT_THAT(read().starts(), ElementsAre(0));
}

TEST_F(RoutingRecorderTest, LeavesNothingWithoutAPassOrAnEnd) {
  create();
  ASSERT_TRUE(recorder_->finish().ok());
  create();
  step(2, {0});
  recorder_ = nullptr;
  EXPECT_EQ(file_count(), 0u);
}

TEST_F(RoutingRecorderTest, RefusesPlacesItCannotWriteToBeforeTheRun) {
  const RoutingRecorderOptions in_no_folder{
      .path = folder_.path() / "absent" / "t", .num_experts = {4}, .experts_per_token = 2};
  EXPECT_EQ(RoutingRecorder::create(in_no_folder).status().code(), StatusCode::kIo);
  const RoutingRecorderOptions is_folder{
      .path = folder_.path(), .num_experts = {4}, .experts_per_token = 2};
  EXPECT_EQ(RoutingRecorder::create(is_folder).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace flashmoe
