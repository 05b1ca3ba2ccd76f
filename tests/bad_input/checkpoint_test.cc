// Downloads that are odd, but hold all that a model needs: they are opened, to the right bits, with
// a warning; what they lack is named.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/testing/temporary_folder.h"
#include "flashmoe/engine.h"
#include "flashmoe/inspection.h"
#include "format/safetensors_file.h"
#include "format/safetensors_writer.h"
#include "support/command.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Json = nlohmann::json;

struct StoredTensor {
  SafetensorsEntry entry;
  std::string bytes;
};

/// The tensors of the tiny golden model, which a test takes apart and writes anew.
class OddCheckpoint : public ::testing::Test {
 protected:
  void SetUp() override {
    const fs::path source = golden_path("qwen3_next/model.safetensors");
    const SafetensorsFile file = SafetensorsFile::open(source).value();
    std::ifstream bytes(source, std::ios::binary);
    for (const SafetensorsEntry& entry : file.header().tensors) {
      StoredTensor tensor{entry, std::string(entry.size, '\0')};
      bytes.seekg(static_cast<std::streamoff>(entry.offset));
      bytes.read(tensor.bytes.data(), static_cast<std::streamsize>(entry.size));
      tensors_.push_back(std::move(tensor));
    }
    std::ifstream(golden_path("qwen3_next/config.json")) >> config_;
    write_config();
  }

  void write_config() const { folder_.write("config.json", config_.dump()); }

  StoredTensor& tensor(const std::string& name) {
    for (StoredTensor& stored : tensors_) {
      if (stored.entry.name == name) return stored;
    }
    ADD_FAILURE() << name;
    return tensors_.front();
  }

  /// Writes tensors [begin, end) to a shard.
  void write_shard(const std::string& name, std::size_t begin, std::size_t end) const {
    std::string data;
    Json header = Json::object();
    for (std::size_t i = begin; i < end; ++i) {
      const auto& [entry, bytes] = tensors_[i];
      header[entry.name] = {{"dtype", to_string(entry.dtype)},
                            {"shape", entry.shape},
                            {"data_offsets", {data.size(), data.size() + bytes.size()}}};
      data += bytes;
    }
    const std::string text = header.dump();
    const std::uint64_t size = text.size();
    std::string length(8, '\0');
    std::memcpy(length.data(), &size, 8);
    folder_.write(name, length + text + data);
  }

  Result<std::unique_ptr<Engine>> open() const {
    return Engine::open({.model = folder_.path(), .memory_bytes = std::uint64_t{1} << 30});
  }

  /// The logits of a few tokens, or nothing if the model cannot be opened.
  std::vector<float> logits(std::vector<std::string>* warnings = nullptr) const {
    const auto engine = open();
    EXPECT_TRUE(engine.ok()) << engine.status().message();
    if (!engine.ok()) return {};
    if (warnings != nullptr) *warnings = (*engine)->info().warnings;
    std::vector<float> all;
    ForwardObserver observer;
    observer.on_logits = [&](std::size_t, std::size_t, std::span<const float> rows) {
      all.insert(all.end(), rows.begin(), rows.end());
      return Status();
    };
    const std::vector<std::int32_t> ids = {1, 2, 3, 4};
    EXPECT_TRUE((*engine)->new_session().value()->forward(ids, observer).ok());
    return all;
  }

  TemporaryFolder folder_;
  Json config_;
  std::vector<StoredTensor> tensors_;
};

TEST_F(OddCheckpoint, AnotherHeadThanTheTiedOneIsUsedWithAWarning) {
  write_shard("model.safetensors", 0, tensors_.size());
  const std::vector<float> untied = logits();
  config_["tie_word_embeddings"] = true;
  write_config();
  std::vector<std::string> warnings;
  EXPECT_EQ(logits(&warnings), untied);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_THAT(warnings[0], HasSubstr("tie_word_embeddings"));
  EXPECT_THAT(warnings[0], HasSubstr("lm_head"));
  // In every front end that opens or looks at a model.
  EXPECT_FALSE(inspect_model({.model = folder_.path()})->architecture.tie_word_embeddings);
  const std::string ids = folder_.write("ids", "1 2 3").string();
  const CommandResult run = run_flash_moe(
      {"run", folder_.path().string(), "--memory", "1GiB", "--ids-file", ids, "-n", "1", "--json"});
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_THAT(run.errors, HasSubstr("warning: "));
  EXPECT_THAT(Json::parse(run.output)["warnings"].dump(), HasSubstr("tie_word_embeddings"));
  const CommandResult inspected = run_flash_moe({"inspect", folder_.path().string(), "--json"});
  EXPECT_THAT(Json::parse(inspected.output)["warnings"].dump(), HasSubstr("tie_word_embeddings"));
}

TEST_F(OddCheckpoint, ACopyOfTheTiedHeadIsLeftOut) {
  config_["tie_word_embeddings"] = true;
  write_config();
  StoredTensor& head = tensor("lm_head.weight");
  const StoredTensor& embedding = tensor("model.embed_tokens.weight");
  ASSERT_EQ(head.entry.shape, embedding.entry.shape);
  head.bytes = embedding.bytes;
  write_shard("model.safetensors", 0, tensors_.size());
  std::vector<std::string> warnings;
  const std::vector<float> with_copy = logits(&warnings);
  const std::uint64_t dense_bytes = (*open())->memory_plan().dense_bytes;
  EXPECT_THAT(warnings, IsEmpty());
  std::erase_if(tensors_, [](const StoredTensor& t) { return t.entry.name == "lm_head.weight"; });
  write_shard("model.safetensors", 0, tensors_.size());
  EXPECT_EQ(logits(), with_copy);
  EXPECT_EQ((*open())->memory_plan().dense_bytes, dense_bytes);
}

TEST_F(OddCheckpoint, AHeadThatDiffersInItsLastByteIsAnother) {
  config_["tie_word_embeddings"] = true;
  write_config();
  StoredTensor& head = tensor("lm_head.weight");
  head.bytes = tensor("model.embed_tokens.weight").bytes;
  head.bytes.back() = static_cast<char>(head.bytes.back() ^ 1);
  write_shard("model.safetensors", 0, tensors_.size());
  EXPECT_EQ((*open())->info().warnings.size(), 1u);
}

TEST_F(OddCheckpoint, ShardsThatHoldEverythingAreUsedWhateverTheIndexSays) {
  write_shard("model.safetensors", 0, tensors_.size());
  const std::vector<float> expected = logits();
  fs::remove(folder_ / "model.safetensors");
  const std::size_t half = tensors_.size() / 2;
  write_shard("model-00001-of-00002.safetensors", 0, half);
  write_shard("model-00002-of-00002.safetensors", half, tensors_.size());
  Json map;
  for (const StoredTensor& stored : tensors_) {
    map[stored.entry.name] = "model-00003-of-00013.safetensors";
  }
  const Json of_another_build = {{"weight_map", map}};
  map.clear();
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    map[tensors_[i].entry.name] =
        i < half ? "model-00001-of-00002.safetensors" : "model-00002-of-00002.safetensors";
  }
  map["mtp.fc.weight"] = "mtp.safetensors";  // nothing that this engine computes with
  const Json with_what_nobody_needs = {{"weight_map", map}};
  for (const Json& index : {of_another_build, with_what_nobody_needs}) {
    folder_.write("model.safetensors.index.json", index.dump());
    std::vector<std::string> warnings;
    EXPECT_EQ(logits(&warnings), expected);
    ASSERT_EQ(warnings.size(), 1u);
    EXPECT_THAT(warnings[0], HasSubstr("model.safetensors.index.json"));
    EXPECT_THAT(warnings[0], HasSubstr("1 of the "));
  }
  for (const StoredTensor& stored : tensors_) {
    map[stored.entry.name] = "model-00001-of-00002.safetensors";  // a stale index
  }
  map.erase("mtp.fc.weight");
  for (const std::string& index : {Json{{"weight_map", map}}.dump(), std::string(), map.dump()}) {
    folder_.write("model.safetensors.index.json", index);
    std::vector<std::string> warnings;
    EXPECT_EQ(logits(&warnings), expected);
    ASSERT_EQ(warnings.size(), 1u);
    EXPECT_THAT(warnings[0], HasSubstr("model.safetensors.index.json: "));
  }
  // Where something is missing, it is named, and what says that it should be there.
  folder_.write("model.safetensors.index.json", Json{{"weight_map", map}}.dump());
  fs::rename(folder_ / "model-00002-of-00002.safetensors", folder_ / "kept");
  EXPECT_THAT(open().status().message(),
              AllOf(HasSubstr("index.json: "), HasSubstr("lie in no file: "),
                    HasSubstr(tensors_.back().entry.name), HasSubstr("download")));
  fs::remove(folder_ / "model.safetensors.index.json");
  EXPECT_THAT(open().status().message(),
              AllOf(HasSubstr("1 of the 2"), HasSubstr("model-00002-of-00002.safetensors"),
                    HasSubstr("is not in the checkpoint")));
  folder_.write("model.safetensors.index.json", with_what_nobody_needs.dump());
  fs::rename(folder_ / "kept", folder_ / "model-00002-of-00002.safetensors");
  // A missing file is to blame.
  fs::remove(folder_ / "model-00002-of-00002.safetensors");
  const Status status = open().status();
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_THAT(status.message(), HasSubstr("model-00002-of-00002.safetensors, mtp.safetensors"));
  EXPECT_THAT(status.message(), HasSubstr("download"));
}

TEST_F(OddCheckpoint, GitLfsPointersOfTextFilesAreNamed) {
  write_shard("model.safetensors", 0, tensors_.size());
  constexpr const char* kPointer =
      "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 12345\n";
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) {
    const fs::path path = folder_.write(name, kPointer);
    fs::copy_file(sprout_folder() / "tokenizer.json", folder_ / "tokenizer.json",
                  fs::copy_options::skip_existing);
    EXPECT_THAT(open().status().message(), HasSubstr(std::string(name) + ": a Git LFS pointer"));
    fs::remove(path);
  }
  folder_.write("chat_template.jinja", kPointer);
  const auto engine = open();
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  EXPECT_THAT((*engine)->render_chat("[]", {}).status().message(),
              HasSubstr("chat_template.jinja: a Git LFS pointer"));
}

TEST_F(OddCheckpoint, ARepositoryOfTheHubsCacheIsItsSnapshot) {
  write_shard("model.safetensors", 0, tensors_.size());
  const std::vector<float> expected = logits();
  const std::string snapshot = "models--org--name/snapshots/abc/";
  fs::create_directories(folder_ / snapshot);
  fs::create_directories(folder_ / "models--org--name/blobs");
  for (const char* name : {"config.json", "model.safetensors"}) {
    fs::rename(folder_ / name, folder_ / "models--org--name/blobs" / name);
    fs::create_symlink(fs::path("../../blobs") / name, folder_ / snapshot / name);
  }
  folder_.write("models--org--name/refs/main", "abc");
  EXPECT_EQ(logits(), expected);  // folder_ is a cache of one model
  const CommandResult inspected =
      run_flash_moe({"inspect", (folder_ / "models--org--name").string(), "--json"});
  EXPECT_EQ(inspected.exit_code, 0) << inspected.errors;
  fs::remove(folder_ / "models--org--name/blobs/model.safetensors");
  const Status status = open().status();
  EXPECT_THAT(status.message(), HasSubstr("model.safetensors: a link to ../../blobs/"));
}

}  // namespace
}  // namespace flashmoe::testing
