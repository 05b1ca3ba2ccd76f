#include "format/safetensors_writer.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <thread>
#include <vector>

#include "base/testing/temporary_folder.h"
#include "base/testing/without_root.h"
#include "format/safetensors_file.h"
#include "format/testing/expect_failure.h"

namespace flashmoe {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

const std::vector<SafetensorsWriter::Tensor> kOneTensor = {
    {.name = "logits", .dtype = DType::kF32, .shape = {2, 3}}};

TEST(SafetensorsWriter, WritesWhatASafetensorsFileReads) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "out.safetensors";
  auto writer =
      SafetensorsWriter::create(path,
                                {{.name = "bytes", .dtype = DType::kU8, .shape = {3}},
                                 {.name = "logits", .dtype = DType::kF32, .shape = {2, 2}},
                                 {.name = "ids \"x\"", .dtype = DType::kI32, .shape = {2}},
                                 {.name = "none", .dtype = DType::kF32, .shape = {0, 4}}},
                                {{"format", "pt"}});
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  const std::vector<float> row0 = {1, 2}, row1 = {3, 4};
  const std::vector<std::int32_t> ids = {-5, 6};
  const std::vector<std::uint8_t> bytes = {7, 8, 9};
  ASSERT_TRUE(writer->write<float>("logits", 2, row1).ok());  // in any order
  ASSERT_TRUE(writer->write<std::uint8_t>("bytes", 0, bytes).ok());
  ASSERT_TRUE(writer->write<float>("logits", 0, row0).ok());
  ASSERT_TRUE(writer->write<std::int32_t>("ids \"x\"", 0, ids).ok());
  EXPECT_FALSE(fs::exists(path));  // nobody sees half a file
  ASSERT_TRUE(writer->finish().ok());

  const auto file = SafetensorsFile::open(path);
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_THAT(file->read_floats("logits").value(), testing::ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(file->find("logits")->shape, testing::ElementsAre(2u, 2u));
  EXPECT_THAT(file->read_integers("ids \"x\"").value(), testing::ElementsAre(-5, 6));
  EXPECT_THAT(file->read_integers("bytes").value(), testing::ElementsAre(7, 8, 9));
  EXPECT_EQ(file->find("none")->size, 0u);
  EXPECT_EQ(file->header().metadata.at("format"), "pt");
  EXPECT_EQ(file->find("logits")->offset % 8, 0u);
  EXPECT_EQ(fs::file_size(path), file->find("bytes")->offset + 3);
  EXPECT_THAT(names_in(folder.path()), testing::ElementsAre("out.safetensors"));
}

TEST(SafetensorsWriter, KeepsTheOrderItIsGiven) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "out.safetensors";
  const std::vector<SafetensorsWriter::Tensor> tensors = {
      {"b", DType::kBF16, {3}}, {"c", DType::kU32, {2}}, {"a", DType::kU8, {1}}};
  auto writer = SafetensorsWriter::create(path, tensors, {}, SafetensorsWriter::Order::kAsGiven);
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  ASSERT_TRUE(writer->write<std::uint16_t>("b", 0, std::vector<std::uint16_t>(3)).ok());
  ASSERT_TRUE(writer->write<std::uint32_t>("c", 0, std::vector<std::uint32_t>(2)).ok());
  ASSERT_TRUE(writer->write<std::uint8_t>("a", 0, std::vector<std::uint8_t>(1)).ok());
  ASSERT_TRUE(writer->finish().ok());
  const auto file = SafetensorsFile::open(path);
  ASSERT_TRUE(file.ok()) << file.status().message();
  std::string order;
  for (const SafetensorsEntry& entry : file->header().tensors) order += entry.name;
  EXPECT_EQ(order, "bca");
}

TEST(SafetensorsWriter, TakesPiecesFromSeveralThreads) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "out.safetensors";
  auto writer = SafetensorsWriter::create(path, {{"x", DType::kU32, {4, 1000}}});
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  std::vector<std::thread> threads;
  for (std::uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([&writer, t] {
      for (std::uint64_t i = 0; i < 1000; ++i) {
        const std::uint32_t value = t;
        EXPECT_TRUE(writer->write<std::uint32_t>("x", t * 1000 + i, {&value, 1}).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(writer->finish().ok());
  const auto values = SafetensorsFile::open(path)->read_integers("x");
  ASSERT_TRUE(values.ok()) << values.status().message();
  for (std::size_t i = 0; i < 4000; ++i) ASSERT_EQ((*values)[i], static_cast<int>(i / 1000));
}

TEST(SafetensorsWriter, LeavesNothingBehindUnlessFinished) {
  const TemporaryFolder folder;
  folder.write("out.safetensors", "old");
  {
    auto writer = SafetensorsWriter::create(folder.path() / "out.safetensors", kOneTensor);
    ASSERT_TRUE(writer.ok()) << writer.status().message();
    const std::vector<float> row(3);
    SafetensorsWriter moved = std::move(*writer);
    ASSERT_TRUE(moved.write<float>("logits", 0, row).ok());
    EXPECT_EQ(names_in(folder.path()).size(), 2u);
  }
  EXPECT_THAT(names_in(folder.path()), testing::ElementsAre("out.safetensors"));
  EXPECT_EQ(fs::file_size(folder.path() / "out.safetensors"), 3u);
}

TEST(SafetensorsWriter, ReplacesTheFileBehindALinkAndKeepsTheLink) {
  const TemporaryFolder folder;
  folder.write("real.safetensors", "old");
  fs::create_symlink("real.safetensors", folder.path() / "link.safetensors");
  auto writer = SafetensorsWriter::create(folder.path() / "link.safetensors", {});
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  ASSERT_TRUE(writer->finish().ok());
  EXPECT_TRUE(fs::is_symlink(folder.path() / "link.safetensors"));
  EXPECT_TRUE(SafetensorsFile::open(folder.path() / "real.safetensors").ok());
}

TEST(SafetensorsWriter, ReportsAFolderThatIsAbsentOrNotWritable) {
  const TemporaryFolder folder;
  expect_failure(
      SafetensorsWriter::create(folder.path() / "no/out.safetensors", kOneTensor).status(),
      StatusCode::kIo, {"no/out.safetensors", "No such file", "may write"});
  ASSERT_EQ(chmod(folder.path().c_str(), 0555), 0);
  Status status;
  {
    const WithoutRoot nobody;
    status = SafetensorsWriter::create(folder.path() / "out.safetensors", kOneTensor).status();
  }
  ASSERT_EQ(chmod(folder.path().c_str(), 0755), 0);
  expect_failure(status, StatusCode::kIo, {"out.safetensors", "Permission denied", "may write"});
}

TEST(SafetensorsWriter, RefusesToReplaceWhatIsNoFile) {
  const TemporaryFolder folder;
  expect_failure(SafetensorsWriter::create(folder.path(), kOneTensor).status(),
                 StatusCode::kInvalidArgument, {"not a regular file"});
  expect_failure(SafetensorsWriter::create("/dev/null", kOneTensor).status(),
                 StatusCode::kInvalidArgument, {"/dev/null", "not a regular file"});
}

TEST(SafetensorsWriter, RefusesTensorsThatMakeNoFile) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "out.safetensors";
  const std::uint64_t huge = std::uint64_t{1} << 61;
  expect_failure(SafetensorsWriter::create(path, {{"a", DType::kF32, {huge, 2}}}).status(),
                 StatusCode::kInvalidArgument, {"tensor a", "overflows"});
  expect_failure(
      SafetensorsWriter::create(path, {{"a", DType::kU8, {huge}}, {"b", DType::kU8, {huge, 2}}})
          .status(),
      StatusCode::kInvalidArgument, {"too many"});
  expect_failure(
      SafetensorsWriter::create(path, {{"a", DType::kU8, {1}}, {"a", DType::kU8, {1}}}).status(),
      StatusCode::kInvalidArgument, {"a is taken"});
  expect_failure(SafetensorsWriter::create(path, {{"__metadata__", DType::kU8, {1}}}).status(),
                 StatusCode::kInvalidArgument, {"__metadata__"});
  EXPECT_TRUE(names_in(folder.path()).empty());
}

TEST(SafetensorsWriter, LeavesNoFileOnAFullDisk) {
  // A limit on the size of files stands for the disk's end.
  const TemporaryFolder folder;
  struct rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  struct rlimit low = before;
  low.rlim_cur = 1 << 16;
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &low), 0);
  const auto writer = SafetensorsWriter::create(folder.path() / "out.safetensors",
                                                {{"logits", DType::kF32, {1 << 20}}});
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, old_handler);
  expect_failure(writer.status(), StatusCode::kIo, {"out.safetensors", "make room"});
  EXPECT_TRUE(names_in(folder.path()).empty());
}

TEST(SafetensorsWriter, LeavesNoFileWhenAWriteFails) {
  const TemporaryFolder folder;
  struct rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  Status status;
  {
    auto writer = SafetensorsWriter::create(folder.path() / "out.safetensors",
                                            {{"logits", DType::kF32, {1 << 16}}});
    ASSERT_TRUE(writer.ok()) << writer.status().message();
    struct rlimit low = before;
    low.rlim_cur = 1 << 12;
    const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &low), 0);
    status = writer->write<float>("logits", 0, std::vector<float>(1 << 16));
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
    std::signal(SIGXFSZ, old_handler);
  }
  expect_failure(status, StatusCode::kIo, {"out.safetensors", "write", "make room"});
  EXPECT_TRUE(names_in(folder.path()).empty());
}

TEST(SafetensorsWriterDeathTest, DiesOnMisuse) {
  const TemporaryFolder folder;
  auto writer = SafetensorsWriter::create(folder.path() / "out.safetensors", kOneTensor);
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  const std::vector<float> row(3);
  const std::vector<double> wide(3);
  EXPECT_DEATH(static_cast<void>(writer->write<float>("other", 0, row)), "slots_.end");
  EXPECT_DEATH(static_cast<void>(writer->write<float>("logits", 4, row)), "bytes.size");
  EXPECT_DEATH(static_cast<void>(writer->write<double>("logits", 0, wide)), "element_size");
  EXPECT_DEATH(static_cast<void>(writer->finish()), "written");
}

}  // namespace
}  // namespace flashmoe
