// Histories as agents send them: what a text model cannot read, and what is not for it to read.
#include "server/content.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/dialect.h"

namespace flashmoe::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

ApiResult<DialectRequest> read_response_body(const Json& body, const std::string& model) {
  static ResponseStore store(1 << 20);
  return read_openai_response(body, model, store);
}

/// What a dialect makes of a body: "role: content" of each message, and the kinds left out.
struct Read {
  std::vector<std::string> messages;
  std::vector<std::string> omitted;
  Json form;
};

template <typename Reader>
Read read(Reader reader, const char* body) {
  ApiResult<DialectRequest> request = reader(Json::parse(body), "model");
  EXPECT_TRUE(request.ok()) << (request.ok() ? "" : request.error().message);
  Read read;
  if (!request.ok()) return read;
  read.form = std::get<ChatRequest>(request->wanted).messages;
  for (const Json& message : read.form) {
    read.messages.push_back(message["role"].get<std::string>() + ": " +
                            message["content"].get<std::string>());
  }
  for (const Omissions::Entry& entry : request->omitted.entries()) {
    read.omitted.push_back(entry.kind + " at " + entry.where);
  }
  return read;
}

TEST(Content, OfAnthropicsHistoriesIsKeptInItsOrder) {
  const Read history = read(read_anthropic_messages, R"({"max_tokens": 9, "messages": [
      {"role": "user", "content": [{"type": "text", "text": "Before."},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}]},
      {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": "I look."},
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
        {"type": "tool_use", "id": "t1", "name": "read", "input": {}}]},
      {"role": "user", "content": [{"type": "text", "text": "First."},
        {"type": "tool_result", "tool_use_id": "t1", "content": [
          {"type": "image", "source": {"type": "url", "url": "u"}},
          {"type": "tool_reference", "tool_name": "grep"},
          {"type": "search_result", "title": "Rivers", "source": "https://x.example",
           "content": [{"type": "text", "text": "They flow."}]}]},
        {"type": "text", "text": "Last."},
        {"type": "document", "title": "Notes", "source": {"type": "text", "media_type": "text/plain",
          "data": "A note."}},
        {"type": "document", "title": "a.pdf", "source": {"type": "base64", "data": "AA"}},
        {"type": "container_upload", "file_id": "f"}, {"type": "of tomorrow", "x": 1}]}]})");
  EXPECT_THAT(history.messages,
              ElementsAre("user: Before.\n[image omitted]",
                          "assistant: I look.\n[server_tool_use omitted: web_search]\n"
                          "[web_search_tool_result omitted]",
                          "user: First.",
                          "tool: [image omitted]\n[tool_reference omitted: grep]\n"
                          "Rivers\nhttps://x.example\nThey flow.",
                          "user: Last.\nNotes\nA note.\n[document omitted: a.pdf]\n"
                          "[container_upload omitted]\n[block omitted]"));
  EXPECT_EQ(history.form[1]["reasoning_content"], "Hm.");
  EXPECT_EQ(history.form[1]["tool_calls"][0]["function"]["name"], "read");
  EXPECT_THAT(
      history.omitted,
      ElementsAre("image at messages[0].content[1]", "redacted_thinking at messages[1].content[1]",
                  "server_tool_use at messages[1].content[3]",
                  "web_search_tool_result at messages[1].content[4]",
                  "tool_reference at messages[2].content[1].content[1]",
                  "document at messages[2].content[4]",
                  "container_upload at messages[2].content[5]", "block at messages[2].content[6]"));
}

TEST(Content, OfOtherDialectsHasTheSamePlaceholders) {
  const Read chat = read(read_openai_chat, R"({"messages": [{"role": "user", "content": [
      {"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": "data:x"}},
      {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
      {"type": "video_url", "video_url": {"url": "u"}},
      {"type": "file", "file": {"filename": "a\nb.pdf", "file_data": "AA"}}]}]})");
  EXPECT_THAT(chat.messages, ElementsAre("user: See\n[image omitted]\n[audio omitted]\n"
                                         "[video omitted]\n[file omitted: a b.pdf]"));
  const Read responses = read(read_response_body, R"({"input": [{"role": "user", "content": [
      {"type": "input_image", "image_url": "data:x"}, {"type": "input_text", "text": "See"},
      {"type": "input_file", "filename": "n.txt", "file_data": "AA"}]}]})");
  EXPECT_THAT(responses.messages, ElementsAre("user: [image omitted]\nSee\n[file omitted: n.txt]"));
  const Read ollama = read(read_ollama_chat, R"({"messages": [
      {"role": "user", "content": "See", "images": ["AA", "BB"]}]})");
  EXPECT_THAT(ollama.messages, ElementsAre("user: [image omitted]\n[image omitted]\nSee"));
  EXPECT_THAT(ollama.omitted, ElementsAre("image at messages[0].images[0]"));
  const Read generate = read(read_ollama_generate, R"({"prompt": "See", "images": ["AA"]})");
  EXPECT_THAT(generate.messages, ElementsAre("user: [image omitted]\nSee"));
}

TEST(Content, ThatIsMalformedIsRefused) {
  for (const char* body :
       {R"({"messages": [{"role": "user", "content": [3]}]})",
        R"({"messages": [{"role": "user", "content": [{"type": "text", "text": 3}]}]})",
        R"({"messages": [{"role": "user", "content": [{"type": "text"}]}]})",
        R"({"messages": [{"role": "user", "content": {}}]})"}) {
    const ApiResult<DialectRequest> request = read_openai_chat(Json::parse(body), "model");
    ASSERT_FALSE(request.ok()) << body;
    EXPECT_THAT(request.error().message, HasSubstr("messages[0].content")) << body;
  }
}

TEST(Telemetry, IsNoPartOfThePrompt) {
  const char* const header = "x-anthropic-billing-header: cc_version=2.1; cch=0aaa9;";
  const std::string block =
      std::string(R"({"max_tokens": 9, "system": [{"type": "text", "text": ")") + header +
      R"("}, {"type": "text", "text": "Be brief."}],
      "messages": [{"role": "user", "content": "Hello"}]})";
  const std::string line = std::string(R"({"max_tokens": 9, "system": ")") + header +
                           R"(\n\nBe brief.", "messages": [{"role": "user", "content": "Hello"}]})";
  const std::string chat = std::string(R"({"messages": [{"role": "system", "content": ")") +
                           header + R"(\nBe brief."}, {"role": "user", "content": "Hello"}]})";
  const auto expected = ElementsAre("system: Be brief.", "user: Hello");
  EXPECT_THAT(read(read_anthropic_messages, block.c_str()).messages, expected);
  EXPECT_THAT(read(read_anthropic_messages, line.c_str()).messages, expected);
  EXPECT_THAT(read(read_openai_chat, chat.c_str()).messages, expected);
  // What people write about it stays.
  const Read quoted = read(read_openai_chat, R"({"messages": [
      {"role": "system", "content": "See:\nx-anthropic-billing-header: a"},
      {"role": "user", "content": "x-anthropic-billing-header: b"}]})");
  EXPECT_THAT(quoted.messages, ElementsAre("system: See:\nx-anthropic-billing-header: a",
                                           "user: x-anthropic-billing-header: b"));
}

TEST(SystemMessages, StayWhereTheyAreBehindTheFirst) {
  const Read request = read(read_openai_chat, R"({"messages": [
      {"role": "system", "content": "One."}, {"role": "developer", "content": "Two."},
      {"role": "user", "content": "Hello"}, {"role": "assistant", "content": ""},
      {"role": "system", "content": "Three."},
      {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]})");
  EXPECT_THAT(request.messages,
              ElementsAre("system: One.\n\nTwo.", "user: Hello", "system: Three.", "user: a\nb"));
}

TEST(SystemMessages, BecomeAPartOfTheNeighbouringUserTurn) {
  Json messages = Json::parse(R"([{"role": "system", "content": "Lead."},
      {"role": "user", "content": "q1"}, {"role": "system", "content": "s1"},
      {"role": "assistant", "content": "a1"}, {"role": "system", "content": "s2"},
      {"role": "system", "content": "s3"}, {"role": "user", "content": "q2"},
      {"role": "user", "content": "q3"}, {"role": "assistant", "content": "a2"},
      {"role": "system", "content": "s4"}])");
  fold_system_messages(messages);
  std::vector<std::string> folded;
  for (const Json& message : messages) {
    folded.push_back(message["role"].get<std::string>() + ": " +
                     message["content"].get<std::string>());
  }
  EXPECT_THAT(folded,
              ElementsAre("system: Lead.", "user: q1\n\n<system>\ns1\n</system>", "assistant: a1",
                          "user: <system>\ns2\n</system>\n\n<system>\ns3\n</system>\n\nq2",
                          "user: q3", "assistant: a2", "user: <system>\ns4\n</system>"));
}

}  // namespace
}  // namespace flashmoe::server
