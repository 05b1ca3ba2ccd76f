#include "server/logprob_lists.h"

#include <gtest/gtest.h>

#include <iterator>
#include <random>

namespace flashmoe::server {
namespace {

TokenInfo token_of(const std::string& bytes, float logprob) {
  return {.picked = {.id = 1, .bytes = bytes, .logprob = logprob}, .top = {}, .text = bytes};
}

std::string take(LogprobLists& lists) {
  std::string object;
  lists.append(nullptr, object);
  lists.clear();
  return object;
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
  EXPECT_EQ(Json::parse(take(lists)), Json::parse(R"({
      "tokens": ["Grü", "ße ", "bytes:\\xe6\\x98", "bytes:\\xa5", "!"],
      "token_logprobs": [null, -0.5, -1.0, -2.0, -0.25],
      "top_logprobs": [null, {"ße ": -0.5}, {"bytes:\\xe6\\x98": -1.0}, {"bytes:\\xa5": -2.0},
                       {"!": -0.25}],
      "text_offset": [0, 3, 6, 6, 7]})"));
}

std::u32string characters_of_json(const std::string& text) {
  const std::string shown = Json::parse(dump(Json(text))).get<std::string>();
  std::u32string characters;
  for (const char c : shown) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xC0) == 0x80) {
      characters.back() = (characters.back() << 6) | (byte & 0x3F);
    } else {
      characters += byte < 0x80   ? byte
                    : byte < 0xE0 ? byte & 0x1F
                    : byte < 0xF0 ? byte & 0xF
                                  : byte & 7;
    }
  }
  return characters;
}

TEST(LogprobLists, PlaceTokensInTheTextThatIsGivenWhateverTheirBytes) {
  const std::uint32_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const std::string pieces[] = {"a",        "\xC3\xA9", "\xE6\x98\xA5", "\xF0\x9F\x91\x8D",
                                "\xA5",     "\x98\xA5", "\xE6",         "\xE6\x98",
                                "\xF0\x9F", "\xC0\xAF", "\xE0\x80",     "\xED\xA0\x80",
                                "\xF4\x90", "\xF5\x80", "\xFF"};
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (std::size_t left = random() % 12; left > 0; --left) {
      text += random() % 4 == 0 ? std::string(1, static_cast<char>(random() % 256))
                                : pieces[random() % std::size(pieces)];
    }
    LogprobLists lists;
    std::vector<std::size_t> expected;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t size = random() % 4;  // tokens without bytes as well
      const std::string token = text.substr(at, size);
      if (!token.empty()) {
        expected.push_back(characters_of_json(text.substr(0, at + 1)).size() - 1);
      } else {
        expected.push_back(characters_of_json(text.substr(0, at)).size());
      }
      lists.add(token_of(token, -1));
      at += token.size();
    }
    const Json all = Json::parse(take(lists));
    ASSERT_EQ(all["text_offset"], Json(expected))
        << Json(text).dump(-1, ' ', true, Json::error_handler_t::replace);
    const std::u32string shown = characters_of_json(text);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const std::string name = all["tokens"][i].get<std::string>();
      if (name.starts_with("bytes:")) continue;
      const std::u32string token = characters_of_json(name);
      ASSERT_EQ(shown.substr(expected[i], token.size()), token);
    }
  }
}

TEST(LogprobLists, BeginAnAnswerWithACharacterOfItsOwn) {
  LogprobLists lists;
  TokenInfo prompt = token_of("a\xE6", -1);
  prompt.is_of_prompt = true;
  lists.add(prompt);
  lists.add(token_of("\x98", -1));
  lists.add(token_of("b", -1));
  EXPECT_EQ(Json::parse(take(lists))["text_offset"], Json::parse("[0, 2, 3]"));
}

TEST(LogprobLists, GoOnWhereTheLastOnesEnded) {
  LogprobLists lists;
  lists.add(token_of("ab", -1));
  static_cast<void>(take(lists));
  lists.add(token_of("c", -1));
  const Json next = Json::parse(take(lists));
  EXPECT_EQ(next["tokens"], Json::array({"c"}));
  EXPECT_EQ(next["text_offset"], Json::array({2}));
  EXPECT_EQ(Json::parse(take(lists))["tokens"], Json::array());
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
  const Json all = Json::parse(take(lists));
  EXPECT_EQ(all["top_logprobs"],
            Json::parse(R"([{"horse": -0.5, "zebra": -9.0}, {"end.": -0.5}])"));
  EXPECT_EQ(all["tokens"], Json::parse(R"(["zebra", "end"])"));
}

}  // namespace
}  // namespace flashmoe::server
