#ifndef FLASHMOE_SERVER_OPENAI_COMMON_H_
#define FLASHMOE_SERVER_OPENAI_COMMON_H_

#include <string>
#include <vector>

#include "server/chat_request.h"
#include "server/client_tools.h"
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

/// tool_choice, in the forms of chat completions and of responses, and parallel_tool_calls: a mode,
/// a function or a custom tool by its name, or a list of allowed ones. `left_out`: types of tools
/// that a choice may name though they are not in the request.
void read_tool_choice(Fields& fields, const std::vector<std::string>& left_out,
                      ChatRequest& request);

/// tools, tool_choice and parallel_tool_calls in the form of chat completions. `known`: gets the
/// custom tools.
void read_openai_tools(Fields& fields, ChatRequest& request, ClientTools& known);

/// {"type": "text" | "json_object" | "json_schema", ...} of the field `name`.
void read_response_format(Fields& fields, std::string_view name, std::optional<Json>& schema,
                          bool& is_strict);

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_OPENAI_COMMON_H_
