// What each dialect makes of bodies: one form for all, and errors that name the field.
#include "server/dialect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/openai_common.h"

namespace flashmoe::server {
namespace {

using ::testing::HasSubstr;
using Reader = ApiResult<DialectRequest> (*)(const Json&, const std::string&);

ChatRequest chat_of(Reader read, const char* body) {
  ApiResult<DialectRequest> request = read(Json::parse(body), "model");
  EXPECT_TRUE(request.ok()) << (request.ok() ? "" : request.error().message);
  return std::get<ChatRequest>(request->wanted);
}

std::string refusal(Reader read, const char* body) {
  const ApiResult<DialectRequest> request = read(Json::parse(body), "model");
  return request.ok() ? "" : request.error().message;
}

TEST(Dialects, BringTheSameConversationToTheSameForm) {
  const ChatRequest openai = chat_of(read_openai_chat, R"({"messages": [
      {"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Weather?"},
      {"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function",
        "function": {"name": "get", "arguments": "{\"city\": \"Rome\"}"}}]},
      {"role": "tool", "tool_call_id": "c1", "content": "18"}],
      "tools": [{"type": "function", "function": {"name": "get", "description": "d",
                 "parameters": {"type": "object"}}}]})");
  const ChatRequest anthropic = chat_of(read_anthropic_messages, R"({"max_tokens": 9,
      "system": [{"type": "text", "text": "Be brief."}], "messages": [
      {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
      {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "get",
        "input": {"city": "Rome"}}]},
      {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1",
        "content": [{"type": "text", "text": "18"}]}]}],
      "tools": [{"name": "get", "description": "d", "input_schema": {"type": "object"}}]})");
  const ChatRequest responses = chat_of(read_openai_response, R"({"instructions": "Be brief.",
      "input": [{"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
      {"type": "function_call", "call_id": "c1", "name": "get", "arguments": "{\"city\": \"Rome\"}"},
      {"type": "function_call_output", "call_id": "c1", "output": "18"}],
      "tools": [{"type": "function", "name": "get", "description": "d",
                 "parameters": {"type": "object"}}]})");
  EXPECT_EQ(openai.tools, anthropic.tools);
  EXPECT_EQ(openai.tools, responses.tools);
  for (const ChatRequest* other : {&anthropic, &responses}) {
    ASSERT_EQ(other->messages.size(), openai.messages.size());
    for (std::size_t i = 0; i < openai.messages.size(); ++i) {
      EXPECT_EQ(other->messages[i]["role"], openai.messages[i]["role"]);
      EXPECT_EQ(other->messages[i]["content"], openai.messages[i]["content"]);
    }
  }
}

TEST(Dialects, LeadWithOneSystemMessage) {
  const ChatRequest request = chat_of(read_openai_chat, R"({"messages": [
      {"role": "system", "content": "One."}, {"role": "user", "content": "Hello"},
      {"role": "assistant", "content": ""}, {"role": "system", "content": "Two."},
      {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]})");
  ASSERT_EQ(request.messages.size(), 3u);
  EXPECT_EQ(request.messages[0]["content"], "One.\n\nTwo.");
  EXPECT_EQ(request.messages[2]["content"], "a\nb");
}

TEST(Dialects, ReadSettingsUnderTheirNames) {
  const ChatRequest openai = chat_of(read_openai_chat, R"({"messages": [{"role": "user",
      "content": "x"}], "max_tokens": 5, "max_completion_tokens": 7, "stop": "s", "seed": 3,
      "top_k": -1, "temperature": null, "unknown": {"field": 1}})");
  EXPECT_EQ(openai.settings.max_tokens, 7u);
  EXPECT_EQ(openai.settings.stop, std::vector<std::string>{"s"});
  EXPECT_EQ(openai.settings.seed, 3u);
  EXPECT_EQ(openai.settings.top_k, 0u);
  EXPECT_FALSE(openai.settings.temperature);
  const ChatRequest ollama = chat_of(read_ollama_chat, R"({"messages": [{"role": "user",
      "content": "x"}], "options": {"num_predict": 9, "temperature": 0.5}, "format": "json"})");
  EXPECT_EQ(ollama.settings.max_tokens, 9u);
  EXPECT_EQ(ollama.settings.temperature, 0.5);
  EXPECT_TRUE(ollama.answer_schema);
  EXPECT_FALSE(chat_of(read_ollama_chat, R"({"messages": [{"role": "user", "content": "x"}],
      "options": {"num_predict": -1}})")
                   .settings.max_tokens);
}

TEST(Dialects, NameTheFieldThatIsWrong) {
  EXPECT_THAT(refusal(read_openai_chat, R"({"messages": [{"role": "user", "content": "x"},
      {"role": "user", "content": [{"type": "image_url"}]}]})"),
              HasSubstr("messages[1].content"));
  EXPECT_THAT(refusal(read_openai_chat, R"({"messages": [{"role": "user", "content": "x"}],
      "top_p": 2})"),
              HasSubstr("top_p"));
  EXPECT_THAT(refusal(read_openai_chat, R"({"messages": [{"role": "user", "content": "x"}],
      "top_logprobs": 2})"),
              HasSubstr("logprobs"));
  EXPECT_THAT(
      refusal(read_anthropic_messages, R"({"messages": [{"role": "user", "content": "x"}]})"),
      HasSubstr("max_tokens"));
  EXPECT_THAT(refusal(read_openai_response, R"({"input": "x", "previous_response_id": "r"})"),
              HasSubstr("previous_response_id"));
  EXPECT_THAT(refusal(read_openai_completion, R"({"prompt": [1, "a"]})"), HasSubstr("prompt"));
  EXPECT_THAT(refusal(read_ollama_chat, R"({"messages": [{"role": "user", "content": "x",
      "images": ["y"]}]})"),
              HasSubstr("images"));
}

TEST(AnthropicStream, ClosesABlockBeforeTheNext) {
  ApiResult<DialectRequest> request = read_anthropic_messages(
      Json::parse(R"({"max_tokens": 9, "stream": true, "messages": [{"role": "user",
                      "content": "x"}]})"),
      "m");
  std::string out;
  std::vector<TokenInfo> tokens;
  using Kind = OutputEvent::Kind;
  request->writer->begin(3, out);
  request->writer->event(0, {.kind = Kind::kReasoning, .text = "t"}, tokens, out);
  request->writer->event(0, {.kind = Kind::kText, .text = "a"}, tokens, out);
  request->writer->event(0, {.kind = Kind::kText, .text = "b"}, tokens, out);
  request->writer->event(0, {.kind = Kind::kCallBegin, .text = "f"}, tokens, out);
  request->writer->event(0, {.kind = Kind::kCallArguments, .text = "{}"}, tokens, out);
  request->writer->event(0, {.kind = Kind::kCallEnd}, tokens, out);
  request->writer->end_choice(0, {.reason = EndReason::kToolCalls}, tokens, out);
  request->writer->finish({.prompt_tokens = 3, .cached_tokens = 2}, out);
  std::vector<std::string> events;
  std::size_t at = 0;
  while ((at = out.find("event: ", at)) != std::string::npos) {
    events.push_back(out.substr(at + 7, out.find('\n', at) - at - 7));
    ++at;
  }
  const std::string start = "content_block_start";
  const std::string delta = "content_block_delta";
  const std::string stop = "content_block_stop";
  EXPECT_EQ(events, (std::vector<std::string>{"message_start", "ping", start, delta, delta, stop,
                                              start, delta, delta, stop, start, delta, stop,
                                              "message_delta", "message_stop"}));
  EXPECT_THAT(out, HasSubstr(R"("input_tokens":1)"));
  EXPECT_THAT(out, HasSubstr(R"("cache_read_input_tokens":2)"));
}

TEST(OllamaStream, StaysAwakeByAChunkThatSaysNothing) {
  ApiResult<DialectRequest> request =
      read_ollama_chat(Json::parse(R"({"messages": [{"role": "user", "content": "x"}]})"), "m");
  const std::string line = request->writer->keep_alive();
  ASSERT_TRUE(line.ends_with('\n'));
  const Json chunk = Json::parse(line);
  EXPECT_EQ(chunk["message"]["content"], "");
  EXPECT_EQ(chunk["done"], false);
}

TEST(ParseBody, BoundsDepth) {
  EXPECT_TRUE(parse_body(R"({"a": [[[1]]]})").ok());
  std::string deep = "{\"a\": ";
  for (int i = 0; i < 100'000; ++i) deep += '[';
  EXPECT_FALSE(parse_body(deep).ok());
  EXPECT_FALSE(parse_body("[]").ok());
  EXPECT_FALSE(parse_body("").ok());
}

}  // namespace
}  // namespace flashmoe::server
