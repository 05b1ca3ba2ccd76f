#include "base/model_download.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>

#include "base/testing/temporary_folder.h"

namespace flashmoe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr const char* kPointer =
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";

TEST(CheckDownloaded, NamesGitLfsPointersAndTheRemedy) {
  const TemporaryFolder folder;
  folder.write("tokenizer.json", kPointer);
  const Status status = check_downloaded(folder / "tokenizer.json");
  EXPECT_EQ(status.code(), StatusCode::kCorrupt);
  EXPECT_THAT(status.message(), HasSubstr("tokenizer.json: a Git LFS pointer"));
  EXPECT_THAT(status.message(), HasSubstr("git lfs pull"));
}

TEST(CheckDownloaded, AcceptsOtherFiles) {
  const TemporaryFolder folder;
  folder.write("a", "{}");
  folder.write("b", "");
  folder.write("c", std::string(kPointer).substr(0, 20));
  folder.write("d", kPointer + std::string(2000, ' '));  // longer than any pointer
  folder.write("e", "# version https://git-lfs.github.com/spec/v1");
  for (const char* name : {"a", "b", "c", "d", "e", "absent"}) {
    EXPECT_TRUE(check_downloaded(folder / name).ok()) << name;
  }
  EXPECT_TRUE(check_downloaded(folder.path()).ok());
}

TEST(CheckDownloaded, NamesALinkToNowhereAndWhereItLeads) {
  const TemporaryFolder folder;
  fs::create_symlink("../../blobs/abc", folder / "config.json");
  const Status status = check_downloaded(folder / "config.json");
  EXPECT_EQ(status.code(), StatusCode::kCorrupt);
  EXPECT_THAT(status.message(), HasSubstr("config.json: a link to ../../blobs/abc, which is not"));
  folder.write("file", "{}");
  fs::create_symlink("file", folder / "link");
  EXPECT_TRUE(check_downloaded(folder / "link").ok());
}

TEST(CheckDownloadedText, NamesWhatDownloadsLeaveInPlaceOfAFile) {
  const TemporaryFolder folder;
  const fs::path path = folder / "chat_template.jinja";
  const std::pair<std::string, const char*> cases[] = {
      {"", "an empty file"},
      {" \r\n", "an empty file"},
      {std::string(5000, '\0'), "an empty file"},
      {"<!DOCTYPE html>\n<html>", "a web page"},
      {"\n<html lang=en>", "a web page"},
      {"Entry not found", "answer \"entry not found\""},
      {"Invalid username or password.\n", "log in"},
      {"Access to model org/name is restricted. You must be authenticated.", "log in"},
      {kPointer, "a Git LFS pointer"},
  };
  for (const auto& [text, complaint] : cases) {
    folder.write("chat_template.jinja", text);
    const Status status = check_downloaded_text(path);
    EXPECT_EQ(status.code(), StatusCode::kCorrupt);
    EXPECT_THAT(status.message(), HasSubstr("chat_template.jinja: "));
    EXPECT_THAT(status.message(), HasSubstr(complaint));
  }
  for (const char* text : {"{}", "{{ messages }}", "  x", "<|im_start|>", "entry"}) {
    folder.write("chat_template.jinja", text);
    EXPECT_TRUE(check_downloaded_text(path).ok()) << text;
  }
  EXPECT_TRUE(check_downloaded_text(folder / "absent").ok());
  EXPECT_TRUE(check_downloaded_text(folder.path()).ok());
}

class HubCache : public testing::Test {
 protected:
  /// A snapshot whose folder was written `age` ago.
  void add_snapshot(const std::string& revision, std::chrono::hours age) {
    const fs::path snapshot = "models--org--name/snapshots/" + revision;
    root_.write((snapshot / "config.json").string(), "{}");
    fs::last_write_time(root_ / snapshot.string(), fs::file_time_type::clock::now() - age);
  }
  fs::path snapshot(const std::string& revision) const {
    return root_ / ("models--org--name/snapshots/" + revision);
  }
  fs::path found(const std::string& path) const { return find_model_folder(root_ / path).value(); }

  TemporaryFolder root_;
};

TEST_F(HubCache, GivesTheSnapshotOfMain) {
  add_snapshot("aaa", std::chrono::hours(9));
  add_snapshot("bbb", std::chrono::hours(1));
  root_.write("models--org--name/refs/main", "aaa");
  EXPECT_EQ(found("models--org--name"), snapshot("aaa"));
  root_.write("models--org--name/refs/main", "bbb\n");
  EXPECT_EQ(found("models--org--name"), snapshot("bbb"));
  EXPECT_EQ(found("models--org--name/snapshots"), snapshot("bbb"));
  EXPECT_EQ(found("models--org--name/snapshots/"), snapshot("bbb"));
  EXPECT_EQ(find_model_folder(root_.path()).value(), snapshot("bbb"));
}

TEST_F(HubCache, GivesTheNewestWhereMainNamesNone) {
  add_snapshot("aaa", std::chrono::hours(1));
  add_snapshot("bbb", std::chrono::hours(9));
  EXPECT_EQ(found("models--org--name"), snapshot("aaa"));
  for (const char* main : {"ccc", "", "..", "../..", "/etc", "."}) {
    root_.write("models--org--name/refs/main", main);
    EXPECT_EQ(found("models--org--name"), snapshot("aaa")) << main;
  }
}

TEST_F(HubCache, TakesTheSnapshotThatHoldsAModelAndSaysSo) {
  const auto remark_on = [&] {
    std::string remark;
    EXPECT_TRUE(find_model_folder(root_ / "models--org--name", &remark).ok());
    return remark;
  };
  const auto add = [&](const std::string& file) {
    root_.write("models--org--name/snapshots/" + file, "x");
  };
  add_snapshot("whole", std::chrono::hours(9));
  add("whole/model-00001-of-00002.safetensors");
  add("whole/model-00002-of-00002.safetensors");
  EXPECT_EQ(remark_on(), "");
  // An empty one, one of links to nowhere, one of text alone, ones with parts missing: all newer.
  fs::create_directories(snapshot("empty"));
  fs::create_directories(snapshot("cut"));
  fs::create_symlink("../../blobs/gone", snapshot("cut") / "model.safetensors");
  add("text/config.json");
  add("parts/config.json");
  add("parts/model-00001-of-00002.safetensors");
  add("gguf/x-00002-of-00002.gguf");
  add("bare/model.safetensors");
  for (const char* main : {"", "empty", "cut", "text", "parts", "gguf", "bare"}) {
    root_.write("models--org--name/refs/main", main);
    EXPECT_EQ(found("models--org--name"), snapshot("whole")) << main;
    EXPECT_THAT(remark_on(), HasSubstr("snapshot whole is used")) << main;
    if (*main != '\0') {
      EXPECT_THAT(remark_on(), HasSubstr(std::string(main) + ", which refs/main names")) << main;
    }
  }
  // What main names counts where it holds as much.
  add("gguf/x-00001-of-00002.gguf");
  root_.write("models--org--name/refs/main", "gguf");
  EXPECT_EQ(found("models--org--name"), snapshot("gguf"));
  EXPECT_EQ(remark_on(), "");
  // A path to a snapshot is meant as it stands.
  EXPECT_EQ(found("models--org--name/snapshots/text"), snapshot("text"));
}

TEST_F(HubCache, SaysThatSnapshotsAreEmpty) {
  fs::create_directories(snapshot("aaa"));
  fs::create_directories(snapshot("bbb"));
  root_.write("models--org--name/refs/main", "aaa");
  const Status status = find_model_folder(root_ / "models--org--name").status();
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_THAT(status.message(), HasSubstr("has a file in it"));
  EXPECT_THAT(status.message(), HasSubstr("download the model again"));
}

TEST_F(HubCache, SaysWhereThereIsNoSnapshotOrMoreThanOneModel) {
  fs::create_directories(root_ / "models--org--name/snapshots");
  const Status none = find_model_folder(root_ / "models--org--name").status();
  EXPECT_EQ(none.code(), StatusCode::kNotFound);
  EXPECT_THAT(none.message(), HasSubstr("has no snapshot"));
  fs::create_directories(root_ / "models--org--other/snapshots");
  const Status several = find_model_folder(root_.path()).status();
  EXPECT_EQ(several.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(several.message(), HasSubstr("models--org--name, models--org--other"));
}

TEST_F(HubCache, CallsAModelByItsRepository) {
  add_snapshot("aaa", std::chrono::hours(1));
  for (const char* path :
       {"models--org--name", "models--org--name/", "models--org--name/snapshots/aaa"}) {
    EXPECT_EQ(model_name(root_ / path), "org/name") << path;
  }
  root_.write("a-model/config.json", "{}");
  EXPECT_EQ(model_name(root_ / "a-model"), "a-model");
  EXPECT_EQ(model_name(root_ / "a-model/"), "a-model");
  EXPECT_EQ(model_name(root_ / "a-model-Q8_0.gguf"), "a-model-Q8_0");
  EXPECT_EQ(model_name(root_ / "a-model-00001-of-00003.gguf"), "a-model");
  EXPECT_EQ(model_name(root_ / "a-model-Q8_0-00002-of-00003.gguf"), "a-model-Q8_0");
  EXPECT_EQ(model_name(root_ / "a-model/../a-model"), "a-model");
}

TEST_F(HubCache, LeavesOtherFoldersAsTheyAre) {
  root_.write("model/config.json", "{}");
  fs::create_directories(root_ / "model/snapshots/x");
  fs::create_directories(root_ / "empty");
  for (const char* path : {"model", "empty", "absent"}) EXPECT_EQ(found(path), root_ / path);
  fs::create_directories(root_ / "cut");
  fs::create_symlink("../blobs/gone", root_ / "cut/config.json");
  EXPECT_EQ(found("cut"), root_ / "cut");
}

}  // namespace
}  // namespace flashmoe
