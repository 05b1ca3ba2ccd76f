#ifndef FLASHMOE_SERVER_OPENAI_COMMON_H_
#define FLASHMOE_SERVER_OPENAI_COMMON_H_

#include <string>
#include <vector>

#include "server/chat_request.h"
#include "server/reply_writer.h"

namespace flashmoe::server {

/// "stop", "length", "tool_calls".
std::string_view openai_finish_reason(EndReason reason);

/// prompt_tokens, completion_tokens, total_tokens and their details.
Json openai_usage(const ReplyCounts& counts);

/// An entry of logprobs.content.
Json openai_logprob(const TokenInfo& token);

/// stream_options.include_usage.
bool read_includes_usage(Fields& fields);

/// tool_choice and parallel_tool_calls. `name_of` finds the function's name in a choice that is an
/// object; null: it has none.
void read_tool_choice(Fields& fields, const Json* (*name_of)(const Json& choice),
                      ChatRequest& request);

/// tools, tool_choice and parallel_tool_calls in the form of chat completions.
void read_openai_tools(Fields& fields, ChatRequest& request);

/// {"type": "text" | "json_object" | "json_schema", ...} of the field `name`.
void read_response_format(Fields& fields, std::string_view name, std::optional<Json>& schema,
                          bool& is_strict);

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_OPENAI_COMMON_H_
