#include "experts/routing_trace_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/temporary_folder.h"
#include "experts/testing/random_trace.h"

namespace flashmoe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::size_t kNumExperts[] = {9, 16, 16};

void expect_equal(const RoutingTrace& a, const RoutingTrace& b) {
  ASSERT_EQ(a.layer_count(), b.layer_count());
  ASSERT_EQ(a.token_count(), b.token_count());
  ASSERT_EQ(a.has_weights(), b.has_weights());
  EXPECT_TRUE(std::ranges::equal(a.num_experts(), b.num_experts()));
  EXPECT_TRUE(std::ranges::equal(a.starts(), b.starts()));
  EXPECT_TRUE(std::ranges::equal(a.switches(), b.switches()));
  for (std::size_t l = 0; l < a.layer_count(); ++l) {
    for (std::size_t t = 0; t < a.token_count(); ++t) {
      ASSERT_TRUE(std::ranges::equal(a.routed(l, t), b.routed(l, t)));
      if (!a.has_weights()) continue;
      ASSERT_TRUE(std::ranges::equal(a.weights(l, t), b.weights(l, t)));
    }
  }
}

class RoutingTraceFileTest : public ::testing::Test {
 protected:
  std::filesystem::path path(const char* name = "t.safetensors") const {
    return folder_.path() / name;
  }

  // A file as others write them: tensors of ids and nothing else.
  template <typename T>
  void write_plain(DType dtype, const std::vector<std::string>& names, std::size_t tokens,
                   std::span<const T> ids) {
    std::vector<SafetensorsWriter::Tensor> tensors;
    for (const std::string& name : names) tensors.push_back({name, dtype, {1, tokens, 2}});
    SafetensorsWriter writer = SafetensorsWriter::create(path(), tensors).value();
    for (const std::string& name : names) ASSERT_TRUE(writer.write(name, 0, ids).ok());
    ASSERT_TRUE(writer.finish().ok());
  }

  TemporaryFolder folder_;
};

TEST_F(RoutingTraceFileTest, ReadsWhatItWrote) {
  const RoutingTrace trace = random_trace(kNumExperts, 20, 3, 8, 1).with_switches({4, 12}).value();
  ASSERT_TRUE(write_routing_trace(path(), trace).ok());
  const auto read = read_routing_traces(path().string(), /*all=*/false);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->front().name, "routing");
  EXPECT_TRUE(read->front().trace.declares_num_experts());
  expect_equal(read->front().trace, trace);
}

TEST_F(RoutingTraceFileTest, DeclaresNoExpertsThatNobodyCounted) {
  RoutingTraceData data{
      .layer_count = 1, .token_count = 1, .experts_per_token = 2, .ids = {{5}, {2}}, .starts = {0}};
  ASSERT_TRUE(write_routing_trace(path(), RoutingTrace::create(data).value()).ok());
  const auto read = read_routing_traces(path().string(), /*all=*/false);
  EXPECT_FALSE(read->front().trace.declares_num_experts());
}

TEST_F(RoutingTraceFileTest, ReadsPlainTensorsOfEveryWidthInWindows) {
  constexpr std::size_t kTokens = RoutingTraceFile::kDefaultWindow + 1;
  std::vector<std::uint8_t> narrow(2 * kTokens);
  for (std::size_t i = 0; i < narrow.size(); ++i) narrow[i] = static_cast<std::uint8_t>(i % 200);
  const std::vector<std::uint16_t> wide(narrow.begin(), narrow.end());
  const std::vector<std::int16_t> with_sign(narrow.begin(), narrow.end());
  const auto check = [&] {
    const auto traces = read_routing_traces(path().string() + ":b,a", /*all=*/false);
    ASSERT_TRUE(traces.ok()) << traces.status().message();
    ASSERT_EQ(traces->size(), 2u);
    EXPECT_EQ((*traces)[0].name, "b");
    const RoutingTrace& trace = (*traces)[1].trace;
    EXPECT_EQ(trace.routed(0, 7)[1], ExpertId{15});
    EXPECT_THAT(trace.num_experts(), ElementsAre(200));
    EXPECT_FALSE(trace.declares_num_experts());
    EXPECT_THAT(trace.starts(), ElementsAre(0, RoutingTraceFile::kDefaultWindow));
  };
  write_plain<std::uint8_t>(DType::kU8, {"a", "b"}, kTokens, narrow);
  check();
  write_plain<std::uint16_t>(DType::kU16, {"a", "b"}, kTokens, wide);
  check();
  write_plain<std::int16_t>(DType::kI16, {"a", "b"}, kTokens, with_sign);
  check();
}

TEST_F(RoutingTraceFileTest, AsksWhichOfSeveralTraces) {
  const std::uint8_t ids[] = {0, 1};
  write_plain<std::uint8_t>(DType::kU8, {"rust", "math"}, 1, ids);
  const Status unnamed = read_routing_traces(path().string(), /*all=*/false).status();
  EXPECT_EQ(unnamed.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(unnamed.message(), HasSubstr("There are math, rust"));
  EXPECT_EQ(read_routing_traces(path().string(), /*all=*/true)->size(), 2u);
  const Status unknown = read_routing_traces(path().string() + ":c", /*all=*/false).status();
  EXPECT_EQ(unknown.code(), StatusCode::kNotFound);
  EXPECT_THAT(unknown.message(), HasSubstr("there are math, rust"));
}

TEST_F(RoutingTraceFileTest, RefusesNegativeIds) {
  const std::int16_t ids[] = {0, -1};
  write_plain<std::int16_t>(DType::kI16, {"a"}, 1, ids);
  const Status status = RoutingTraceFile::open(path()).value().read("a").status();
  EXPECT_EQ(status.code(), StatusCode::kCorrupt);
  EXPECT_THAT(status.message(), HasSubstr("routing trace a: id 1 is negative"));
}

TEST_F(RoutingTraceFileTest, RefusesWhatIsNoTrace) {
  const SafetensorsWriter::Tensor tensor{"w", DType::kF32, {1, 1, 1}};
  SafetensorsWriter writer = SafetensorsWriter::create(path(), {tensor}).value();
  const float one[] = {1};
  ASSERT_TRUE(writer.write("w", 0, std::span<const float>(one)).ok());
  ASSERT_TRUE(writer.finish().ok());
  const Status status = RoutingTraceFile::open(path()).status();
  EXPECT_EQ(status.code(), StatusCode::kCorrupt);
  EXPECT_THAT(status.message(), HasSubstr("no routing trace"));
  EXPECT_EQ(RoutingTraceFile::open(path("absent")).status().code(), StatusCode::kNotFound);
}

TEST_F(RoutingTraceFileTest, RefusesALaterVersion) {
  const SafetensorsWriter::Tensor tensor{"routing", DType::kU16, {1, 1, 1}};
  SafetensorsWriter writer =
      SafetensorsWriter::create(path(), {tensor}, {{"flash-moe.routing_trace", "2"}}).value();
  const std::uint16_t id[] = {0};
  ASSERT_TRUE(writer.write("routing", 0, std::span<const std::uint16_t>(id)).ok());
  ASSERT_TRUE(writer.finish().ok());
  EXPECT_EQ(RoutingTraceFile::open(path()).status().code(), StatusCode::kUnsupported);
}

TEST_F(RoutingTraceFileTest, RefusesCompanionsThatDoNotFit) {
  const std::uint8_t ids[] = {0, 1};
  const auto read_with = [&](const char* companion, std::int64_t value) {
    SafetensorsWriter writer =
        SafetensorsWriter::create(path(), {{"a", DType::kU8, {1, 1, 2}},
                                           {std::string("a.") + companion, DType::kI64, {1}}})
            .value();
    EXPECT_TRUE(writer.write("a", 0, std::span<const std::uint8_t>(ids)).ok());
    EXPECT_TRUE(
        writer.write(std::string("a.") + companion, 0, std::span<const std::int64_t>(&value, 1))
            .ok());
    EXPECT_TRUE(writer.finish().ok());
    return RoutingTraceFile::open(path()).value().read("a").status().code();
  };
  EXPECT_EQ(read_with("starts", 0), StatusCode::kOk);
  EXPECT_EQ(read_with("starts", -1), StatusCode::kCorrupt);
  EXPECT_EQ(read_with("switches", 1), StatusCode::kCorrupt);
  EXPECT_EQ(read_with("num_experts", 1), StatusCode::kCorrupt);
  EXPECT_EQ(read_with("weights", 0), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace flashmoe
