// What clients of each dialect get where a model writes in a syntax of its own: the model's output
// is given, as it comes.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "chat/output_parser.h"
#include "server/dialect.h"
#include "server/reply_writer.h"

namespace flashmoe::server {
namespace {

/// What one answer says, whatever the dialect.
struct Told {
  std::vector<std::string> texts;  // in a dialect that tells one behind the other, one
  std::vector<std::string> thoughts;
  std::string name;
  Json arguments;
};

const ToolSchemas& weather_schemas() {
  static const ToolSchemas schemas = {{"weather", Json::object()}};
  return schemas;
}

/// The whole reply to a body, to the model that writes `output`, `step` characters at a time.
Json reply_to(ApiResult<DialectRequest> request, const OutputParser::Options& options,
              const std::string& output, std::size_t step) {
  ReplyWriter& writer = *request->writer;
  OutputParser parser(options, weather_schemas());
  std::string out;
  std::vector<TokenInfo> tokens;
  bool has_called = false;
  writer.begin(1, 0, out);
  const auto tell = [&](const OutputEvents& events) {
    for (const OutputEvent& event : events) {
      has_called |= event.kind == OutputEvent::Kind::kCallEnd;
      writer.event(0, event, tokens, out);
    }
  };
  for (std::size_t at = 0; at < output.size(); at += step) {
    OutputEvents events;
    parser.push(std::string_view(output).substr(at, step), events);
    tell(events);
  }
  OutputEvents events;
  parser.finish(events);
  tell(events);
  writer.end_choice(0, {.reason = has_called ? EndReason::kToolCalls : EndReason::kStop}, tokens,
                    out);
  writer.finish({}, out);
  for (std::string more = writer.more(); !more.empty(); more = writer.more()) out += more;
  return Json::parse(out);
}

Told told_by_openai(const OutputParser::Options& options, const std::string& output,
                    std::size_t step) {
  const Json body = {{"messages", {{{"role", "user"}, {"content", "x"}}}}};
  const Json message =
      reply_to(read_openai_chat(body, "m"), options, output, step)["choices"][0]["message"];
  Told told;
  if (message["content"].is_string()) told.texts = {message["content"]};
  if (message.contains("reasoning_content")) told.thoughts = {message["reasoning_content"]};
  if (message.contains("tool_calls")) {
    const Json& function = message["tool_calls"][0]["function"];
    told.name = function["name"];
    told.arguments = Json::parse(function["arguments"].get<std::string>());
  }
  return told;
}

Told told_by_responses(const OutputParser::Options& options, const std::string& output,
                       std::size_t step) {
  static ResponseStore store(1 << 20);
  Told told;
  const Json reply =
      reply_to(read_openai_response({{"input", "x"}}, "m", store), options, output, step);
  for (const Json& item : reply["output"]) {
    if (item["type"] == "message") told.texts.push_back(item["content"][0]["text"]);
    if (item["type"] == "reasoning") told.thoughts.push_back(item["content"][0]["text"]);
    if (item["type"] != "function_call") continue;
    told.name = item["name"];
    told.arguments = Json::parse(item["arguments"].get<std::string>());
  }
  return told;
}

Told told_by_anthropic(const OutputParser::Options& options, const std::string& output,
                       std::size_t step) {
  const Json body = {{"max_tokens", 9}, {"messages", {{{"role", "user"}, {"content", "x"}}}}};
  Told told;
  const Json reply = reply_to(read_anthropic_messages(body, "m"), options, output, step);
  for (const Json& block : reply["content"]) {
    if (block["type"] == "text") told.texts.push_back(block["text"]);
    if (block["type"] == "thinking") told.thoughts.push_back(block["thinking"]);
    if (block["type"] != "tool_use") continue;
    told.name = block["name"];
    told.arguments = block["input"];
  }
  return told;
}

Told told_by_ollama(const OutputParser::Options& options, const std::string& output,
                    std::size_t step) {
  const Json body = {{"stream", false}, {"messages", {{{"role", "user"}, {"content", "x"}}}}};
  const Json message = reply_to(read_ollama_chat(body, "m"), options, output, step)["message"];
  Told told;
  if (message["content"] != "") told.texts = {message["content"]};
  if (message.contains("thinking")) told.thoughts = {message["thinking"]};
  if (message.contains("tool_calls")) {
    told.name = message["tool_calls"][0]["function"]["name"];
    told.arguments = message["tool_calls"][0]["function"]["arguments"];
  }
  return told;
}

using Dialect = Told (*)(const OutputParser::Options&, const std::string&, std::size_t);
constexpr Dialect kDialects[] = {told_by_openai, told_by_responses, told_by_anthropic,
                                 told_by_ollama};

const OutputParser::Options& in_channels() {
  static const OutputParser::Options options = {
      .tools = ToolSyntax::kHarmony, .style = AnswerStyle::kHarmony, .opening = "assistant"};
  return options;
}

/// Thoughts, words before a call, and the call, as each family writes them.
struct Script {
  OutputParser::Options options;
  std::string output;
  bool has_thoughts = true;
  bool has_text = true;
};

const std::vector<Script>& scripts() {
  static const std::vector<Script> all = {
      {in_channels(),
       "<|channel|>analysis<|message|>I think.<|end|><|start|>assistant<|channel|>commentary"
       "<|message|>I look.<|end|><|start|>assistant<|channel|>commentary to=functions.weather "
       "<|constrain|>json<|message|>{\"city\": \"Oslo\"}"},
      {in_channels(),
       "<|channel|>analysis<|message|>I think.<|end|><|start|>assistant<|channel|>commentary"
       "<|message|>I look.<|end|><|start|>assistant to=functions.weather<|channel|>commentary "
       "json<|message|>{\"city\": \"Oslo\"}<|call|>"},
      {{.tools = ToolSyntax::kGemma, .style = AnswerStyle::kChannel},
       "<|channel>thought\nI think.\n<channel|>I look.<|tool_call>call:weather{city:<|\"|>Oslo"
       "<|\"|>}<tool_call|>"},
      {{.tools = ToolSyntax::kLlama},
       "{\"name\": \"weather\", \"parameters\": {\"city\": \"Oslo\"}}",
       /*has_thoughts=*/false,
       /*has_text=*/false},
  };
  return all;
}

TEST(ScriptedAnswers, AreThoughtsTextAndACallInEachDialect) {
  for (const Script& script : scripts()) {
    for (const Dialect dialect : kDialects) {
      for (const std::size_t step : {std::size_t{1}, std::size_t{7}, script.output.size()}) {
        const Told told = dialect(script.options, script.output, step);
        const std::vector<std::string> none;
        EXPECT_EQ(told.thoughts, script.has_thoughts ? std::vector<std::string>{"I think."} : none);
        EXPECT_EQ(told.texts, script.has_text ? std::vector<std::string>{"I look."} : none);
        EXPECT_EQ(told.name, "weather") << script.output;
        EXPECT_EQ(told.arguments, Json::parse(R"({"city": "Oslo"})"));
      }
    }
  }
}

TEST(ScriptedAnswers, InSeveralMessagesAreParagraphsOrParts) {
  const std::string output =
      "<|channel|>commentary<|message|>One.<|end|><|start|>assistant<|channel|>analysis<|message|>"
      "I think.<|end|><|start|>assistant<|channel|>final<|message|>Two.";
  for (const Dialect dialect : {told_by_openai, told_by_ollama}) {
    EXPECT_EQ(dialect(in_channels(), output, 3).texts, std::vector<std::string>{"One.\n\nTwo."});
  }
  for (const Dialect dialect : {told_by_responses, told_by_anthropic}) {
    const Told told = dialect(in_channels(), output, 3);
    EXPECT_EQ(told.texts, (std::vector<std::string>{"One.", "Two."}));
    EXPECT_EQ(told.thoughts, std::vector<std::string>{"I think."});
  }
}

}  // namespace
}  // namespace flashmoe::server
