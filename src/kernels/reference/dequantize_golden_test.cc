#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "base/testing/repository.h"
#include "format/safetensors_file.h"
#include "kernels/reference/dequantize.h"
#include "kernels/reference/reference_ops.h"
#include "kernels/testing/op_inputs.h"

// The dequantised values and products that MLX computed, for every affine bit width and group size
// and scales in F32, BF16 and F16 (tests/golden/data/README.md).

namespace flashmoe {
namespace {

using testing::allocate_activations;
using testing::Matrix;
using testing::relative_rms;

constexpr std::size_t kRows = 16, kCols = 384, kXRows = 5;

// What MLX computed with one bit width and group size.
class GoldenFile {
 public:
  explicit GoldenFile(const std::filesystem::path& path)
      : file_(SafetensorsFile::open(path).value()) {}

  std::uint32_t number(const std::string& key) const {
    return static_cast<std::uint32_t>(std::stoul(file_.header().metadata.at(key)));
  }
  std::vector<std::byte> bytes(const std::string& name) const { return file_.read(name).value(); }
  Matrix floats(const std::string& name, std::size_t rows, std::size_t cols) const {
    const std::vector<float> values = file_.read_floats(name).value();
    EXPECT_EQ(values.size(), rows * cols) << name;
    Matrix matrix(rows, cols);
    std::copy_n(values.begin(), std::min(values.size(), rows * cols), matrix.data());
    return matrix;
  }
  const WeightType* type(const std::string& scales) const {
    return find_affine_weights(number("bits"), number("group_size"), file_.find(scales)->dtype);
  }

 private:
  SafetensorsFile file_;
};

void check_file(const std::filesystem::path& path) {
  SCOPED_TRACE(path.filename().string());
  const GoldenFile golden(path);
  const Matrix x = golden.floats("x", kXRows, kCols);
  const auto ops = make_reference_ops();
  Activations prepared = allocate_activations(kXRows, kCols);
  ops->prepare(x.view(), prepared);
  for (const std::string prefix : {"", "bf16.", "f16."}) {
    SCOPED_TRACE(prefix + "weight");
    const std::vector<std::byte> elements = golden.bytes(prefix + "weight");
    const std::vector<std::byte> scales = golden.bytes(prefix + "scales");
    const std::vector<std::byte> biases = golden.bytes(prefix + "biases");
    const WeightView weight = {.type = golden.type(prefix + "scales"),
                               .rows = kRows,
                               .cols = kCols,
                               .planes = {elements.data(), scales.data(), biases.data()}};
    ASSERT_NE(weight.type, nullptr);
    ASSERT_EQ(elements.size(), kRows * weight.type->plane_row_size(0, kCols));
    ASSERT_EQ(scales.size(), kRows * weight.type->plane_row_size(1, kCols));
    ASSERT_EQ(biases.size(), scales.size());
    Matrix dequantized(kRows, kCols);
    for (std::size_t r = 0; r < kRows; ++r) {
      reference::dequantize_row(weight, r, dequantized.view().row_span(r));
    }
    EXPECT_EQ(dequantized, golden.floats(prefix + "dequantized", kRows, kCols));

    Matrix y(kXRows, kRows);
    const LinearTask task = {.weight = weight, .x = &prepared, .y = y.view()};
    ops->linear({&task, 1});
    const Matrix expected = golden.floats(prefix + "matmul", kXRows, kRows);
    for (std::size_t o = 0; o < kRows; ++o) {  // by row of W: their sizes range over 24 decades
      std::vector<float> y_of_row, expected_of_row;
      for (std::size_t i = 0; i < kXRows; ++i) {
        y_of_row.push_back(y.row(i)[o]);
        expected_of_row.push_back(expected.row(i)[o]);
      }
      EXPECT_LT(relative_rms(y_of_row, expected_of_row), 1e-7) << "row " << o;  // both rounded once
    }
  }
}

std::vector<std::filesystem::path> affine_files(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  if (!std::filesystem::is_directory(folder)) return files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().filename().string().starts_with("affine_")) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

TEST(DequantizeGolden, GivesTheValuesOfMlxAtEveryBitWidth) {
  const auto files = affine_files(source_folder() / "tests/golden/data/mlx_quantization");
  std::set<std::uint32_t> widths;
  for (const auto& path : files) {
    widths.insert(GoldenFile(path).number("bits"));
    check_file(path);
  }
  EXPECT_EQ(widths, (std::set<std::uint32_t>{1, 2, 3, 4, 5, 6, 8}));
}

TEST(DequantizeGolden, GivesTheValuesOfMlxAtEveryBitWidthAndGroupSize) {
  const char* shared = std::getenv("FLASHMOE_SHARED");
  const std::filesystem::path folder = shared != nullptr ? shared : source_folder() / "../shared";
  const auto files = affine_files(folder / "golden/mlx_quantization");
  if (files.empty()) {
    GTEST_SKIP() << folder << " has no golden/mlx_quantization; FLASHMOE_SHARED names the folder";
  }
  EXPECT_EQ(files.size(), 21u);  // 7 widths x 3 group sizes
  for (const auto& path : files) check_file(path);
}

}  // namespace
}  // namespace flashmoe
