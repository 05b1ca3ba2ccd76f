#include "cli/input.h"

#include <gtest/gtest.h>

#include "base/testing/temporary_folder.h"

namespace flashmoe::cli {
namespace {

using Ids = std::vector<std::int32_t>;

TEST(TokenIds, ComeAsAJsonArrayOrSeparatedByWhiteSpace) {
  EXPECT_EQ(parse_token_ids("[1, 2,\n3]", "ids").value(), Ids({1, 2, 3}));
  EXPECT_EQ(parse_token_ids(" 1\t2\r\n3\n", "ids").value(), Ids({1, 2, 3}));
  EXPECT_EQ(parse_token_ids("2147483647", "ids").value(), Ids({2147483647}));
  EXPECT_TRUE(parse_token_ids("", "ids").value().empty());
  EXPECT_TRUE(parse_token_ids("[]", "ids").value().empty());
}

TEST(TokenIds, AreWholeAndNotNegative) {
  for (const char* text : {"-1", "1.0", "1e30", "2147483648", "1,2", "0x1", "one", "[-1]", "[1.0]",
                           "[1e30]", "[2147483648]", "[\"1\"]", "[[1]]", "[null]", "[1", "[1] 2"}) {
    const Status status = parse_token_ids(text, "the ids").status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << text;
    EXPECT_TRUE(status.message().starts_with("the ids: ")) << status.message();
  }
}

TEST(TokenIds, SendNoEscapeCodesToTheTerminalInMessages) {
  for (const char* text : {"\033[2J", "[\"\033[2J\x7f\"]", "[\"\\u001b[2J\\u007f\"]"}) {
    const std::string message = parse_token_ids(text, "ids").status().message();
    EXPECT_EQ(message.find_first_of("\033\x7f"), std::string::npos) << message;
  }
}

TEST(TextFile, ComesWithoutItsByteOrderMark) {
  const TemporaryFolder folder;
  folder.write("marked.txt", "\xEF\xBB\xBFone\xEF\xBB\xBF");
  EXPECT_EQ(read_text_file((folder / "marked.txt").string()).value(), "one\xEF\xBB\xBF");
  folder.write("short.txt", "\xEF\xBB");
  EXPECT_EQ(read_text_file((folder / "short.txt").string()).value(), "\xEF\xBB");
}

TEST(TextFile, IsReadFromUtf16ByItsMark) {
  const TemporaryFolder folder;
  using namespace std::string_literals;
  const std::string little = "\xFF\xFEh\0\xE9\0\x3D\xD8\x00\xDE"s;
  const std::string big = "\xFE\xFF\0h\0\xE9\xD8\x3D\xDE\x00"s;
  for (const std::string& bytes : {little, big}) {
    folder.write("wide.txt", bytes);
    EXPECT_EQ(read_text_file((folder / "wide.txt").string()).value(), "h\xC3\xA9\xF0\x9F\x98\x80");
    for (const std::size_t cut : {1u, 2u}) {
      folder.write("wide.txt", bytes.substr(0, bytes.size() - cut));
      const Status status = read_text_file((folder / "wide.txt").string()).status();
      EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
      EXPECT_NE(status.message().find("wide.txt: begins with the byte order mark of UTF-16"),
                std::string::npos)
          << status.message();
    }
  }
}

}  // namespace
}  // namespace flashmoe::cli
