#ifndef FLASHMOE_SERVER_TEMPLATE_PROBE_H_
#define FLASHMOE_SERVER_TEMPLATE_PROBE_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "chat/call_syntax.h"
#include "flashmoe/engine.h"

namespace flashmoe::server {

// What a model's chat template does, found out by rendering small conversations.

/// How a template writes a call that is in the conversation, which is how the model writes its own.
ToolSyntax find_tool_syntax(const Engine& engine);

/// Whether a prompt leaves the model within a thought.
bool ends_in_thought(std::string_view prompt);

/// Whether the model thinks before it answers, or can be told not to.
bool can_think(const Engine& engine);

/// Whether a system message in mid-conversation is rendered where it stands. Templates that know
/// only a leading one drop it, move it or fail.
bool keeps_system_in_place(const Engine& engine);

/// The control token that begins a turn, as <|im_start|>: an edit of a conversation leaves what
/// comes before one of these as it was. None where the template marks turns by text alone.
std::optional<std::int32_t> find_turn_mark(const Engine& engine);

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_TEMPLATE_PROBE_H_
