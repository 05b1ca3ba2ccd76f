#include "format/gguf.h"

#include <gtest/gtest.h>

#include <cmath>
#include <span>
#include <string>

#include "base/testing/temporary_folder.h"
#include "format/testing/expect_failure.h"
#include "format/testing/gguf_bytes.h"

namespace flashmoe {
namespace {

using testing::ElementsAre;

constexpr std::uint32_t kFloat = 0;
constexpr std::uint32_t kQ40 = 2;
constexpr std::uint64_t kHuge = std::uint64_t{1} << 60;

/// A header of a whole file.
Result<GgufHeader> parse_gguf(const std::string& bytes) {
  FM_ASSIGN_OR_RETURN(std::optional<GgufHeader> header,
                      parse_gguf_header(std::as_bytes(std::span(bytes)), bytes.size(), "m.gguf"));
  EXPECT_TRUE(header.has_value());
  return std::move(*header);
}

void expect_refused(const std::string& bytes, std::initializer_list<std::string_view> words,
                    StatusCode code = StatusCode::kCorrupt) {
  expect_failure(parse_gguf(bytes).status(), code, {"m.gguf"});
  expect_failure(parse_gguf(bytes).status(), code, words);
}

GgufBytes two_tensors() {
  GgufBytes gguf;
  gguf.text("general.architecture", "tiny").u32("tiny.block_count", 2).f32("tiny.eps", 0.5f);
  gguf.boolean("flag", true).texts("names", {"a", "", "cc"}).i32s("types", {1, 3, -2});
  gguf.tensor("b", {64, 3}, kQ40, std::string(2 * 18 * 3, 'q'));
  gguf.tensor("a", {5}, kFloat, std::string(20, 'f'));
  return gguf;
}

TEST(GgufHeader, HasTypedMetadataAndTensorsByOffset) {
  for (const std::uint32_t version : {2, 3}) {
    const std::string bytes = two_tensors().bytes(version);
    const auto header = parse_gguf(bytes);
    ASSERT_TRUE(header.ok()) << header.status().message();
    const GgufMetadata& metadata = header->metadata;
    EXPECT_EQ(metadata.string("general.architecture").value(), "tiny");
    EXPECT_EQ(metadata.uint("tiny.block_count").value(), 2u);
    EXPECT_EQ(metadata.number("tiny.eps").value(), 0.5);
    EXPECT_EQ(metadata.number("tiny.block_count").value(), 2.0);
    EXPECT_EQ(metadata.boolean("flag").value(), true);
    EXPECT_THAT(metadata.strings("names").value(), ElementsAre("a", "", "cc"));
    EXPECT_THAT(metadata.numbers("types").value(), ElementsAre(1, 3, -2));
    EXPECT_THAT(metadata.uints("tiny.block_count").value(), ElementsAre(2u));
    EXPECT_EQ(metadata.uint("absent").value(), std::nullopt);
    EXPECT_TRUE(metadata.strings("absent").value().empty());

    ASSERT_EQ(header->tensors.size(), 2u);
    const GgufTensor& b = header->tensors[0];
    EXPECT_EQ(b.name, "b");
    EXPECT_EQ(b.type->name, "Q4_0");
    EXPECT_THAT(b.shape, ElementsAre(3u, 64u));
    EXPECT_EQ(b.size, 108u);
    EXPECT_EQ(bytes.substr(b.offset, b.size), std::string(108, 'q'));
    EXPECT_EQ(header->tensors[1].offset, b.offset + 128);
  }
}

TEST(GgufHeader, TakesTheFilesOwnAlignment) {
  GgufBytes gguf;
  gguf.u32("general.alignment", 4096).tensor("a", {1}, kFloat, "abcd");
  const auto header = parse_gguf(gguf.bytes(3, 4096));
  ASSERT_TRUE(header.ok()) << header.status().message();
  EXPECT_EQ(header->tensors[0].offset, 4096u);
  for (const std::uint32_t wrong : {0, 48}) {
    expect_refused(GgufBytes().u32("general.alignment", wrong).bytes(),
                   {"general.alignment", "power of two"});
  }
}

TEST(GgufHeader, SaysWhereAValueHasAnotherType) {
  const std::string bytes = two_tensors().f32("nan", std::nanf("")).i32s("negative", {-1}).bytes();
  const GgufMetadata metadata = parse_gguf(bytes).value().metadata;
  expect_failure(metadata.uint("names").status(), StatusCode::kCorrupt,
                 {"m.gguf", "names", "array of string", "whole number"});
  expect_failure(metadata.uint("tiny.eps").status(), StatusCode::kCorrupt, {"tiny.eps"});
  expect_failure(metadata.number("nan").status(), StatusCode::kCorrupt, {"nan", "finite"});
  expect_failure(metadata.uints("negative").status(), StatusCode::kCorrupt, {"negative"});
  expect_failure(metadata.string("types").status(), StatusCode::kCorrupt, {"types", "a string"});
  expect_failure(metadata.strings("flag").status(), StatusCode::kCorrupt, {"flag", "strings"});
  expect_failure(metadata.boolean("tiny.eps").status(), StatusCode::kCorrupt, {"a boolean"});
}

TEST(GgufHeader, RefusesWhatIsNoFileOfVersion2Or3) {
  expect_refused("", {"beyond the end"});
  expect_refused("GGU", {"beyond the end"});
  expect_refused("PK\x03\x04 and so on and on", {"does not begin with GGUF"});
  expect_refused(GgufBytes().bytes(1), {"version 1", "newer conversion"}, StatusCode::kUnsupported);
  expect_refused(GgufBytes().bytes(0x03000000), {"big-endian"}, StatusCode::kUnsupported);
  expect_refused(GgufBytes().bytes(4), {"version 4"}, StatusCode::kUnsupported);
}

TEST(GgufHeader, BelievesNoCount) {
  const auto header = [](std::uint64_t tensors, std::uint64_t values) {
    return "GGUF" + bytes_of(std::uint32_t{3}) + bytes_of(tensors) + bytes_of(values);
  };
  expect_refused(header(kHuge, 0), {"tensor", "beyond the end"});
  expect_refused(header(0, kHuge), {"metadata key", "beyond the end"});
  expect_refused(header(0, 1) + bytes_of(kHuge) + "key", {"metadata key", "more than"});
  const auto array = [](std::uint32_t type, std::uint64_t count) {
    return GgufBytes()
        .raw("k", bytes_of(std::uint32_t{9}) + bytes_of(type) + bytes_of(count))
        .bytes();
  };
  for (const std::uint32_t type : {0, 4, 7, 12}) {
    expect_refused(array(type, kHuge), {"metadata k", "elements"});
  }
  expect_refused(array(8, kHuge), {"metadata k", "beyond the end"});
  expect_refused(array(9, 1), {"array of arrays"}, StatusCode::kUnsupported);
  expect_refused(array(13, 1), {"metadata k has type 13"});
  expect_refused(GgufBytes().raw("k", bytes_of(std::uint32_t{77})).bytes(), {"type 77"});
  expect_refused(GgufBytes().raw("k", bytes_of(std::uint32_t{8}) + bytes_of(kHuge)).bytes(),
                 {"metadata k"});
  expect_refused(GgufBytes().raw("k", bytes_of(std::uint32_t{7}) + "\x02").bytes(), {"no boolean"});
  expect_refused(GgufBytes().u32("k", 1).u32("k", 2).bytes(), {"metadata k appears twice"});
}

TEST(GgufHeader, BelievesNoTensor) {
  const auto with = [](const std::vector<std::uint64_t>& dims, std::uint32_t type,
                       std::uint64_t offset = 0) {
    return GgufBytes().tensor_at("t", dims, type, offset).bytes() + std::string(64, 'x');
  };
  expect_refused(with({}, kFloat), {"tensor t has 0 dimensions"});
  expect_refused(with({1, 1, 1, 1, 1}, kFloat), {"tensor t has 5 dimensions"});
  expect_refused(with({0, 4}, kFloat), {"shape [4, 0]"});
  expect_refused(with({kHuge, 32}, kFloat), {"shape"});
  expect_refused(with({kHuge * 8 - 32}, 28), {"shape"});
  expect_refused(with({48, 1}, kQ40), {"rows of 48", "blocks of 32", "Q4_0"});
  expect_refused(with({4}, 4), {"tensor t has ggml type 4"}, StatusCode::kUnsupported);
  expect_refused(with({4}, 137), {"ggml type 137", "ik_llama.cpp"}, StatusCode::kUnsupported);
  expect_refused(with({4}, kFloat, 8), {"offset 8", "no multiple of 32"});
  expect_refused(with({4}, kFloat, 64), {"cut short"});
  expect_refused(with({17}, kFloat), {"cut short"});
  expect_refused(with({4}, kFloat, kHuge), {"cut short"});
  expect_refused(
      GgufBytes().tensor_at("t", {16}, kFloat, 0).tensor_at("u", {4}, kFloat, 32).bytes() +
          std::string(64, 'x'),
      {"tensors t and u share bytes"});
  expect_refused(
      GgufBytes().tensor_at("t", {4}, kFloat, 0).tensor_at("t", {4}, kFloat, 32).bytes() +
          std::string(64, 'x'),
      {"tensor t appears twice"});
}

TEST(GgufHeader, AsksForMoreBytesOnlyWhereTheFileHasThem) {
  const std::string bytes = two_tensors().bytes();
  const std::uint64_t header_size = parse_gguf(bytes).value().tensors[0].offset;
  for (std::size_t size = 0; size <= bytes.size(); ++size) {
    const auto part = std::as_bytes(std::span(bytes).first(size));
    const auto whole = parse_gguf_header(part, bytes.size(), "m.gguf");
    ASSERT_TRUE(whole.ok()) << whole.status().message();
    if (size >= header_size) EXPECT_TRUE(whole->has_value());
    const auto cut = parse_gguf_header(part, size, "m.gguf");
    EXPECT_EQ(cut.ok(), size == bytes.size()) << size;
  }
}

TEST(GgufHeader, IsReadFromFilesLongerThanTheFirstPiece) {
  TemporaryFolder folder;
  GgufBytes gguf;
  gguf.texts("long", std::vector<std::string>(300'000, "0123456789")).text("last", "here");
  const auto path = folder.write("m.gguf", gguf.bytes());
  const File file = File::open(path, File::Mode::kBuffered).value();
  const Result<GgufFile> read = read_gguf_header(file);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->header.metadata.strings("long").value().size(), 300'000u);
  EXPECT_EQ(read->header.metadata.string("last").value(), "here");
}

}  // namespace
}  // namespace flashmoe
