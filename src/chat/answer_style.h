#ifndef FLASHMOE_CHAT_ANSWER_STYLE_H_
#define FLASHMOE_CHAT_ANSWER_STYLE_H_

#include <cstdint>
#include <string_view>

namespace flashmoe {

/// What an answer's thoughts and its text stand between.
enum class AnswerStyle : std::uint8_t {
  kThink,    // <think>THOUGHTS</think>TEXT
  kChannel,  // <|channel>thought THOUGHTS <channel|>TEXT (Gemma 4)
  kHarmony,  // <|channel|>analysis<|message|>THOUGHTS<|end|><|start|>assistant<|channel|>final...
};

/// What thoughts stand between.
struct ThoughtMarks {
  std::string_view open;
  std::string_view close;

  /// Whether one of them is made of `text`, among others.
  bool spell(std::string_view text) const {
    return !text.empty() && (open.find(text) != std::string_view::npos ||
                             close.find(text) != std::string_view::npos);
  }
};

/// Of kHarmony, where thoughts are messages of their own, those of such a message.
constexpr ThoughtMarks thought_marks(AnswerStyle style) {
  switch (style) {
    case AnswerStyle::kChannel:
      return {.open = "<|channel>thought", .close = "<channel|>"};
    case AnswerStyle::kHarmony:
      return {.open = "<|channel|>analysis<|message|>", .close = "<|end|>"};
    case AnswerStyle::kThink:
      break;
  }
  return {.open = "<think>", .close = "</think>"};
}

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_ANSWER_STYLE_H_
