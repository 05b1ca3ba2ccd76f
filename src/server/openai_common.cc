#include "server/openai_common.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>

#include "server/dialect.h"

namespace flashmoe::server {
namespace {

Json logprob_entry(const std::string& text, float logprob) {
  Json bytes = Json::array();
  for (const char c : text) bytes.push_back(static_cast<unsigned char>(c));
  return {{"token", text}, {"logprob", logprob}, {"bytes", bytes}};
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

/// The name by which the model knows a function or custom tool that a choice names; none for any
/// other, as one that OpenAI's servers run.
std::optional<std::string> offered_name_of(const Json& choice) {
  if (!choice.is_object()) return std::nullopt;
  const Json type = choice.value("type", Json("function"));
  if (type != "function" && type != "custom") return std::nullopt;
  // Chat completions wrap it once more than responses do.
  const Json inner = choice.value(type.get<std::string>(), choice);
  const Json name = inner.is_object() ? inner.value("name", Json()) : Json();
  const Json name_space = inner.is_object() ? inner.value("namespace", Json()) : Json();
  if (!name.is_string()) return std::nullopt;
  return ClientTools::offered_name(name_space.is_string() ? name_space.get<std::string>() : "",
                                   name.get<std::string>());
}

std::string type_of_choice(const Json& choice) {
  const Json type = choice.value("type", Json());
  return type.is_string() ? type.get<std::string>() : std::string();
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
  Json entry = logprob_entry(token.text, token.picked.logprob);
  entry["top_logprobs"] = Json::array();
  for (const TokenInfo::Alternative& other : token.top) {
    entry["top_logprobs"].push_back(logprob_entry(other.bytes, other.logprob));
  }
  return entry;
}

void read_openai_tools(Fields& fields, ChatRequest& request, ClientTools& known) {
  if (const Json* const tools = fields.array("tools")) {
    for (const Json& tool : *tools) {
      const bool is_custom = member(tool, "type") == "custom";
      const char* const kind = is_custom ? "custom" : "function";
      const bool is_known = member(tool, "type").is_null() || tool["type"] == kind;
      if (!is_known || !member(member(tool, kind), "name").is_string()) {
        return fields.fail("tools", R"(must be {"type": "function", "function": {"name": ...}})");
      }
      if (is_custom) {
        known.add({.name = tool[kind]["name"].get<std::string>(), .is_custom = true});
        request.tools.push_back(
            {{"type", "function"}, {"function", function_of_custom_tool(tool[kind])}});
        continue;
      }
      Json kept = tool;
      // SDKs write null for what was not given.
      for (const char* name : {"description", "parameters", "strict"}) {
        if (member(kept["function"], name).is_null()) kept["function"].erase(name);
      }
      request.tools.push_back(std::move(kept));
    }
  }
  read_tool_choice(fields, {}, request);
}

void read_tool_choice(Fields& fields, const std::vector<std::string>& left_out,
                      ChatRequest& request) {
  request.has_parallel_calls = fields.boolean("parallel_tool_calls").value_or(true);
  const Json* const choice = fields.find("tool_choice");
  if (choice == nullptr || *choice == "auto") return;
  const auto fail = [&] {
    fields.fail("tool_choice",
                R"(must be "none", "auto", "required", a tool by its name, or allowed_tools)");
  };
  ToolChoice& wanted = request.tool_choice;
  if (*choice == "none") {
    wanted.kind = ToolChoice::Kind::kNone;
  } else if (*choice == "required") {
    wanted.kind = ToolChoice::Kind::kRequired;
  } else if (!choice->is_object()) {
    fail();
  } else if (choice->value("type", Json()) == "allowed_tools") {
    // Chat completions wrap it once more than responses do.
    const Json inner = choice->value("allowed_tools", *choice);
    const Json tools = inner.is_object() ? inner.value("tools", Json()) : Json();
    const Json mode = inner.is_object() ? inner.value("mode", Json("auto")) : Json();
    const bool is_contradiction = mode == "required" && tools.is_array() && tools.empty();
    if (!tools.is_array() || is_contradiction || (mode != "auto" && mode != "required")) {
      return fields.fail("tool_choice",
                         R"(allowed_tools has a mode, "auto" or "required", and a list of tools, )"
                         "which only of mode auto may be empty");
    }
    for (const Json& tool : tools) {
      if (const auto name = offered_name_of(tool)) wanted.allowed.push_back(*name);
    }
    if (wanted.allowed.empty()) {
      wanted.kind = ToolChoice::Kind::kNone;  // of what this server can call, nothing is allowed
    } else if (mode == "required") {
      wanted.kind = ToolChoice::Kind::kRequired;
    }
  } else if (const auto name = offered_name_of(*choice)) {
    wanted = {ToolChoice::Kind::kRequired, {*name}};
  } else if (const std::string type = type_of_choice(*choice);
             std::ranges::find(left_out, type) != left_out.end()) {
    wanted = {ToolChoice::Kind::kRequired, {type}};
  } else {
    fail();
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
