#include "server/openai_common.h"

#include <fmt/format.h>

#include "server/dialect.h"

namespace flashmoe::server {
namespace {

Json alternative_json(const TokenInfo::Alternative& token) {
  Json bytes = Json::array();
  for (const char c : token.bytes) bytes.push_back(static_cast<unsigned char>(c));
  return {{"token", token.bytes}, {"logprob", token.logprob}, {"bytes", bytes}};
}

std::string_view openai_error_type(const ApiError& error) {
  switch (error.status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    case 501:
      return "not_supported_error";
    case 503:
      return "unavailable_error";
    default:
      return error.status < 500 ? "invalid_request_error" : "server_error";
  }
}

}  // namespace

std::string openai_error_json(const ApiError& error) {
  Json inner = {{"message", error.message},
                {"type", openai_error_type(error)},
                {"param", error.param.empty() ? Json() : Json(error.param)},
                {"code", error.code.empty() ? Json() : Json(error.code)}};
  if (error.prompt_tokens) inner["n_prompt_tokens"] = *error.prompt_tokens;
  if (error.context) inner["n_ctx"] = *error.context;
  return dump({{"error", inner}});
}

std::string_view openai_finish_reason(EndReason reason) {
  switch (reason) {
    case EndReason::kLength:
      return "length";
    case EndReason::kToolCalls:
      return "tool_calls";
    case EndReason::kStop:
    case EndReason::kStopText:
      break;
  }
  return "stop";
}

Json openai_usage(const ReplyCounts& counts) {
  return {{"prompt_tokens", counts.prompt_tokens},
          {"completion_tokens", counts.completion_tokens},
          {"total_tokens", counts.prompt_tokens + counts.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", counts.cached_tokens}}},
          {"completion_tokens_details", {{"reasoning_tokens", counts.reasoning_tokens}}}};
}

Json openai_logprob(const TokenInfo& token) {
  Json entry = alternative_json(token.picked);
  entry["top_logprobs"] = Json::array();
  for (const TokenInfo::Alternative& other : token.top) {
    entry["top_logprobs"].push_back(alternative_json(other));
  }
  return entry;
}

void read_openai_tools(Fields& fields, ChatRequest& request) {
  if (const Json* const tools = fields.array("tools")) {
    for (const Json& tool : *tools) {
      const bool is_function = tool.is_object() &&
                               (member(tool, "type").is_null() || tool["type"] == "function") &&
                               tool.contains("function") && tool["function"].is_object() &&
                               tool["function"].value("name", Json()).is_string();
      if (!is_function) {
        return fields.fail("tools", R"(must be {"type": "function", "function": {"name": ...}})");
      }
      Json kept = tool;
      // SDKs write null for what was not given.
      for (const char* name : {"description", "parameters", "strict"}) {
        if (member(kept["function"], name).is_null()) kept["function"].erase(name);
      }
      request.tools.push_back(std::move(kept));
    }
  }
  const auto name_of = [](const Json& choice) -> const Json* {
    return choice.contains("function") && choice["function"].is_object() &&
                   choice["function"].contains("name")
               ? &choice["function"]["name"]
               : nullptr;
  };
  read_tool_choice(fields, name_of, request);
}

void read_tool_choice(Fields& fields, const Json* (*name_of)(const Json& choice),
                      ChatRequest& request) {
  request.has_parallel_calls = fields.boolean("parallel_tool_calls").value_or(true);
  const Json* const choice = fields.find("tool_choice");
  if (choice == nullptr || *choice == "auto") return;
  const Json* const name = choice->is_object() ? name_of(*choice) : nullptr;
  if (*choice == "none") {
    request.tool_choice.kind = ToolChoice::Kind::kNone;
  } else if (*choice == "required") {
    request.tool_choice.kind = ToolChoice::Kind::kRequired;
  } else if (name != nullptr && name->is_string()) {
    request.tool_choice = {ToolChoice::Kind::kNamed, *name};
  } else {
    fields.fail("tool_choice", R"(must be "none", "auto", "required" or a function by its name)");
  }
}

bool read_includes_usage(Fields& fields) {
  const Json* const options = fields.object("stream_options");
  return options != nullptr && options->value("include_usage", Json(false)) == true;
}

void read_response_format(Fields& fields, std::string_view name, std::optional<Json>& schema,
                          bool& is_strict) {
  const Json* const format = fields.object(name);
  if (format == nullptr) return;
  const Json type = format->value("type", Json("text"));
  if (type == "text") return;
  if (type == "json_object") {
    // llama-server takes a schema here as well.
    schema = format->value("schema", Json{{"type", "object"}});
    is_strict = false;
    return;
  }
  // Chat completions wrap it once more than responses do.
  const Json inner = format->value("json_schema", *format);
  if (type != "json_schema" || !inner.is_object() || !inner.contains("schema")) {
    return fields.fail(name,
                       R"(must be of type "text", "json_object" or "json_schema" with a schema)");
  }
  schema = inner["schema"];
  is_strict = inner.value("strict", Json()) == true;
}

}  // namespace flashmoe::server
