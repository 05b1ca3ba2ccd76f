#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "base/testing/repository.h"
#include "format/safetensors_file.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/cpu_targets.h"
#include "kernels/reference/dequantize.h"
#include "kernels/reference/reference_ops.h"
#include "kernels/testing/op_inputs.h"

// The dequantised values and products that MLX computed, for every affine bit width and group size
// and scales in F32, BF16 and F16, and for its modes of floats (tests/golden/data/README.md).

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
  bool has(const std::string& name) const { return file_.find(name) != nullptr; }
  std::vector<std::byte> bytes(const std::string& name) const { return file_.read(name).value(); }
  Matrix floats(const std::string& name, std::size_t rows, std::size_t cols) const {
    const std::vector<float> values = file_.read_floats(name).value();
    EXPECT_EQ(values.size(), rows * cols) << name;
    Matrix matrix(rows, cols);
    std::copy_n(values.begin(), std::min(values.size(), rows * cols), matrix.data());
    return matrix;
  }
  const WeightType* type(const std::string& scales) const {
    const PackedMode* const mode = find_packed_mode(file_.header().metadata.at("mode"));
    if (mode != nullptr) return &packed_weights(*mode, has("global_scale"));
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
    if (!golden.has(prefix + "weight")) continue;  // modes of floats have one form alone
    WeightView weight = {
        .type = golden.type(prefix + "scales"), .rows = kRows, .cols = kCols, .planes = {}};
    ASSERT_NE(weight.type, nullptr);
    std::vector<std::vector<std::byte>> planes;
    for (std::size_t i = 0; i < weight.type->plane_count; ++i) {
      const std::string name(weight.type->planes()[i].suffix.substr(1));
      planes.push_back(golden.bytes(prefix + name));
      ASSERT_EQ(planes.back().size(), weight.type->plane_size(i, kRows, kCols)) << name;
    }
    for (std::size_t i = 0; i < planes.size(); ++i) weight.planes[i] = planes[i].data();
    Matrix dequantized(kRows, kCols);
    for (std::size_t r = 0; r < kRows; ++r) {
      reference::dequantize_row(weight, r, dequantized.view().row_span(r));
    }
    EXPECT_EQ(dequantized, golden.floats(prefix + "dequantized", kRows, kCols));
    ThreadPool pool(1);
    for (const std::string_view target : supported_cpu_targets()) {
      std::vector<std::int32_t> rows(kRows);
      std::iota(rows.begin(), rows.end(), 0);
      Matrix embedded(kRows, kCols);
      make_cpu_ops(pool, target).value()->embed(weight, rows, embedded.view());
      EXPECT_EQ(embedded, dequantized) << target;
    }

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

std::vector<std::filesystem::path> golden_files(const std::filesystem::path& folder,
                                                bool is_affine) {
  std::vector<std::filesystem::path> files;
  if (!std::filesystem::is_directory(folder)) return files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().filename().string().starts_with("affine_") == is_affine) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

TEST(DequantizeGolden, GivesTheValuesOfMlxAtEveryBitWidth) {
  const auto files = golden_files(source_folder() / "tests/golden/data/mlx_quantization", true);
  std::set<std::uint32_t> widths;
  for (const auto& path : files) {
    widths.insert(GoldenFile(path).number("bits"));
    check_file(path);
  }
  EXPECT_EQ(widths, (std::set<std::uint32_t>{1, 2, 3, 4, 5, 6, 8}));
}

TEST(DequantizeGolden, GivesTheValuesOfMlxInEveryModeOfFloats) {
  const auto files = golden_files(source_folder() / "tests/golden/data/mlx_quantization", false);
  EXPECT_EQ(files.size(), 4u);  // mxfp4, mxfp8, and nvfp4 with and without a scale of the whole
  for (const auto& path : files) check_file(path);
}

TEST(DequantizeGolden, GivesTheValuesOfMlxAtEveryBitWidthAndGroupSize) {
  const char* shared = std::getenv("FLASHMOE_SHARED");
  const std::filesystem::path folder = shared != nullptr ? shared : source_folder() / "../shared";
  const auto files = golden_files(folder / "golden/mlx_quantization", true);
  if (files.empty()) {
    GTEST_SKIP() << folder << " has no golden/mlx_quantization; FLASHMOE_SHARED names the folder";
  }
  EXPECT_EQ(files.size(), 21u);  // 7 widths x 3 group sizes
  for (const auto& path : files) check_file(path);
}

}  // namespace
}  // namespace flashmoe
