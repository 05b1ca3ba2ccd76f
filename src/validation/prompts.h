#ifndef FLASHMOE_VALIDATION_PROMPTS_H_
#define FLASHMOE_VALIDATION_PROMPTS_H_

#include <span>
#include <string_view>
#include <vector>

#include "validation/quality.h"

namespace flashmoe {

/// One of the twelve prompts of the origin's report. The texts are ours, on its subjects.
struct ValidationPrompt {
  std::string_view name;
  std::vector<std::string_view> turns;  // several: a conversation in one context
  Script script = Script::kLatin;       // of the last answer
  std::string_view domain;              // the held-out text nearest to it (prompts.json)
  // What the origin measured: predictive and async-delta in tokens/s, and its judgement of both.
  std::string_view origin_predictive;
  std::string_view origin_async;
  std::string_view origin_async_quality;
};

std::span<const ValidationPrompt> validation_prompts();

/// The prompt that every change of subject begins from: A* in Python.
inline constexpr std::size_t kBasePrompt = 2;
/// The prompt that a change of subject goes to, unless said otherwise: a Chinese poem.
inline constexpr std::size_t kPoemPrompt = 7;
inline const ValidationPrompt& poem_prompt() { return validation_prompts()[kPoemPrompt]; }

/// A tutorial, to be continued for long.
inline constexpr std::string_view kLongPrompt =
    "# Building a web application with Python, step by step\n\n"
    "This tutorial shows how to build a small web application. It covers the set-up, the routes, "
    "the templates and the tests.\n\n## Requirements\n\n";

}  // namespace flashmoe

#endif  // FLASHMOE_VALIDATION_PROMPTS_H_
