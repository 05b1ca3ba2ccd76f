#include "format/gguf_writer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "base/testing/temporary_folder.h"
#include "format/gguf.h"
#include "format/testing/expect_failure.h"
#include "io/file.h"

namespace flashmoe {
namespace {

namespace fs = std::filesystem;

std::vector<std::byte> some_bytes(std::size_t size, unsigned first) {
  std::vector<std::byte> bytes(size);
  std::generate(bytes.begin(), bytes.end(), [&] { return std::byte(first++ & 255u); });
  return bytes;
}

TEST(GgufWriter, WritesWhatTheReaderReads) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "m.gguf";
  GgufValues values;
  values.text("general.architecture", "qwen3moe");
  values.u32("a", 7);
  values.f32("b", 0.5f);
  values.boolean("c", true);
  values.texts("d", std::vector<std::string>{"x", "", "long text"});
  values.texts("none", {});
  values.u32s("e", std::vector<std::uint32_t>{1, 2});
  values.i32s("f", std::vector<std::int32_t>{3, 4});
  values.booleans("g", {true, false});
  const GgufWriter::Tensor tensors[] = {
      {"first", find_ggml_type("F32"), {3}},
      {"second", find_ggml_type("Q4_K"), {2, 3, 512}},
      {"third", find_ggml_type("Q8_0"), {1, 32}},
  };
  const auto first = some_bytes(12, 1);
  const auto second = some_bytes(std::size_t{2} * 3 * 2 * 144, 2);
  const auto third = some_bytes(34, 3);
  {
    Result<GgufWriter> writer = GgufWriter::create(path, values, tensors);
    ASSERT_TRUE(writer.ok()) << writer.status().message();
    ASSERT_TRUE(writer->write("third", 0, third).ok());
    ASSERT_TRUE(writer->write("second", 100, std::span(second).subspan(100)).ok());
    ASSERT_TRUE(writer->write("second", 0, std::span(second).first(100)).ok());
    ASSERT_TRUE(writer->write("first", 0, first).ok());
    EXPECT_FALSE(fs::exists(path));
    ASSERT_TRUE(writer->finish().ok());
  }
  const File file = File::open(path, File::Mode::kBuffered).value();
  const Result<GgufFile> read = read_gguf_header(file);
  ASSERT_TRUE(read.ok()) << read.status().message();
  const GgufMetadata& metadata = read->header.metadata;
  EXPECT_EQ(metadata.values().size(), values.count());
  EXPECT_EQ(metadata.uint("a").value(), 7u);
  EXPECT_EQ(metadata.number("b").value(), 0.5);
  EXPECT_EQ(metadata.boolean("c").value(), true);
  EXPECT_EQ(metadata.strings("d").value(), (std::vector<std::string_view>{"x", "", "long text"}));
  EXPECT_TRUE(metadata.strings("none").value().empty());
  EXPECT_EQ(metadata.uints("e").value(), (std::vector<std::uint64_t>{1, 2}));
  EXPECT_EQ(metadata.uints("f").value(), (std::vector<std::uint64_t>{3, 4}));
  EXPECT_EQ(metadata.uints("g").value(), (std::vector<std::uint64_t>{1, 0}));
  ASSERT_EQ(read->header.tensors.size(), 3u);
  const std::span<const std::byte> expected[] = {first, second, third};
  for (std::size_t i = 0; i < 3; ++i) {
    const GgufTensor& tensor = read->header.tensors[i];
    EXPECT_EQ(tensor.name, tensors[i].name);
    EXPECT_EQ(tensor.shape, tensors[i].shape);
    EXPECT_EQ(tensor.type, tensors[i].type);
    EXPECT_EQ(tensor.offset % 32, 0u);
    std::vector<std::byte> bytes(tensor.size);
    ASSERT_TRUE(file.read_at(tensor.offset, bytes).ok());
    EXPECT_TRUE(std::ranges::equal(bytes, expected[i])) << tensor.name;
  }
  EXPECT_EQ(file.size() % 32, 0u);
}

TEST(GgufWriter, LeavesNothingBehindUnlessItIsFinished) {
  const TemporaryFolder folder;
  const GgufWriter::Tensor tensor = {"t", find_ggml_type("F32"), {4}};
  { ASSERT_TRUE(GgufWriter::create(folder.path() / "m.gguf", GgufValues(), {&tensor, 1}).ok()); }
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(GgufWriter, RefusesTensorsThatAreNoSet) {
  const TemporaryFolder folder;
  const auto status_of = [&](std::span<const GgufWriter::Tensor> tensors) {
    return GgufWriter::create(folder.path() / "m.gguf", GgufValues(), tensors).status();
  };
  const GgmlType* const f32 = find_ggml_type("F32");
  const GgufWriter::Tensor twice[] = {{"t", f32, {4}}, {"t", f32, {4}}};
  expect_failure(status_of(twice), StatusCode::kInvalidArgument, {"t", "taken"});
  const GgufWriter::Tensor wide[] = {{"w", f32, {std::uint64_t{1} << 40, std::uint64_t{1} << 40}}};
  expect_failure(status_of(wide), StatusCode::kInvalidArgument, {"w", "overflows"});
  const GgufWriter::Tensor many[] = {{"a", f32, {std::uint64_t{1} << 60}},
                                     {"b", f32, {std::uint64_t{1} << 60}}};
  expect_failure(status_of(many), StatusCode::kInvalidArgument, {"too many"});
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

}  // namespace
}  // namespace flashmoe
