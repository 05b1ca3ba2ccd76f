// Tools that clients know otherwise than models do, and what they leave in a conversation.
#include "server/client_tools.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/dialect.h"
#include "server/response_items.h"

namespace flashmoe::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Kind = OutputEvent::Kind;

TEST(CustomInput, IsTheSameHoweverItsArgumentsAreCut) {
  const std::string text = "line \"1\"\n\\ tab\t é 春 😀 \x01 end";
  for (const bool is_escaped : {false, true}) {
    // With escapes for everything beyond ASCII, or for nothing that need not have one.
    const std::string arguments = " { \"input\" : " + Json(text).dump(-1, ' ', is_escaped) + "}";
    for (std::size_t size = 1; size < arguments.size(); ++size) {
      CustomInput input;
      std::string streamed;
      for (std::size_t at = 0; at < arguments.size(); at += size) {
        streamed += input.add(std::string_view(arguments).substr(at, size));
      }
      streamed += input.finish();
      ASSERT_EQ(streamed, text) << size;
      ASSERT_EQ(input.text(), text);
    }
  }
}

TEST(CustomInput, MakesTheBestOfArgumentsThatLeaveTheForm) {
  EXPECT_EQ(custom_input_of(R"({"patch": "*** Begin"})"), "*** Begin");
  EXPECT_EQ(custom_input_of(R"({"a": 1, "input": "x"})"), "x");
  EXPECT_EQ(custom_input_of(R"({"a": 1, "b": 2})"), R"({"a": 1, "b": 2})");
  EXPECT_EQ(custom_input_of(R"("plain")"), "plain");
  EXPECT_EQ(custom_input_of(R"({"input": "cut \)"), "cut ");
  EXPECT_EQ(custom_input_of(R"({"input": "\ud83d)"), "");
  EXPECT_EQ(custom_input_of(""), "");
}

ResponseStore& store() {
  static ResponseStore responses(1 << 20);
  return responses;
}
DialectRequest responses_request(const char* body) {
  ApiResult<DialectRequest> request = read_openai_response(Json::parse(body), "model", store());
  EXPECT_TRUE(request.ok()) << (request.ok() ? "" : request.error().message);
  return std::move(*request);
}
DialectRequest chat_request(const char* body) {
  ApiResult<DialectRequest> request = read_openai_chat(Json::parse(body), "model");
  EXPECT_TRUE(request.ok()) << (request.ok() ? "" : request.error().message);
  return std::move(*request);
}
const ChatRequest& chat_of(const DialectRequest& request) {
  return std::get<ChatRequest>(request.wanted);
}
std::vector<std::string> names_of(const Json& tools) {
  std::vector<std::string> names;
  for (const Json& tool : tools) names.push_back(tool["function"]["name"].get<std::string>());
  return names;
}

/// What a writer says of a call of `name` with `arguments`, two bytes at a time.
std::string told(const DialectRequest& request, const char* name, const std::string& arguments) {
  std::string out;
  std::vector<TokenInfo> tokens;
  ReplyWriter& writer = *request.writer;
  writer.begin(1, 0, out);
  writer.event(0, {.kind = Kind::kCallBegin, .text = name}, tokens, out);
  for (std::size_t at = 0; at < arguments.size(); at += 2) {
    writer.event(0, {.kind = Kind::kCallArguments, .text = arguments.substr(at, 2)}, tokens, out);
  }
  writer.event(0, {.kind = Kind::kCallEnd}, tokens, out);
  writer.end_choice(0, {.reason = EndReason::kToolCalls}, tokens, out);
  writer.finish({.prompt_tokens = 1}, out);
  return out;
}

/// The data of a stream's events.
std::vector<Json> events_of(const std::string& stream) {
  std::vector<Json> events;
  for (std::size_t at = 0; (at = stream.find("data: ", at)) != std::string::npos; ++at) {
    const std::size_t end = stream.find('\n', at);
    const Json event = Json::parse(stream.substr(at + 6, end - at - 6), nullptr, false);
    if (!event.is_discarded()) events.push_back(event);
  }
  return events;
}

constexpr const char* kResponseTools = R"("tools": [
    {"type": "custom", "name": "apply_patch", "description": "Edits.",
     "format": {"type": "grammar", "syntax": "lark", "definition": "start: X"}},
    {"type": "web_search"}, {"type": "function", "name": "shell", "parameters": {"type": "object"}},
    {"type": "namespace", "name": "mcp__crm__", "description": "d", "tools": [
      {"type": "function", "name": "find", "parameters": {"type": "object"}},
      {"type": "custom", "name": "ask"}]},
    {"type": "namespace", "name": "docs", "description": "d", "tools": [
      {"type": "function", "name": "find"}]}])";

TEST(Tools, OfANamespaceAndCustomOnesAreOfferedAsFunctions) {
  const std::string body = std::string(R"({"input": "x", )") + kResponseTools + "}";
  const DialectRequest request = responses_request(body.c_str());
  const Json& tools = chat_of(request).tools;
  EXPECT_THAT(names_of(tools),
              ElementsAre("apply_patch", "shell", "mcp__crm__find", "mcp__crm__ask", "docs__find"));
  EXPECT_THAT(tools[0]["function"]["description"].get<std::string>(),
              HasSubstr("lark grammar:\nstart: X"));
  EXPECT_EQ(tools[0]["function"]["parameters"]["required"], Json::array({"input"}));
}

TEST(Tools, AreCalledByTheirClientsNames) {
  const std::string body = std::string(R"({"input": "x", )") + kResponseTools + "}";
  Json whole = Json::parse(
      told(responses_request(body.c_str()), "apply_patch", R"({"input": "*** Begin\n"})"));
  Json call = whole["output"][0];
  EXPECT_EQ(call["type"], "custom_tool_call");
  EXPECT_EQ(call["name"], "apply_patch");
  EXPECT_EQ(call["input"], "*** Begin\n");
  EXPECT_FALSE(call.contains("arguments"));
  call = Json::parse(told(responses_request(body.c_str()), "docs__find", "{}"))["output"][0];
  EXPECT_EQ(call["type"], "function_call");
  EXPECT_EQ(call["name"], "find");
  EXPECT_EQ(call["namespace"], "docs");
  EXPECT_EQ(call["arguments"], "{}");
}

TEST(Tools, ThatAreCustomStreamTheirText) {
  const std::string body = std::string(R"({"input": "x", "stream": true, )") + kResponseTools + "}";
  std::string text;
  std::string done;
  for (const Json& event :
       events_of(told(responses_request(body.c_str()), "apply_patch", R"({"input": "a\nb"})"))) {
    EXPECT_THAT(event["type"].get<std::string>(), testing::Not(HasSubstr("function_call")));
    if (event["type"] == "response.custom_tool_call_input.delta") text += event["delta"];
    if (event["type"] == "response.custom_tool_call_input.done") done = event["input"];
  }
  EXPECT_EQ(text, "a\nb");
  EXPECT_EQ(done, "a\nb");
}

constexpr const char* kChatTools = R"("messages": [{"role": "user", "content": "x"}], "tools": [
    {"type": "custom", "custom": {"name": "patch", "format": {"type": "grammar",
      "grammar": {"syntax": "regex", "definition": "a+"}}}},
    {"type": "function", "function": {"name": "shell"}}])";

TEST(ChatTools, ThatAreCustomAreCalledWithText) {
  const std::string body = std::string("{") + kChatTools + "}";
  const DialectRequest request = chat_request(body.c_str());
  EXPECT_THAT(names_of(chat_of(request).tools), ElementsAre("patch", "shell"));
  const Json whole = Json::parse(told(request, "patch", R"({"input": "aa"})"));
  const Json& call = whole["choices"][0]["message"]["tool_calls"][0];
  EXPECT_EQ(call["type"], "custom");
  EXPECT_EQ(call["custom"], Json({{"name", "patch"}, {"input", "aa"}}));
  const std::string streamed = std::string(R"({"stream": true, )") + kChatTools + "}";
  std::string input;
  for (const Json& event :
       events_of(told(chat_request(streamed.c_str()), "patch", R"({"input": "aa"})"))) {
    const Json& delta = event["choices"][0]["delta"];
    if (delta.contains("tool_calls")) {
      input += delta["tool_calls"][0]["custom"]["input"].get<std::string>();
    }
  }
  EXPECT_EQ(input, "aa");
}

TEST(ChatTools, OfOldAreFunctions) {
  const char* const body = R"({"messages": [{"role": "user", "content": "x"},
      {"role": "assistant", "content": null, "function_call": {"name": "get", "arguments": "{}"}},
      {"role": "function", "name": "get", "content": "18"}],
      "functions": [{"name": "get", "parameters": {"type": "object"}}],
      "function_call": {"name": "get"}})";
  const DialectRequest request = chat_request(body);
  const ChatRequest& chat = chat_of(request);
  EXPECT_THAT(names_of(chat.tools), ElementsAre("get"));
  EXPECT_EQ(chat.messages[1]["tool_calls"][0]["function"]["name"], "get");
  EXPECT_EQ(chat.messages[2]["role"], "tool");
  EXPECT_EQ(chat.tool_choice.kind, ToolChoice::Kind::kRequired);
  EXPECT_FALSE(chat.has_parallel_calls);
  const Json choice = Json::parse(told(request, "get", R"({"a": 1})"))["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "function_call");
  EXPECT_EQ(choice["message"]["function_call"],
            Json({{"name", "get"}, {"arguments", R"({"a": 1})"}}));
  EXPECT_FALSE(choice["message"].contains("tool_calls"));
}

TEST(ToolChoices, NameFunctionsCustomToolsAndLists) {
  const auto choice_of = [](const char* tools, const std::string& choice) {
    const std::string body =
        std::string("{") + tools + R"(, "input": "x", "tool_choice": )" + choice + "}";
    return chat_of(tools == kChatTools ? chat_request(body.c_str())
                                       : responses_request(body.c_str()))
        .tool_choice;
  };
  using Choice = ToolChoice::Kind;
  ToolChoice choice = choice_of(kChatTools, R"({"type": "custom", "custom": {"name": "patch"}})");
  EXPECT_EQ(choice.kind, Choice::kRequired);
  EXPECT_THAT(choice.allowed, ElementsAre("patch"));
  choice = choice_of(kResponseTools, R"({"type": "custom", "name": "apply_patch"})");
  EXPECT_THAT(choice.allowed, ElementsAre("apply_patch"));
  choice = choice_of(kChatTools, R"({"type": "allowed_tools", "allowed_tools": {"mode": "auto",
      "tools": [{"type": "function", "function": {"name": "shell"}}]}})");
  EXPECT_EQ(choice.kind, Choice::kAuto);
  EXPECT_THAT(choice.allowed, ElementsAre("shell"));
  choice = choice_of(kResponseTools, R"({"type": "allowed_tools", "mode": "required", "tools": [
      {"type": "function", "name": "find", "namespace": "docs"}, {"type": "web_search"}]})");
  EXPECT_EQ(choice.kind, Choice::kRequired);
  EXPECT_THAT(choice.allowed, ElementsAre("docs__find"));
  choice = choice_of(kResponseTools,
                     R"({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp"}]})");
  EXPECT_EQ(choice.kind, Choice::kNone);
}

TEST(ToolChoices, OfNoToolAtAllAllowNone) {
  for (const char* choice : {R"({"type": "allowed_tools", "mode": "auto", "tools": []})",
                             R"({"type": "allowed_tools", "allowed_tools": {"tools": []}})"}) {
    const std::string body =
        std::string("{") + kResponseTools + R"(, "input": "x", "tool_choice": )" + choice + "}";
    EXPECT_EQ(chat_of(responses_request(body.c_str())).tool_choice.kind, ToolChoice::Kind::kNone);
  }
  const std::string body = std::string("{") + kResponseTools + R"(, "input": "x", "tool_choice":
      {"type": "allowed_tools", "mode": "required", "tools": []}})";
  const auto refused = read_openai_response(Json::parse(body), "model", store());
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, HasSubstr("allowed_tools"));
}

TEST(ToolChoices, OfWhatAProviderRunsAreForNone) {
  const auto expect_none = [](const DialectRequest& request) {
    EXPECT_EQ(chat_of(request).tool_choice.kind, ToolChoice::Kind::kNone);
    EXPECT_THAT(chat_of(request).tool_choice.allowed, ElementsAre());
    EXPECT_THAT(request.notes, ElementsAre(HasSubstr("web_search")));
  };
  for (const char* choice : {R"("required")", R"({"type": "web_search"})"}) {
    expect_none(responses_request(
        fmt::format(R"({{"input": "x", "tools": [{{"type": "web_search"}}], "tool_choice": {}}})",
                    choice)
            .c_str()));
  }
  for (const char* choice : {R"({"type": "any"})", R"({"type": "tool", "name": "web_search"})"}) {
    const Json body = Json::parse(fmt::format(R"({{"max_tokens": 1, "messages": [
        {{"role": "user", "content": "x"}}], "tool_choice": {},
        "tools": [{{"type": "web_search_20250305", "name": "web_search"}}]}})",
                                              choice));
    ApiResult<DialectRequest> request = read_anthropic_messages(body, "model");
    ASSERT_TRUE(request.ok()) << request.error().message;
    expect_none(*request);
  }
  // Where there are others, these can be called.
  const DialectRequest mixed = responses_request(R"({"input": "x", "tool_choice": "required",
      "tools": [{"type": "web_search"}, {"type": "function", "name": "f"}]})");
  EXPECT_EQ(chat_of(mixed).tool_choice.kind, ToolChoice::Kind::kRequired);
  EXPECT_THAT(mixed.notes, ElementsAre());
  // What is nowhere is a mistake.
  const auto unknown = read_openai_response(
      Json::parse(R"({"input": "x", "tool_choice": {"type": "web_search"}})"), "model", store());
  EXPECT_FALSE(unknown.ok());
}

TEST(ResponseItems, TakeResultsOfAnyForm) {
  const auto result_of = [](const char* output) {
    const std::string body = fmt::format(R"({{"input": [{{"role": "user", "content": "q"}},
        {{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{{}}"}},
        {{"type": "function_call_output", "call_id": "c", "output": {}}}]}})",
                                         output);
    return chat_of(responses_request(body.c_str())).messages.back()["content"].get<std::string>();
  };
  EXPECT_EQ(result_of(R"("plain")"), "plain");
  EXPECT_EQ(result_of(R"([{"type": "input_text", "text": "a"}, {"type": "input_text",
      "text": "b"}])"),
            "a\nb");
  EXPECT_EQ(result_of(R"([{"text": "a"}, "b"])"), "a\nb");
  EXPECT_EQ(result_of(R"([{"stdout": "o", "stderr": ""}, {"type": "input_image"}])"),
            "o\n[image omitted]");
  EXPECT_EQ(result_of(R"({"rain": [1, 2.5], "type": "weather"})"),
            R"({"rain":[1,2.5],"type":"weather"})");
  EXPECT_EQ(result_of(R"([{"rain": 1}, 3])"), "{\"rain\":1}\n3");
  EXPECT_EQ(result_of("42"), "42");
  EXPECT_EQ(result_of("[]"), "");
  EXPECT_EQ(result_of("null"), "");
}

TEST(ResponseItems, OfCodexAreRead) {
  const DialectRequest request = responses_request(R"({"input": [
      {"type": "compaction", "encrypted_content": "x"},
      {"role": "user", "content": "q"},
      {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"},
      {"type": "web_search_call", "id": "ws", "action": {"type": "search", "query": "rivers"}},
      {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]},
      {"type": "custom_tool_call", "call_id": "c1", "name": "apply_patch", "input": "p"},
      {"type": "custom_tool_call_output", "call_id": "c1", "output": "done"},
      {"type": "local_shell_call", "call_id": "c2", "action": {"type": "exec",
        "command": ["ls"]}},
      {"type": "local_shell_call_output", "id": "c2", "output": "a.txt"},
      {"type": "shell_call", "call_id": "c3", "action": {"commands": ["ls"]}},
      {"type": "shell_call_output", "call_id": "c3", "output": [{"stdout": "o", "stderr": "e"}]},
      {"type": "mcp_call", "id": "m", "name": "find", "server_label": "s", "arguments": "{}",
        "output": "found", "error": null},
      {"type": "function_call", "call_id": "c4", "name": "look", "namespace": "docs",
        "arguments": "{}"},
      {"type": "function_call_output", "call_id": "c4", "output": [
        {"type": "input_image", "image_url": "data:x"}]},
      {"type": "mcp_list_tools", "server_label": "s", "tools": []},
      {"type": "reasoning", "summary": [], "encrypted_content": "flash-moe:Hm."},
      {"type": "item_reference", "id": "gone"},
      {"type": "of_tomorrow"}]})");
  const Json& messages = chat_of(request).messages;
  std::vector<std::string> read;
  for (const Json& message : messages) {
    std::string line = fmt::format("{}: {}", message["role"].get<std::string>(),
                                   message["content"].get<std::string>());
    if (message.contains("tool_calls")) {
      const Json& function = message["tool_calls"][0]["function"];
      line += fmt::format(" {} {}", dump(function["name"]), dump(function["arguments"]));
    }
    read.push_back(line);
  }
  EXPECT_THAT(
      read,
      ElementsAre("user: [compaction omitted]", "user: q",
                  "assistant: [web_search_call omitted: rivers]\na \"apply_patch\" "
                  R"("{\"input\": \"p\"}")",
                  "tool: done", R"(assistant:  "local_shell" {"type":"exec","command":["ls"]})",
                  "tool: a.txt", R"(assistant:  "shell" {"commands":["ls"]})", "tool: o\ne",
                  R"(assistant:  "find" "{}")", "tool: found", R"(assistant:  "docs__look" "{}")",
                  "tool: [image omitted]", "assistant: [mcp_list_tools omitted]",
                  "assistant: [of_tomorrow omitted]"));
  EXPECT_EQ(messages.back()["reasoning_content"], "Hm.");
}

TEST(Responses, GoOnFromOneAnother) {
  const auto ask = [](const std::string& body) {
    const DialectRequest request = responses_request(body.c_str());
    const std::string whole = told(request, "shell", R"({"a": 1})");
    return std::pair(Json::parse(whole)["id"].get<std::string>(), chat_of(request).messages);
  };
  const auto [first, one] = ask(R"({"instructions": "Old.", "input": "q1"})");
  const auto [second, two] =
      ask(R"({"instructions": "New.", "previous_response_id": ")" + first +
          R"(", "input": [{"type": "function_call_output", "call_id": "c", "output": "r"}]})");
  ASSERT_EQ(two.size(), 4u) << two;
  EXPECT_EQ(two[0]["content"], "New.");
  EXPECT_EQ(two[1]["content"], "q1");
  EXPECT_EQ(two[2]["tool_calls"][0]["function"]["name"], "shell");
  EXPECT_EQ(two[3]["content"], "r");
  const auto [third, three] =
      ask(R"({"store": false, "previous_response_id": ")" + second + R"(", "input": "q3"})");
  EXPECT_EQ(three.size(), 5u) << three;  // without the instructions of others
  const ApiResult<DialectRequest> unknown =
      read_openai_response({{"previous_response_id", third}, {"input", "x"}}, "model", store());
  ASSERT_FALSE(unknown.ok()) << "store: false was not heeded";
  EXPECT_EQ(unknown.error().status, 404u);
  EXPECT_EQ(unknown.error().code, "previous_response_not_found");
  // An item may be named instead of sent.
  const Json kept = Json::parse(*store().get(first));
  const Json reference = {{"type", "item_reference"}, {"id", kept["output"][0]["id"]}};
  ApiResult<DialectRequest> referring = read_openai_response(
      {{"input", Json::array({{{"role", "user"}, {"content", "q"}}, reference})}}, "model",
      store());
  ASSERT_TRUE(referring.ok());
  EXPECT_EQ(chat_of(*referring).messages[1]["tool_calls"][0]["function"]["name"], "shell");
  EXPECT_TRUE(store().erase(first).ok());
  EXPECT_FALSE(store().get(first).ok());
  EXPECT_FALSE(store().conversation(second).ok());
}

TEST(Responses, NeedSomethingToAnswer) {
  EXPECT_TRUE(read_openai_response({{"input", Json::array()}, {"instructions", "Tell a joke."}},
                                   "model", store())
                  .ok());
  const ApiResult<DialectRequest> nothing =
      read_openai_response({{"input", Json::array()}}, "model", store());
  ASSERT_FALSE(nothing.ok());
  EXPECT_EQ(nothing.error().param, "input");
  EXPECT_FALSE(
      read_openai_response({{"input", "x"}, {"conversation", "conv_1"}}, "model", store()).ok());
}

TEST(ResponseStore, LetsGoOfWhatWasUsedLongestAgoButNeverOfWhatOthersGoOnFrom) {
  ResponseStore responses(4000);
  const auto put = [&](const char* id, const char* previous) {
    responses.put({.id = id,
                   .previous_id = previous,
                   .messages = Json::array({{{"content", std::string(300, 'x')}}}),
                   .whole = {{"output", Json::array()}}});
  };
  put("a", "");
  put("b", "a");
  put("other", "");
  put("c", "b");
  put("d", "");
  EXPECT_FALSE(responses.get("other").ok());
  EXPECT_EQ(responses.conversation("c")->size(), 3u);
  put("e", "");  // "d" is now the oldest
  put("f", "");
  EXPECT_LE(responses.bytes(), 4000u);
  EXPECT_FALSE(responses.get("d").ok());
  EXPECT_FALSE(responses.get("c").ok());
  EXPECT_EQ(responses.conversation("b")->size(), 2u);
  responses.put({.id = "large",
                 .messages = Json::array({std::string(5000, 'x')}),
                 .whole = {{"output", Json::array()}}});
  EXPECT_FALSE(responses.get("large").ok());
  EXPECT_TRUE(responses.conversation("b").ok());
}

}  // namespace
}  // namespace flashmoe::server
