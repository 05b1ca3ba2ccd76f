#include "cli/line_reader.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace flashmoe::cli {
namespace {

class MessageFrom : public ::testing::Test {
 protected:
  void TearDown() override {
    if (file_ != nullptr) std::fclose(file_);
  }
  void type(const std::string& text) {
    file_ = std::tmpfile();
    ASSERT_NE(file_, nullptr);
    std::fwrite(text.data(), 1, text.size(), file_);
    std::rewind(file_);
    reader_ = make_plain_line_reader(file_, false);
  }
  Input next() { return read_message(*reader_, is_block_); }

  std::FILE* file_ = nullptr;
  std::unique_ptr<LineReader> reader_;
  bool is_block_ = false;
};

TEST_F(MessageFrom, ALineIsTheLineWithoutItsEnd) {
  type("one\r\n\nlast");
  EXPECT_EQ(next().text, "one");
  const Input empty = next();
  EXPECT_EQ(empty.kind, Input::Kind::kText);
  EXPECT_EQ(empty.text, "");
  EXPECT_EQ(next().text, "last");
  EXPECT_EQ(next().kind, Input::Kind::kEnd);
}

TEST_F(MessageFrom, ABackslashGoesOnInTheNextLine) {
  type("a\\\nb\\\nc\nd\\");
  EXPECT_EQ(next().text, "a\nb\nc");
  EXPECT_FALSE(is_block_);
  EXPECT_EQ(next().text, "d\n");
}

TEST_F(MessageFrom, ABlockEndsAtItsFence) {
  type("\"\"\"\n/a\n\nb\\\n\"\"\"\n\"\"\"one\"\"\"\n\"\"\"to the end\nof file");
  EXPECT_EQ(next().text, "/a\n\nb\\");
  EXPECT_TRUE(is_block_);
  EXPECT_EQ(next().text, "one");
  EXPECT_EQ(next().text, "to the end\nof file");
  EXPECT_EQ(next().kind, Input::Kind::kEnd);
}

TEST_F(MessageFrom, ALineBeyondTheLimitIsDroppedAndTheNextOneRead) {
  type(std::string(kInputSizeMax + 1, 'x') + "\nnext\n");
  EXPECT_EQ(next().kind, Input::Kind::kTooLong);
  EXPECT_EQ(next().text, "next");
}

TEST(DefaultHistoryPath, FollowsTheXdgSpecification) {
  setenv("HOME", "/home/u", 1);
  setenv("XDG_STATE_HOME", "/state", 1);
  EXPECT_EQ(default_history_path(), "/state/flash-moe/history");
  setenv("XDG_STATE_HOME", "relative", 1);
  EXPECT_EQ(default_history_path(), "/home/u/.local/state/flash-moe/history");
  unsetenv("XDG_STATE_HOME");
  unsetenv("HOME");
  EXPECT_EQ(default_history_path(), "");
}

}  // namespace
}  // namespace flashmoe::cli
