#include "server/logprob_lists.h"

#include <gtest/gtest.h>

namespace flashmoe::server {
namespace {

TokenInfo token_of(const std::string& bytes, float logprob) {
  return {.picked = {.id = 1, .bytes = bytes, .logprob = logprob}, .top = {}, .text = bytes};
}

TEST(LogprobLists, PlaceTokensByCharacters) {
  LogprobLists lists;
  TokenInfo first = token_of("Grü", 0);
  first.is_first = true;
  lists.add(first);
  lists.add(token_of("ße ", -0.5f));
  lists.add(token_of("\xE6\x98", -1));  // a character in two tokens
  lists.add(token_of("\xA5", -2));
  lists.add(token_of("!", -0.25f));
  EXPECT_EQ(Json::parse(lists.take()), Json::parse(R"({
      "tokens": ["Grü", "ße ", "bytes:\\xe6\\x98", "bytes:\\xa5", "!"],
      "token_logprobs": [null, -0.5, -1.0, -2.0, -0.25],
      "top_logprobs": [null, {"ße ": -0.5}, {"bytes:\\xe6\\x98": -1.0}, {"bytes:\\xa5": -2.0},
                       {"!": -0.25}],
      "text_offset": [0, 3, 6, 6, 7]})"));
}

TEST(LogprobLists, GoOnWhereTheLastOnesEnded) {
  LogprobLists lists;
  lists.add(token_of("ab", -1));
  static_cast<void>(lists.take());
  lists.add(token_of("c", -1));
  const Json next = Json::parse(lists.take());
  EXPECT_EQ(next["tokens"], Json::array({"c"}));
  EXPECT_EQ(next["text_offset"], Json::array({2}));
  EXPECT_EQ(Json::parse(lists.take())["tokens"], Json::array());
}

TEST(LogprobLists, NameTheTokenItselfAmongTheLikeliest) {
  LogprobLists lists;
  TokenInfo unlikely = token_of("zebra", -9);
  unlikely.top = {{.id = 2, .bytes = "horse", .logprob = -0.5f}};
  lists.add(unlikely);
  TokenInfo cut = token_of("end.", -0.5f);
  cut.text = "end";  // the full stop was a stop string
  cut.top = {{.id = 1, .bytes = "end.", .logprob = -0.5f}};
  lists.add(cut);
  const Json all = Json::parse(lists.take());
  EXPECT_EQ(all["top_logprobs"],
            Json::parse(R"([{"horse": -0.5, "zebra": -9.0}, {"end.": -0.5}])"));
  EXPECT_EQ(all["tokens"], Json::parse(R"(["zebra", "end"])"));
}

}  // namespace
}  // namespace flashmoe::server
