#ifndef FLASHMOE_SERVER_TEMPLATE_PROBE_H_
#define FLASHMOE_SERVER_TEMPLATE_PROBE_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "chat/answer_style.h"
#include "chat/call_syntax.h"
#include "chat/output_parser.h"
#include "flashmoe/engine.h"

namespace flashmoe::server {

// What a model's chat template does, found out by rendering small conversations.

/// How a template writes a call that is in the conversation, which is how the model writes its own.
ToolSyntax find_tool_syntax(const Engine& engine);

/// What a template puts around an answer, which is what the model writes there itself.
AnswerStyle find_answer_style(const Engine& engine);

/// How to read what the model answers to a prompt, calls aside.
OutputParser::Options find_opening(const ChatPrompt& prompt, AnswerStyle style);

/// The special tokens that are marks of thoughts, and of calls (`calls` null: of none), but for
/// those that end an answer.
std::vector<std::int32_t> find_markup(const Engine& engine, AnswerStyle style,
                                      const CallSyntax* calls);

/// Whether the model thinks before it answers, or can be told to or not to.
bool can_think(const Engine& engine, AnswerStyle style);

/// What a template wants of messages with calls, beside what it understands.
struct CallTurnTraits {
  bool needs_null_content = false;  // leaves the calls out beside a text that is empty
  bool reads_thinking = false;      // thoughts are in `thinking`, not in `reasoning_content`
};
CallTurnTraits find_call_turn_traits(const Engine& engine);

/// Whether a system message in mid-conversation is rendered where it stands. Templates that know
/// only a leading one drop it, move it or fail.
bool keeps_system_in_place(const Engine& engine);

/// The control token that begins a turn, as <|im_start|>: an edit of a conversation leaves what
/// comes before one of these as it was. None where the template marks turns by text alone.
std::optional<std::int32_t> find_turn_mark(const Engine& engine);

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_TEMPLATE_PROBE_H_
