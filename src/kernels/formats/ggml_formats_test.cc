// What ggml itself makes of blocks of each type (tests/golden/data/README.md), bit for bit.
#include "kernels/formats/ggml_formats.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "format/safetensors_file.h"
#include "format/testing/golden_data.h"

namespace flashmoe::formats {
namespace {

class GgmlFormats : public testing::TestWithParam<const char*> {};

TEST_P(GgmlFormats, AreWhatGgmlMakesOfThemToTheBit) {
  const auto path = find_golden(std::string("gguf_quantization/") + GetParam() + ".safetensors");
  ASSERT_TRUE(path.has_value());
  const SafetensorsFile golden = SafetensorsFile::open(*path).value();
  const auto id = static_cast<std::uint32_t>(std::stoul(golden.header().metadata.at("ggml_type")));
  const GgmlType* const type = find_ggml_type(id);
  ASSERT_NE(type, nullptr);
  EXPECT_EQ(std::to_string(type->block), golden.header().metadata.at("block"));
  EXPECT_EQ(std::to_string(type->block_size), golden.header().metadata.at("bytes"));
  const std::vector<std::byte> blocks = golden.read("blocks").value();
  const std::vector<float> expected = golden.read_floats("dequantized").value();
  std::vector<float> got(expected.size());
  ASSERT_TRUE(dequantize_ggml(*type, blocks, got));
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(std::memcmp(&got[i], &expected[i], sizeof(float)), 0)
        << "element " << i << ": " << got[i] << ", not " << expected[i];
  }
}

INSTANTIATE_TEST_SUITE_P(All, GgmlFormats,
                         testing::Values("f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0",
                                         "q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl", "iq4_xs",
                                         "mxfp4"),
                         [](const auto& info) { return std::string(info.param); });

TEST(GgmlBlocks, OfOtherTypesAreNotKnown) {
  EXPECT_FALSE(dequantize_ggml(*find_ggml_type(19), {}, {}));  // IQ1_S
}

// Every code of each 4-bit half once, so that which element it belongs to shows.
TEST(GgmlBlocks, PutLowHalvesBeforeHighOnes) {
  std::vector<std::byte> block = {std::byte{0}, std::byte{0x3c}};  // 1 as f16
  for (int i = 0; i < 16; ++i) block.push_back(static_cast<std::byte>(i | (15 - i) << 4));
  std::vector<float> w(32);
  ASSERT_TRUE(dequantize_ggml(*find_ggml_type(2), block, w));
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(w[static_cast<std::size_t>(i)], static_cast<float>(i - 8));
    EXPECT_EQ(w[static_cast<std::size_t>(i + 16)], static_cast<float>(7 - i));
  }
}

}  // namespace
}  // namespace flashmoe::formats
