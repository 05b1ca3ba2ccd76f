#include "engine/row_tables.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <fstream>
#include <random>

#include "base/testing/temporary_folder.h"

namespace flashmoe {
namespace {

/// Two files with 700 rows of 5 numbers, row i of i, i + 0.25 ...; the second file's part begins at
/// an odd offset.
class RowTablesTest : public ::testing::Test {
 protected:
  static constexpr std::size_t kRows = 700, kFirst = 300, kCols = 5;

  void SetUp() override {
    std::vector<float> numbers;
    for (std::size_t i = 0; i < kRows * kCols; ++i) numbers.push_back(value(i / kCols, i % kCols));
    const auto* const bytes = reinterpret_cast<const char*>(numbers.data());
    const std::size_t first_size = kFirst * kCols * sizeof(float);
    std::ofstream(files_[0], std::ios::binary).write(bytes, first_size);
    std::ofstream second(files_[1], std::ios::binary);
    second.write("abc", 3).write(bytes + first_size, numbers.size() * sizeof(float) - first_size);
  }

  static float value(std::size_t row, std::size_t col) {
    return static_cast<float>(row) + 0.25f * static_cast<float>(col);
  }

  RowTable table() const {
    return {.dtype = DType::kF32,
            .cols = kCols,
            .rows = kRows,
            .parts = {{.file_index = 0, .offset = 0, .row_begin = 0},
                      {.file_index = 1, .offset = 3, .row_begin = kFirst}}};
  }

  std::unique_ptr<RowTables> open(IoBackend backend) const {
    return RowTables::open({table()}, files_, make_read_queue({.backend = backend}).value())
        .value();
  }

  TemporaryFolder folder_;
  std::vector<std::filesystem::path> files_ = {folder_ / "one", folder_ / "two"};
};

TEST_F(RowTablesTest, RowsComeInTheOrderAskedForHoweverOften) {
  std::mt19937 random(7);
  for (const IoBackend backend : {IoBackend::kAuto, IoBackend::kPread}) {
    const std::unique_ptr<RowTables> tables = open(backend);
    for (const std::size_t count : {0u, 1u, 16u, 1000u}) {
      std::vector<std::uint64_t> ids = {0, kRows - 1, kFirst - 1, kFirst, 0};
      ids.resize(std::min(ids.size(), count));
      while (ids.size() < count) ids.push_back(random() % kRows);
      std::vector<float> out(count * kCols);
      ASSERT_TRUE(tables->read_rows(0, ids, {out.data(), count, kCols}).ok());
      for (std::size_t i = 0; i < out.size(); ++i) {
        ASSERT_EQ(out[i], value(ids[i / kCols], i % kCols)) << i;
      }
    }
  }
}

TEST_F(RowTablesTest, ARowIsReadOnceForAllThatAskForItInACall) {
  const std::unique_ptr<RowTables> tables = open(IoBackend::kPread);
  const std::vector<std::uint64_t> once = {5}, often(200, 5);
  std::vector<float> out(often.size() * kCols);
  ASSERT_TRUE(tables->read_rows(0, once, {out.data(), 1, kCols}).ok());
  const std::uint64_t one_read = tables->bytes_read();
  ASSERT_TRUE(tables->read_rows(0, often, {out.data(), often.size(), kCols}).ok());
  EXPECT_EQ(tables->bytes_read(), 2 * one_read);
  EXPECT_EQ(out.back(), value(5, kCols - 1));
}

TEST_F(RowTablesTest, AFileThatBecameShorterIsAnErrorAndTheNextCallWorks) {
  const std::unique_ptr<RowTables> tables = open(IoBackend::kPread);
  std::filesystem::resize_file(files_[1], 100);
  std::vector<std::uint64_t> ids;
  for (std::uint64_t id = 0; id < kRows; ++id) ids.push_back(id);
  std::vector<float> out(kRows * kCols);
  const Status status = tables->read_rows(0, ids, {out.data(), kRows, kCols});
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.message().find("n-gram table"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find(files_[1].string()), std::string::npos) << status.message();
  ids.resize(kFirst);
  ASSERT_TRUE(tables->read_rows(0, ids, {out.data(), kFirst, kCols}).ok());
  EXPECT_EQ(out[kFirst * kCols - 1], value(kFirst - 1, kCols - 1));
}

TEST_F(RowTablesTest, ItsMemoryIsBounded) {
  RowTable wide = table();
  EXPECT_LE(RowTables::buffer_bytes(std::span(&wide, 1)), std::uint64_t{4} << 20);
  wide.cols = 1u << 20;
  EXPECT_LE(RowTables::buffer_bytes(std::span(&wide, 1)), std::uint64_t{9} << 20);
  EXPECT_EQ(RowTables::buffer_bytes({}), 0u);
}

}  // namespace
}  // namespace flashmoe
