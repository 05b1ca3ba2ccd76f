#include "cli/shown_answer.h"

#include <gtest/gtest.h>

namespace flashmoe::cli {
namespace {

constexpr std::string_view kHarmonyAnswer =
    "<|channel|>analysis<|message|>Add.<|end|><|start|>assistant<|channel|>analysis<|message|>"
    "Carry.<|end|><|start|>assistant<|channel|>final<|message|>It is 4.";
constexpr std::string_view kChannelAnswer = "<|channel>thought\nAdd.\n<channel|>It is 4.";
constexpr std::string_view kThinkAnswer = "<think>\nAdd.\n</think>\n\nIt is 4.\n";

/// What is shown of `raw` as it comes in pieces of `size` bytes.
std::string shown(ShownAnswer& answer, std::string_view raw, std::size_t size) {
  std::string text;
  for (std::size_t at = 0; at < raw.size(); at += size) text += answer.push(raw.substr(at, size));
  return text + answer.finish(/*is_cut=*/false);
}

TEST(ShownAnswer, DimsThoughtsOfEveryStyleInATerminal) {
  const struct {
    OutputParser::Options parsing;
    std::string_view raw;
    std::string_view expected;
  } cases[] = {{{.style = AnswerStyle::kHarmony, .opening = "assistant"},
                kHarmonyAnswer,
                "\033[2mAdd.\n\nCarry.\033[0m\n\nIt is 4."},
               {{.style = AnswerStyle::kChannel}, kChannelAnswer, "\033[2mAdd.\033[0m\n\nIt is 4."},
               {{.style = AnswerStyle::kThink}, kThinkAnswer, "\033[2mAdd.\033[0m\n\nIt is 4.\n"},
               {{.style = AnswerStyle::kThink, .begins_in_reasoning = true},
                "Add.\n</think>\nIt is 4.",
                "\033[2mAdd.\033[0m\n\nIt is 4."},
               {{.style = AnswerStyle::kThink}, "It is 4.\n ", "It is 4.\n "},
               {{.style = AnswerStyle::kHarmony, .opening = "assistant"},
                "<|channel|>final<|message|>It is 4.",
                "It is 4."},
               {{.style = AnswerStyle::kHarmony,
                 .begins_in_reasoning = true,
                 .opening = "assistant<|channel|>analysis<|message|>"},
                "Add",
                "\033[2mAdd\033[0m"}};
  for (const auto& [parsing, raw, expected] : cases) {
    for (const std::size_t size : {std::size_t{1}, std::size_t{7}, raw.size()}) {
      ShownAnswer answer(parsing, /*is_dim=*/true);
      EXPECT_EQ(shown(answer, raw, size), expected) << raw;
    }
  }
}

TEST(ShownAnswer, HasOneWayOfThoughtsForScripts) {
  ShownAnswer harmony({.style = AnswerStyle::kHarmony, .opening = "assistant"}, false);
  EXPECT_EQ(shown(harmony, kHarmonyAnswer, 3), "<think>\nAdd.\n\nCarry.\n</think>\n\nIt is 4.");
  ShownAnswer channel({.style = AnswerStyle::kChannel}, false);
  EXPECT_EQ(shown(channel, kChannelAnswer, 3), "<think>\nAdd.\n</think>\n\nIt is 4.");
  ShownAnswer cut({.style = AnswerStyle::kHarmony, .opening = "assistant"}, false);
  EXPECT_EQ(shown(cut, kHarmonyAnswer.substr(0, 33), 5), "<think>\nAdd");
  // What has these marks is not touched.
  ShownAnswer think({.style = AnswerStyle::kThink}, false);
  EXPECT_EQ(shown(think, kThinkAnswer, 3), kThinkAnswer);
}

TEST(ShownAnswer, KeepsForTheConversationWhatItsTemplateTakes) {
  for (const bool is_dim : {false, true}) {
    ShownAnswer harmony({.style = AnswerStyle::kHarmony, .opening = "assistant"}, is_dim);
    shown(harmony, kHarmonyAnswer, 3);
    EXPECT_EQ(harmony.text(), "It is 4.");
    EXPECT_EQ(harmony.thoughts(), "Add.\n\nCarry.");
    ShownAnswer think({.style = AnswerStyle::kThink}, is_dim);
    shown(think, kThinkAnswer, 3);
    EXPECT_EQ(think.text(), kThinkAnswer);
    EXPECT_EQ(think.thoughts(), "");
  }
}

}  // namespace
}  // namespace flashmoe::cli
