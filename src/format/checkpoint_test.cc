#include "format/checkpoint.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "base/testing/temporary_folder.h"
#include "base/testing/without_root.h"
#include "format/shard_list.h"
#include "format/testing/expect_failure.h"
#include "format/testing/safetensors_bytes.h"

namespace flashmoe {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr std::string_view kIndexName = "model.safetensors.index.json";

/// A file with one U8 tensor of one byte for each of `names`.
std::string shard_of(std::initializer_list<std::string_view> names,
                     std::string_view metadata = "{}") {
  std::string header = fmt::format(R"({{"__metadata__":{})", metadata);
  std::size_t at = 0;
  for (const std::string_view name : names) {
    header += fmt::format(R"(,"{}":{{"dtype":"U8","shape":[1],"data_offsets":[{},{}]}})", name, at,
                          at + 1);
    ++at;
  }
  return safetensors_bytes(header + "}", names.size());
}

Status open_status(const TemporaryFolder& folder) {
  return Checkpoint::open(folder.path()).status();
}

class CheckpointTest : public testing::Test {
 protected:
  CheckpointTest() { folder_.write("config.json", R"({"model_type": "tiny"})"); }

  /// What an opened checkpoint says of its index.
  std::string complaint() const {
    const auto checkpoint = Checkpoint::open(folder_.path());
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status().message();
    return checkpoint.ok() ? checkpoint->index_complaint() : "";
  }

  TemporaryFolder folder_;
};

TEST_F(CheckpointTest, OpensAFolderWithoutAnIndex) {
  folder_.write("model.safetensors", shard_of({"a"}));
  folder_.write("model-extra.safetensors", shard_of({"b"}));
  folder_.write("golden.safetensors", "not one of the model's files");
  const auto checkpoint = Checkpoint::open(folder_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  EXPECT_EQ(checkpoint->tensors().size(), 2u);
  EXPECT_EQ(checkpoint->config_reader().string("model_type").value(), "tiny");
  EXPECT_EQ(checkpoint->generation_config(), nlohmann::json::object());
  ASSERT_NE(checkpoint->find("b"), nullptr);
  EXPECT_EQ(checkpoint->files()[checkpoint->find("b")->file_index].filename(),
            "model-extra.safetensors");
  EXPECT_EQ(checkpoint->find("c"), nullptr);
}

TEST_F(CheckpointTest, OpensTheFilesThatTheIndexNames) {
  folder_.write("z.safetensors", shard_of({"a"}));
  folder_.write("m.safetensors", shard_of({"b", "unlisted"}));
  folder_.write("model-stale.safetensors", shard_of({"a"}));
  folder_.write("generation_config.json", R"({"eos_token_id": [1, 2]})");
  folder_.write(kIndexName, R"({"metadata": {"total_size": 2, "x": [{"weight_map": 1}]},
                               "weight_map": {"a": "z.safetensors", "b": "m.safetensors"}})");
  const auto checkpoint = Checkpoint::open(folder_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  EXPECT_EQ(checkpoint->files().size(), 2u);
  EXPECT_EQ(checkpoint->tensors().size(), 3u);
  EXPECT_EQ(checkpoint->generation_config()["eos_token_id"][1], 2);
}

TEST_F(CheckpointTest, FollowsSymbolicLinksAsInAHubCache) {
  folder_.write("blob", shard_of({"a"}));
  fs::create_symlink("blob", folder_.path() / "model.safetensors");
  EXPECT_TRUE(Checkpoint::open(folder_.path()).ok());
  fs::remove(folder_.path() / "blob");
  const auto refuses_the_link = [this] {
    expect_failure(open_status(folder_), StatusCode::kCorrupt,
                   {"model.safetensors", "a link to blob", "download"});
  };
  refuses_the_link();
  folder_.write(kIndexName, R"({"weight_map": {"a": "model.safetensors"}})");
  refuses_the_link();
  fs::rename(folder_ / "config.json", folder_ / "kept");
  fs::create_symlink("blob", folder_ / "config.json");
  expect_failure(open_status(folder_), StatusCode::kCorrupt, {"config.json", "a link to blob"});
}

TEST_F(CheckpointTest, OpensTheSnapshotOfARepositoryInTheHubsCache) {
  folder_.write("hub/models--org--name/snapshots/abc/config.json", R"({"model_type": "tiny"})");
  folder_.write("hub/models--org--name/snapshots/abc/model.safetensors", shard_of({"a"}));
  folder_.write("hub/models--org--name/refs/main", "abc");
  for (const char* path : {"hub/models--org--name", "hub"}) {
    const auto checkpoint = Checkpoint::open(folder_ / path);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
    EXPECT_EQ(checkpoint->folder(), folder_ / "hub/models--org--name/snapshots/abc");
    EXPECT_NE(checkpoint->find("a"), nullptr);
  }
}

TEST_F(CheckpointTest, TellsGitLfsPointersFromFiles) {
  constexpr const char* kPointer =
      "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 12345\n";
  folder_.write("model.safetensors", shard_of({"a"}));
  folder_.write("generation_config.json", "{}");
  folder_.write(kIndexName, R"({"weight_map": {"a": "model.safetensors"}})");
  ASSERT_TRUE(Checkpoint::open(folder_.path()).ok());
  for (const char* name : {"model.safetensors", "config.json", "generation_config.json"}) {
    const fs::path path = folder_ / name;
    fs::rename(path, folder_ / "kept");
    folder_.write(name, kPointer);
    expect_failure(open_status(folder_), StatusCode::kCorrupt,
                   {name, "Git LFS pointer", "git lfs pull"});
    fs::rename(folder_ / "kept", path);
  }
}

TEST_F(CheckpointTest, NamesTheShardsThatAreMissing) {
  folder_.write("model-00002-of-00003.safetensors", shard_of({"b"}));
  folder_.write(kIndexName, R"({"weight_map": {"a": "model-00001-of-00003.safetensors",
      "b": "model-00002-of-00003.safetensors", "c": "model-00003-of-00003.safetensors"}})");
  // What is there may be all that a model needs: who knows that has the complaint.
  const auto partial = Checkpoint::open(folder_.path());
  ASSERT_TRUE(partial.ok()) << partial.status().message();
  for (const std::string& text :
       {folder_.path().string(), std::string("2 of the 3"), std::string(kIndexName),
        std::string("model-00001-of-00003.safetensors, model-00003-of-00003.safetensors")}) {
    EXPECT_NE(partial->index_complaint().find(text), std::string::npos) << text;
  }
  fs::remove(folder_.path() / kIndexName);  // the numbering tells as well
  EXPECT_THAT(complaint(), AllOf(HasSubstr("2 of the 3"), HasSubstr("00001-of-00003")));
  folder_.write("model-00001-of-00003.safetensors.incomplete", "half of it");
  EXPECT_THAT(complaint(), HasSubstr("00003.safetensors.incomplete is of a download that did not"));
}

TEST_F(CheckpointTest, NumberedShardsOfOneWholeSetAreNotMissed) {
  folder_.write("model-00001-of-00002.safetensors", shard_of({"a"}));
  folder_.write("model-00002-of-00002.safetensors", shard_of({"b"}));
  folder_.write("model-00001-of-00007.safetensors", shard_of({"c"}));
  EXPECT_EQ(complaint(), "");
}

TEST_F(CheckpointTest, NamesTheShardsThatAreMissingWhereNoneIsThere) {
  folder_.write(kIndexName, R"({"weight_map": {"a": "model-1.safetensors"}})");
  expect_failure(open_status(folder_), StatusCode::kNotFound,
                 {"1 of the 1", "model-1.safetensors", "download"});
}

TEST_F(CheckpointTest, OpensTheShardsThatAreThereWhereTheIndexIsAnotherBuilds) {
  folder_.write("model-00001-of-00002.safetensors", shard_of({"a", "b"}));
  folder_.write("model-00002-of-00002.safetensors", shard_of({"c"}));
  folder_.write(kIndexName, R"({"weight_map": {"a": "model-00001-of-00003.safetensors",
      "b": "model-00002-of-00003.safetensors", "x": "model-00003-of-00003.safetensors"}})");
  const auto checkpoint = Checkpoint::open(folder_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  EXPECT_EQ(checkpoint->tensors().size(), 3u);
  EXPECT_NE(checkpoint->index_complaint().find("3 of the 3"), std::string::npos);
}

TEST_F(CheckpointTest, HasNoComplaintOfAnIndexThatIsRight) {
  folder_.write("m.safetensors", shard_of({"a"}));
  folder_.write(kIndexName, R"({"weight_map": {"a": "m.safetensors"}})");
  EXPECT_EQ(Checkpoint::open(folder_.path())->index_complaint(), "");
}

TEST_F(CheckpointTest, LetsTheIndexSettleWhichOfTwoCopiesCounts) {
  // An overlay: the copy of "a" in the base is old.
  folder_.write("base.safetensors", shard_of({"a", "b"}));
  folder_.write("overlay.safetensors", shard_of({"a"}));
  for (const char* holder : {"base.safetensors", "overlay.safetensors"}) {
    folder_.write(kIndexName, fmt::format(R"({{"weight_map": {{"a": "{}", "b": "base.safetensors",
        "a2": "overlay.safetensors"}}}})",
                                          holder));
    folder_.write("overlay.safetensors", shard_of({"a", "a2"}));
    const auto checkpoint = Checkpoint::open(folder_.path());
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
    EXPECT_EQ(checkpoint->files()[checkpoint->find("a")->file_index].filename(), holder);
  }
  folder_.write(kIndexName,
                R"({"weight_map": {"b": "base.safetensors", "a2": "overlay.safetensors"}})");
  expect_failure(open_status(folder_), StatusCode::kCorrupt,
                 {"tensor a lies in", "base.safetensors", "overlay.safetensors"});
}

TEST_F(CheckpointTest, GoesByTheShardsWhereTheIndexCannotBeRead) {
  folder_.write("m.safetensors", shard_of({"a"}));
  folder_.write("model.safetensors", shard_of({"a"}));
  const std::pair<const char*, const char*> cases[] = {
      {"", "an empty file"},
      {" \n", "an empty file"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 1\n", "git lfs pull"},
      {R"({"weight_map": {"a": "m.safetensors", "b": "m.saf)", "column"},
      {"{", "column"},
      {"[]", "instead of an object"},
      {"{}", "weight_map is absent"},
      {R"({"metadata": {"weight_map": {"a": "m.safetensors"}}})", "weight_map is absent"},
      {R"({"weight_map": {}})", "names no tensor"},
      {R"({"weight_map": 1})", "a number"},
      {R"({"weight_map": ["a"]})", "a list"},
      {R"({"weight_map": {"a": 1}})", "tensor a has a number"},
      {R"({"weight_map": {"a": ["m.safetensors"]}})", "tensor a has a list"},
      {R"({"weight_map": {"a": {"b": "m.safetensors"}}})", "tensor a has an object"},
      {R"({"weight_map": {"a": null}})", "tensor a has null"},
      {R"({"weight_map": {"a": "m.safetensors"}, "weight_map": {}})", "twice"},
      {R"({"weight_map": {"a": "../m.safetensors"}})", "\"../m.safetensors\""},
      {R"({"weight_map": {"a": "/etc/m.safetensors"}})", "\"/etc/m.safetensors\""},
      {R"({"weight_map": {"a": "x/m.safetensors"}})", "plain name"},
      {R"({"weight_map": {"a": "config.json"}})", "plain name"},
      {R"({"weight_map": {"a": "m.safetensors\u0000.safetensors"}})", "plain name"},
  };
  for (const auto& [text, what] : cases) {
    SCOPED_TRACE(text);
    folder_.write(kIndexName, text);
    const auto checkpoint = Checkpoint::open(folder_.path());
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
    EXPECT_EQ(checkpoint->files().size(), 1u);  // what an index might lead outside is never opened
    for (const std::string_view part : {kIndexName, std::string_view(what), {"download"}}) {
      if (part == "download" && what == std::string_view("git lfs pull")) continue;
      EXPECT_THAT(checkpoint->index_complaint(), HasSubstr(std::string(part)));
    }
  }
}

TEST_F(CheckpointTest, AnIndexThatCannotBeReadSettlesNothing) {
  folder_.write("m.safetensors", shard_of({"a"}));
  folder_.write(kIndexName, "{}");
  expect_failure(open_status(folder_), StatusCode::kCorrupt,
                 {"weight_map is absent", "no model*.safetensors", "m.safetensors"});
  folder_.write("model-1.safetensors", shard_of({"a"}));
  folder_.write("model-2.safetensors", shard_of({"a"}));
  expect_failure(open_status(folder_), StatusCode::kCorrupt,
                 {"weight_map is absent", "tensor a lies in", "one download"});
}

TEST_F(CheckpointTest, FindsTensorsWhereTheyAreWhateverTheIndexSays) {
  folder_.write("m1.safetensors", shard_of({"a"}));
  folder_.write("m2.safetensors", shard_of({"b"}));
  folder_.write(kIndexName, R"({"weight_map": {"a": "m1.safetensors", "b": "m1.safetensors",
                               "c": "m2.safetensors"}})");
  const auto checkpoint = Checkpoint::open(folder_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  EXPECT_EQ(checkpoint->files()[checkpoint->find("b")->file_index].filename(), "m2.safetensors");
  EXPECT_THAT(checkpoint->index_complaint(),
              AllOf(HasSubstr(kIndexName), HasSubstr("1 lie in another file than it says: b"),
                    HasSubstr("1 lie in no file: c")));
}

TEST_F(CheckpointTest, LooksForWhatTheNamedShardsLackInTheOthers) {
  folder_.write("model-1.safetensors", shard_of({"a"}));
  folder_.write("model-2.safetensors", shard_of({"b"}));
  folder_.write(kIndexName,
                R"({"weight_map": {"a": "model-1.safetensors", "b": "model-1.safetensors"}})");
  const auto checkpoint = Checkpoint::open(folder_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  EXPECT_EQ(checkpoint->files()[checkpoint->find("b")->file_index].filename(),
            "model-2.safetensors");
  EXPECT_THAT(checkpoint->index_complaint(), HasSubstr("another file than it says: b"));
}

TEST_F(CheckpointTest, RefusesATensorThatTwoFilesHold) {
  folder_.write("model-1.safetensors", shard_of({"a", "b"}));
  folder_.write("model-2.safetensors", shard_of({"b"}));
  expect_failure(open_status(folder_), StatusCode::kCorrupt,
                 {"tensor b", "model-1.safetensors", "model-2.safetensors", "one download"});
}

TEST_F(CheckpointTest, LeavesAloneWhatIsBesideTheModelsOwnFiles) {
  folder_.write("consolidated.safetensors", shard_of({"a", "layers.0.attention.wq.weight"}));
  folder_.write("model-00001-of-00001.safetensors", shard_of({"a"}));
  const auto by_name = Checkpoint::open(folder_.path());
  ASSERT_TRUE(by_name.ok()) << by_name.status().message();
  EXPECT_EQ(by_name->tensors().size(), 1u);
  // Another quantisation: with an index its files count, without one nobody knows.
  folder_.write("model.safetensors", shard_of({"a", "a.scales"}));
  expect_failure(open_status(folder_), StatusCode::kCorrupt,
                 {"tensor a", "model-00001-of-00001.safetensors", "model.safetensors"});
  folder_.write(kIndexName, R"({"weight_map": {"a": "model-00001-of-00001.safetensors"}})");
  const auto by_index = Checkpoint::open(folder_.path());
  ASSERT_TRUE(by_index.ok()) << by_index.status().message();
  EXPECT_EQ(by_index->tensors().size(), 1u);
  EXPECT_EQ(by_index->index_complaint(), "");
}

TEST_F(CheckpointTest, CountsAFileWhoseDownloadIsUnderWayAsMissing) {
  folder_.write("model.safetensors", shard_of({"a"}));
  folder_.write("model.safetensors.aria2", "what is to come");
  expect_failure(open_status(folder_), StatusCode::kNotFound,
                 {"model.safetensors.aria2", "go on with it"});
  folder_.write(kIndexName, R"({"weight_map": {"a": "model.safetensors"}})");
  expect_failure(open_status(folder_), StatusCode::kNotFound, {"1 of the 1", ".aria2"});
  fs::remove(folder_ / "model.safetensors.aria2");
  EXPECT_TRUE(open_status(folder_).ok());
}

TEST_F(CheckpointTest, NamesTheFileWhoseHeaderIsWrong) {
  folder_.write("model-1.safetensors", shard_of({"a"}));
  folder_.write("model-2.safetensors", shard_of({"b"}).substr(0, 40));
  expect_failure(open_status(folder_), StatusCode::kCorrupt, {"model-2.safetensors", "cut short"});
}

TEST_F(CheckpointTest, SaysWhatIsMissingInAFolderWithoutWeights) {
  expect_failure(open_status(folder_), StatusCode::kNotFound,
                 {"no model*.safetensors", "download"});
  folder_.write("weights.safetensors", shard_of({"a"}));
  expect_failure(open_status(folder_), StatusCode::kNotFound,
                 {"but weights.safetensors", "model.safetensors"});
  for (const char* name : {"weights.gguf", "consolidated.safetensors"}) {
    const fs::path path = folder_.write(name, "");
    expect_failure(open_status(folder_), StatusCode::kUnsupported, {name, "Hugging Face"});
    fs::remove(path);
  }
  folder_.write("part/model.safetensors", shard_of({"a"}));
  expect_failure(open_status(folder_), StatusCode::kNotFound, {"but in ", "/part", "move them"});
  folder_.write("model.safetensors.incomplete", "");
  expect_failure(open_status(folder_), StatusCode::kNotFound,
                 {"model.safetensors.incomplete", "go on with it"});
}

TEST(Checkpoint, RefusesWhatIsNoModelFolder) {
  const TemporaryFolder folder;
  expect_failure(Checkpoint::open(folder.path() / "no").status(), StatusCode::kNotFound,
                 {"/no", "no such folder"});
  expect_failure(Checkpoint::open(folder.write("file", "")).status(), StatusCode::kInvalidArgument,
                 {"/file", "not a folder"});
  folder.write("model.safetensors", shard_of({"a"}));
  expect_failure(open_status(folder), StatusCode::kNotFound,
                 {"config.json", "download the whole model"});
  for (const char* text : {"[]", "{", "", "3"}) {
    folder.write("config.json", text);
    expect_failure(open_status(folder), StatusCode::kCorrupt, {"config.json", "download"});
  }
  folder.write("config.json", "{}");
  folder.write("generation_config.json", "{");
  expect_failure(open_status(folder), StatusCode::kCorrupt, {"generation_config.json"});
}

TEST_F(CheckpointTest, ReportsAFolderThatCannotBeRead) {
  folder_.write("model.safetensors", shard_of({"a"}));
  for (const mode_t mode : {0000, 0111}) {  // closed, and one whose files open but don't list
    ASSERT_EQ(chmod(folder_.path().c_str(), mode), 0);
    Status status;
    {
      const WithoutRoot nobody;
      status = open_status(folder_);
    }
    ASSERT_EQ(chmod(folder_.path().c_str(), 0755), 0);
    expect_failure(status, StatusCode::kIo, {folder_.path().string(), "ermission denied"});
  }
}

TEST_F(CheckpointTest, TellsMlxConversionsByTheirTensors) {
  struct Case {
    const char* tensor;
    const char* shape;
    const char* metadata;
    bool is_mlx;
  };
  const Case cases[] = {
      {"l.0.mlp.switch_mlp.up_proj.weight", "[1]", "{}", true},
      {"l.0.linear_attn.conv1d.weight", "[1,4,1]", "{}", true},
      {"l.0.linear_attn.conv1d.weight", "[1,1,4]", R"({"format":"mlx"})", false},
      {"l.0.linear_attn.conv1d.weight", "[4,1,1]", R"({"format":"pt"})", false},
      {"l.0.linear_attn.conv1d.weight", "[4,1,1]", R"({"format":"mlx"})", true},
      {"l.0.norm.weight", "[1]", R"({"format":"mlx"})", true},
      {"l.0.norm.weight", "[1]", R"({"format":"pt"})", false},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(fmt::format("{} {} {}", c.tensor, c.shape, c.metadata));
    const int size = std::string_view(c.shape).find('4') != std::string_view::npos ? 4 : 1;
    folder_.write(
        "model.safetensors",
        safetensors_bytes(
            fmt::format(
                R"({{"__metadata__":{},"{}":{{"dtype":"U8","shape":{},"data_offsets":[0,{}]}}}})",
                c.metadata, c.tensor, c.shape, size),
            4));
    const auto checkpoint = Checkpoint::open(folder_.path());
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
    EXPECT_EQ(checkpoint->is_mlx(), c.is_mlx);
  }
}

}  // namespace
}  // namespace flashmoe
