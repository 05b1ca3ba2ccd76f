// What each dialect makes of bodies: one form for all, and errors that name the field.
#include "server/dialect.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/openai_common.h"

namespace flashmoe::server {
namespace {

using ::testing::HasSubstr;
using Reader = ApiResult<DialectRequest> (*)(const Json&, const std::string&);

ResponseStore& responses_store() {
  static ResponseStore store(1 << 20);
  return store;
}
ApiResult<DialectRequest> read_response(const Json& body, const std::string& model) {
  return read_openai_response(body, model, responses_store());
}

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
  const ChatRequest responses = chat_of(read_response, R"({"instructions": "Be brief.",
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
      {"role": "user", "content": [{"type": "text", "text": 3}]}]})"),
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
  EXPECT_THAT(refusal(read_response, R"({"input": "x", "previous_response_id": "r"})"),
              HasSubstr("previous_response_id"));
  EXPECT_THAT(refusal(read_openai_completion, R"({"prompt": [1, "a"]})"), HasSubstr("prompt"));
  EXPECT_THAT(refusal(read_ollama_chat, R"({"messages": [{"role": "user", "content": "x",
      "images": "y"}]})"),
              HasSubstr("images"));
}

TEST(Dialects, TakeSeedsOf64Bits) {
  const auto seed_of = [](const std::string& seed) {
    const std::string body =
        R"({"messages": [{"role": "user", "content": "x"}], "seed": )" + seed + "}";
    return chat_of(read_openai_chat, body.c_str()).settings.seed;
  };
  EXPECT_EQ(seed_of("9007199254740993"), 9007199254740993u);  // no double has this value
  EXPECT_EQ(seed_of("18446744073709551615"), ~std::uint64_t{0});
  EXPECT_EQ(seed_of("-9223372036854775808"), std::uint64_t{1} << 63);
  EXPECT_EQ(seed_of("-2"), ~std::uint64_t{1});
  EXPECT_EQ(seed_of("5.0"), 5u);
  EXPECT_EQ(seed_of("0"), 0u);
  EXPECT_EQ(seed_of("-1"), std::nullopt);
  EXPECT_EQ(seed_of("null"), std::nullopt);
  EXPECT_EQ(seed_of("1e19"), 10000000000000000000u);
  EXPECT_EQ(seed_of("-1.0"), std::nullopt);
}

TEST(Dialects, SayWhichSeedsThereAre) {
  const std::string fields = R"({"messages": [{"role": "user", "content": "x"}], "prompt": "x",
      "input": "x", "max_tokens": 1, )";
  const auto names_the_range = [](const std::string& field) {
    return AllOf(HasSubstr(field + ": "),
                 HasSubstr("from -9223372036854775808 to 18446744073709551615"));
  };
  for (const char* wrong :
       {"18446744073709551616", "1e300", "-18446744073709551616", "1.5", "\"1\"", "[]"}) {
    const std::string seed = fmt::format(R"("seed": {}}})", wrong);
    for (const Reader read :
         {read_openai_chat, read_openai_completion, read_anthropic_messages, read_response}) {
      EXPECT_THAT(refusal(read, (fields + seed).c_str()), names_the_range("seed"));
    }
    for (const Reader read : {read_ollama_chat, read_ollama_generate}) {
      EXPECT_THAT(refusal(read, (fields + R"("options": {)" + seed + "}").c_str()),
                  names_the_range("options.seed"));
    }
  }
}

TEST(Dialects, TakeNullForWhatAToolLeavesOut) {
  const ChatRequest openai = chat_of(read_openai_chat, R"({"messages": [{"role": "user",
      "content": "x"}], "tool_choice": "required", "tools": [{"type": null, "function":
      {"name": "f", "description": null, "parameters": null, "strict": null}}]})");
  EXPECT_EQ(openai.tools[0]["function"], Json::parse(R"({"name": "f"})"));
  const ChatRequest responses = chat_of(read_response, R"({"input": "x", "tools":
      [{"type": "function", "name": "f", "description": null, "parameters": null}]})");
  EXPECT_EQ(responses.tools[0]["function"],
            Json::parse(R"({"name": "f", "parameters": {"type": "object"}})"));
  const ChatRequest anthropic = chat_of(read_anthropic_messages, R"({"max_tokens": 1,
      "messages": [{"role": "user", "content": "x"}], "tools": [{"type": null, "name": "f",
      "description": null, "input_schema": {"type": "object"}}, {"type": "web_search_20250305",
      "name": "web_search"}], "tool_choice": {"type": "any"}})");
  ASSERT_EQ(anthropic.tools.size(), 1u);
  EXPECT_EQ(anthropic.tools[0]["function"], responses.tools[0]["function"]);
}

TEST(Dialects, AnswerAnEmptyTurnOfTheUsersAsATurn) {
  for (const char* content : {R"("")", R"([{"type": "text", "text": ""}])"}) {
    const std::string message = R"([{"role": "user", "content": )" + std::string(content) + "}]";
    const ChatRequest anthropic = chat_of(
        read_anthropic_messages, (R"({"max_tokens": 1, "messages": )" + message + "}").c_str());
    EXPECT_EQ(anthropic.messages, Json::parse(R"([{"role": "user", "content": ""}])"));
    const ChatRequest openai =
        chat_of(read_openai_chat, (R"({"messages": )" + message + "}").c_str());
    EXPECT_EQ(openai.messages, anthropic.messages);
    const ChatRequest responses = chat_of(read_response, (R"({"input": )" + message + "}").c_str());
    EXPECT_EQ(responses.messages, anthropic.messages);
  }
}

TEST(Dialects, RefuseAConversationThatIsOnlyAnAssistantsSilence) {
  const char* const silence = R"([{"role": "assistant", "content": ""}])";
  const auto body = [&](const char* field) {
    return R"({"max_tokens": 1, ")" + std::string(field) + R"(": )" + silence + "}";
  };
  EXPECT_THAT(refusal(read_openai_chat, body("messages").c_str()), HasSubstr("messages"));
  EXPECT_THAT(refusal(read_anthropic_messages, body("messages").c_str()), HasSubstr("messages"));
  EXPECT_THAT(refusal(read_ollama_chat, body("messages").c_str()), HasSubstr("messages"));
  EXPECT_THAT(refusal(read_response, body("input").c_str()), HasSubstr("input"));
  EXPECT_THAT(refusal(read_response, R"({"input": [{"type": "reasoning", "summary": []}]})"),
              HasSubstr("input"));
}

TEST(Dialects, GoOnWithWhatAnAssistantBeganUnlessItIsNothing) {
  const char* const body = R"({"max_tokens": 1, "messages": [{"role": "user", "content": "x"},
      {"role": "assistant", "content": "%"}]})";
  std::string begun = body;
  begun.replace(begun.find('%'), 1, "One,");
  EXPECT_TRUE(chat_of(read_anthropic_messages, begun.c_str()).continues_last);
  std::string silent = body;
  silent.erase(silent.find('%'), 1);
  const ChatRequest request = chat_of(read_anthropic_messages, silent.c_str());
  EXPECT_FALSE(request.continues_last);
  EXPECT_EQ(request.messages.size(), 1u);
}

/// What Ollama's clients are told without the model.
Json answer_of(Reader read, const char* body) {
  ApiResult<DialectRequest> request = read(Json::parse(body), "m");
  EXPECT_TRUE(request.ok()) << (request.ok() ? "" : request.error().message);
  return request->answer ? Json::parse(*request->answer) : Json();
}

TEST(Ollama, LoadsAndUnloadsForThoseThatAskNothing) {
  const Json chat = answer_of(read_ollama_chat, R"({"messages": []})");
  EXPECT_EQ(chat["done_reason"], "load");
  EXPECT_EQ(chat["message"]["content"], "");
  EXPECT_FALSE(chat.contains("response"));
  EXPECT_EQ(answer_of(read_ollama_generate, R"({"template": ""})")["response"], "");
  for (const char* none : {"0", "0.0", R"("0")", R"("0s")", R"("-0m")", R"("0h0m")"}) {
    const std::string body = R"({"keep_alive": )" + std::string(none) + "}";
    EXPECT_EQ(answer_of(read_ollama_generate, body.c_str())["done_reason"], "unload") << none;
  }
  for (const char* some : {"-1", "300", R"("5m")", R"("1h30m")", R"("-1s")", R"("1.5h")", "null"}) {
    const std::string body = R"({"keep_alive": )" + std::string(some) + "}";
    EXPECT_EQ(answer_of(read_ollama_generate, body.c_str())["done_reason"], "load") << some;
  }
  for (const char* wrong : {R"("five")", R"("5")", R"("")", R"("5 m")", R"("m")", "[]"}) {
    const std::string body = R"({"prompt": "x", "keep_alive": )" + std::string(wrong) + "}";
    EXPECT_THAT(refusal(read_ollama_generate, body.c_str()), HasSubstr("keep_alive")) << wrong;
  }
  EXPECT_THAT(refusal(read_ollama_generate, R"({"prompt": "x", "template": "{{ .Prompt }}"})"),
              HasSubstr("template"));
}

TEST(AnthropicStream, ClosesABlockBeforeTheNext) {
  ApiResult<DialectRequest> request = read_anthropic_messages(
      Json::parse(R"({"max_tokens": 9, "stream": true, "messages": [{"role": "user",
                      "content": "x"}]})"),
      "m");
  std::string out;
  std::vector<TokenInfo> tokens;
  using Kind = OutputEvent::Kind;
  request->writer->begin(3, 2, out);
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
  // The beginning and the end count alike.
  const std::string counts =
      R"("usage":{"input_tokens":1,"cache_creation_input_tokens":0,"cache_read_input_tokens":2,)";
  EXPECT_NE(out.find(counts), out.rfind(counts));
}

TEST(Errors, AreInTheWordsOfEachApi) {
  struct Case {
    unsigned status;
    const char* openai;
    const char* anthropic;
  };
  for (const Case& one :
       {Case{400, "invalid_request_error", "invalid_request_error"},
        Case{401, "authentication_error", "authentication_error"},
        Case{403, "permission_error", "permission_error"},
        Case{404, "not_found_error", "not_found_error"},
        Case{405, "invalid_request_error", "invalid_request_error"},
        Case{413, "invalid_request_error", "request_too_large"},
        Case{415, "invalid_request_error", "invalid_request_error"},
        Case{429, "rate_limit_error", "rate_limit_error"}, Case{500, "server_error", "api_error"},
        Case{503, "unavailable_error", "overloaded_error"}}) {
    const ApiError error = {.status = one.status, .message = "why"};
    const Json openai = Json::parse(openai_error_json(error));
    EXPECT_EQ(openai["error"]["type"], one.openai) << one.status;
    EXPECT_EQ(openai["error"]["message"], "why");
    const Json anthropic = Json::parse(anthropic_error_json(error));
    EXPECT_EQ(anthropic["type"], "error");
    EXPECT_EQ(anthropic["error"]["type"], one.anthropic) << one.status;
    EXPECT_EQ(Json::parse(ollama_error_json(error)), Json({{"error", "why"}}));
  }
}

TEST(Completions, ReturnTheBestWhereMoreAreMade) {
  ApiResult<DialectRequest> request =
      read_openai_completion(Json::parse(R"({"prompt": ["p", "q"], "n": 1, "best_of": 2})"), "m");
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(std::get<CompletionRequest>(request->wanted).settings.choices, 2u);
  std::string out;
  const float logprobs[] = {-1.0f, -0.5f, -0.25f, -0.75f};
  for (std::size_t i = 0; i < 4; ++i) {
    const std::string text(1, static_cast<char>('a' + i));
    std::vector<TokenInfo> tokens(1);
    tokens[0].picked.logprob = logprobs[i];
    tokens[0].text = text;
    request->writer->event(i, {.text = text}, tokens, out);
    request->writer->end_choice(i, {}, tokens, out);
  }
  request->writer->finish({}, out);
  for (std::string part = request->writer->more(); !part.empty(); part = request->writer->more()) {
    out += part;
  }
  const Json reply = Json::parse(out);
  ASSERT_EQ(reply["choices"].size(), 2u);
  EXPECT_EQ(reply["choices"][0]["text"], "b");
  EXPECT_EQ(reply["choices"][1]["text"], "c");
  EXPECT_EQ(reply["choices"][1]["index"], 1);
  EXPECT_TRUE(reply["choices"][0]["logprobs"].is_null());
  EXPECT_THAT(refusal(read_openai_completion, R"({"prompt": "x", "n": 3, "best_of": 2})"),
              HasSubstr("best_of"));
  EXPECT_THAT(refusal(read_openai_completion, R"({"prompt": "x", "best_of": 2, "stream": true})"),
              HasSubstr("best_of"));
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

}  // namespace
}  // namespace flashmoe::server
