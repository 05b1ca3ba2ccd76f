#include "tokenizer/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "base/testing/temporary_folder.h"

namespace flashmoe {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;
using ::testing::HasSubstr;

class ChatTemplateFolder : public ::testing::Test {
 protected:
  void write(std::string_view name, std::string_view text) const { folder_.write(name, text); }
  std::string render_hello() const {
    const auto chat = ChatTemplate::load(folder_.path());
    if (!chat.ok()) return "error: " + chat.status().message();
    const auto text =
        chat->render(Json::array({{{"role", "user"}, {"content", "hello"}}}), nullptr, true, {});
    return text.ok() ? text->text : "error: " + text.status().message();
  }

  TemporaryFolder folder_;
};

TEST_F(ChatTemplateFolder, TheJinjaFileWinsOverTheConfig) {
  write("tokenizer_config.json", R"({"chat_template": "config {{ messages[0].content }}"})");
  EXPECT_EQ(render_hello(), "config hello");
  write("chat_template.jinja", "file {{ messages[0].content }}\n");
  EXPECT_EQ(render_hello(), "file hello");
}

TEST_F(ChatTemplateFolder, AProcessorsFileIsReadLast) {
  write("chat_template.json", R"({"chat_template": "processor {{ messages[0].content }}"})");
  EXPECT_EQ(render_hello(), "processor hello");
  write("tokenizer_config.json", R"({"eos_token": "<e>"})");
  EXPECT_EQ(render_hello(), "processor hello");
  write("tokenizer_config.json", R"({"chat_template": "config {{ messages[0].content }}"})");
  EXPECT_EQ(render_hello(), "config hello");
  fs::remove(folder_ / "tokenizer_config.json");
  write("chat_template.json", R"({"chat_template": 5})");
  EXPECT_THAT(render_hello(), HasSubstr("chat_template.json: chat_template must be a string"));
}

TEST_F(ChatTemplateFolder, AByteOrderMarkIsNoText) {
  write("chat_template.jinja", "\xEF\xBB\xBF{{ messages[0].content }}");
  EXPECT_EQ(render_hello(), "hello");
}

TEST_F(ChatTemplateFolder, TakesTheDefaultOfSeveralTemplates) {
  write(
      "tokenizer_config.json",
      R"({"chat_template": [{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]})");
  EXPECT_EQ(render_hello(), "d");
  write("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "r"}, 5]})");
  EXPECT_THAT(render_hello(), HasSubstr("no entry named \"default\""));
}

TEST_F(ChatTemplateFolder, SpecialTokensAreStringsOrObjectsAndNullOnesUndefined) {
  write("tokenizer_config.json",
        R"({"bos_token": "<b>", "eos_token": {"content": "<e>"}, "pad_token": null,
            "chat_template": "{{ bos_token }}{{ eos_token }}{{ pad_token is defined }}"})");
  EXPECT_EQ(render_hello(), "<b><e>False");
}

TEST_F(ChatTemplateFolder, AFolderWithoutATemplateSaysSo) {
  EXPECT_EQ(ChatTemplate::load(folder_.path()).status().code(), StatusCode::kNotFound);
  EXPECT_THAT(render_hello(), HasSubstr(folder_.path().string() + ": no chat template"));
  write("tokenizer_config.json", "{}");
  EXPECT_THAT(render_hello(), HasSubstr("no chat template"));
}

TEST_F(ChatTemplateFolder, TheMapOfSpecialTokensHasThoseThatTheConfigLacks) {
  write("chat_template.jinja", "{{ bos_token }}{{ eos_token }}");
  write("special_tokens_map.json", R"({"bos_token": {"content": "<b>"}, "eos_token": "<m>"})");
  EXPECT_EQ(render_hello(), "<b><m>");
  write("tokenizer_config.json", R"({"bos_token": null, "eos_token": "<e>"})");
  EXPECT_EQ(render_hello(), "<b><e>");
}

TEST_F(ChatTemplateFolder, WhatADownloadLeftInPlaceOfATemplateIsNamed) {
  for (const char* text : {"", "<html>", "Entry not found"}) {
    write("chat_template.jinja", text);
    EXPECT_THAT(render_hello(), HasSubstr("chat_template.jinja: "));
    EXPECT_THAT(render_hello(), HasSubstr("download"));
  }
}

TEST_F(ChatTemplateFolder, BadFilesAreNamed) {
  write("tokenizer_config.json", "[1");
  EXPECT_THAT(render_hello(), HasSubstr("tokenizer_config.json: not a JSON object"));
  write("tokenizer_config.json", R"({"chat_template": 5})");
  EXPECT_THAT(render_hello(), HasSubstr("must be a string or a list, not number"));
  write("chat_template.jinja", "\n{{ 1 + }}");
  write("tokenizer_config.json", "{}");
  EXPECT_THAT(render_hello(), HasSubstr("chat_template.jinja: chat template line 2: "));
  fs::remove(folder_ / "chat_template.jinja");
  fs::create_directory(folder_ / "chat_template.jinja");
  EXPECT_THAT(render_hello(), HasSubstr("error: "));
}

// --- the forms of messages

std::string render(std::string_view source, const Json& messages,
                   const Json& kwargs = Json::object()) {
  const auto chat = ChatTemplate::parse(source, Json::object());
  if (!chat.ok()) return "error: " + chat.status().message();
  const auto text = chat->render(messages, nullptr, false, kwargs);
  return text.ok() ? text->text : "error: " + text.status().message();
}

Json tool_turn(const Json& arguments, const Json& content = "") {
  const Json call = {{"function", {{"name", "f"}, {"arguments", arguments}}}};
  Json turn = {{"role", "assistant"}, {"content", content}};
  turn["tool_calls"] = Json::array({call});
  return Json::array({turn});
}

// In the manner of Qwen3-Coder, Qwen3 and DeepSeek-V3.
constexpr const char* kItems =
    "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}"
    "{% for k, v in c.function.arguments|items %}{{ k }}={{ v }};{% endfor %}{% endfor %}{% endfor "
    "%}";
constexpr const char* kEither =
    "{% for m in messages %}{{ m.content + '' }}{% for c in m.tool_calls or [] %}"
    "{% set a = c.function.arguments %}{{ a if a is string else a|tojson }}{% endfor %}{% endfor "
    "%}";
constexpr const char* kString =
    "{% for m in messages %}{% if m.content is none %}{% for c in m.tool_calls %}"
    "{{ c.function.name + '\n' + c.function.arguments }}{% endfor %}"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}";
constexpr const char* kToJson =
    "{% for m in messages %}{% for c in m.tool_calls or [] %}"
    "{{ c.function.arguments|tojson }}{% endfor %}{% endfor %}";

TEST(ChatMessages, ArgumentStringsBecomeObjectsWhereTheTemplateIteratesThem) {
  EXPECT_EQ(render(kItems, tool_turn(R"({"b":1,"a":"x"})")), "b=1;a=x;");
  EXPECT_EQ(render(kItems, tool_turn({{"b", 1}})), "b=1;");
  EXPECT_EQ(render(kToJson, tool_turn(R"({"b":1,"a":"x"})")), R"({"b": 1, "a": "x"})");
}

TEST(ChatMessages, ArgumentStringsStayVerbatimWhereTheTemplateTakesThem) {
  EXPECT_EQ(render(kEither, tool_turn(R"({"b":1})")), R"({"b":1})");
  EXPECT_EQ(render(kEither, tool_turn({{"b", 1}})), R"({"b": 1})");
}

TEST(ChatMessages, ArgumentObjectsBecomeStringsWhereTheTemplateNeedsThem) {
  EXPECT_EQ(render(kString, tool_turn(R"({"b":1})", nullptr)), "f\n{\"b\":1}");
  EXPECT_EQ(render(kString, tool_turn({{"b", 1}}, nullptr)), "f\n{\"b\":1}");
}

TEST(ChatMessages, ArgumentsThatAreNoJsonAreTheTemplatesError) {
  EXPECT_THAT(render(kItems, tool_turn("{not json")), HasSubstr("items needs a dict"));
}

TEST(ChatMessages, NullContentBecomesEmptyUnlessTheTemplateAsksForIt) {
  EXPECT_EQ(render(kEither, tool_turn({{"b", 1}}, nullptr)), R"({"b": 1})");
  EXPECT_EQ(render(kItems, tool_turn({{"b", 1}}, nullptr)), "b=1;");
  EXPECT_EQ(render(kString, Json::array({{{"role", "assistant"}, {"content", nullptr}}})), "");
  EXPECT_EQ(render(kEither, Json::array({{{"role", "assistant"}}})), "");
}

constexpr const char* kParts =
    "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for p in m.content %}<{{ p.type }}>{{ p.text }}{% endfor %}{% endif %}{% endfor %}";

TEST(ChatMessages, TextPartsAreJoinedUnlessTheTemplateIteratesThem) {
  const Json parts =
      Json::array({{{"type", "text"}, {"text", "a"}}, {{"type", "text"}, {"text", "b"}}});
  const Json messages = Json::array({{{"role", "user"}, {"content", parts}}});
  EXPECT_EQ(render(kItems, messages), "a\nb");
  EXPECT_EQ(render(kEither, messages), "a\nb");
  EXPECT_EQ(render(kParts, messages), "<text>a<text>b");
}

TEST(ChatMessages, OtherPartsAreRefusedByTemplatesForText) {
  const Json parts = Json::array({{{"type", "image_url"}, {"image_url", {{"url", "x"}}}}});
  const Json messages = Json::array({{{"role", "user"}, {"content", parts}}});
  EXPECT_THAT(render(kItems, messages), HasSubstr("message 0: content part 0 is not text"));
  EXPECT_EQ(render(kParts, messages), "<image_url>");
}

TEST(ChatMessages, MalformedConversationsAreErrors) {
  EXPECT_THAT(render(kItems, {{"role", "user"}}), HasSubstr("messages must be a list"));
  EXPECT_THAT(render(kItems, Json::array({"hello"})), HasSubstr("message 0 must be an object"));
  EXPECT_THAT(render(kItems, Json::array(), Json::array()), HasSubstr("must be an object"));
  EXPECT_EQ(render(kItems, Json::array({{{"role", "assistant"}, {"tool_calls", {5}}}})),
            "error: chat template line 1: 'function' is undefined");
}

TEST(ChatTemplate, KeywordArgumentsAreVariablesAndWin) {
  EXPECT_EQ(render("{{ enable_thinking }}{{ tools }}{{ documents is none }}", Json::array(),
                   {{"enable_thinking", false}, {"tools", "t"}}),
            "FalsetTrue");
}

TEST(ChatTemplate, SpecialTokensMustBeAnObject) {
  EXPECT_FALSE(ChatTemplate::parse("x", Json::array()).ok());
}

TEST(ChatTemplate, LoadingAHostileTemplateEndsSoon) {
  const auto chat = ChatTemplate::parse(
      "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
      Json::object());
  ASSERT_TRUE(chat.ok());
  const jinja::RenderOptions options{.limits = {.step_count = 10'000}};
  EXPECT_THAT(chat->render(Json::array(), nullptr, false, {}, options).status().message(),
              HasSubstr("10000 steps"));
}

}  // namespace
}  // namespace flashmoe
