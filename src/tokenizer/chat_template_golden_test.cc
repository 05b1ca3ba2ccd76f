// Conversations rendered by transformers, with the real templates: kept outside the repository,
// except for the shipped model's.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "base/testing/repository.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace flashmoe {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

fs::path shared_folder() {
  const char* folder = std::getenv("FLASHMOE_SHARED");
  return folder != nullptr ? fs::path(folder) : source_folder() / ".." / "shared";
}

// Whether the text of a control token touches what is quoted.
bool holds_any(const ChatPrompt& prompt, const std::vector<std::string>& controls) {
  for (const std::string& control : controls) {
    for (std::size_t at = prompt.text.find(control); at != std::string::npos;
         at = prompt.text.find(control, at + 1)) {
      for (const TextSpan& span : prompt.quoted) {
        if (span.begin < at + control.size() && at < span.end) return true;
      }
    }
  }
  return false;
}

class RealTemplate : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(RealTemplate, RendersEveryGoldenConversationExactlyAndKeepsItsIds) {
  const auto& [name, model_folder] = GetParam();
  const fs::path shared = shared_folder();
  const fs::path golden = shared / "golden" / "text" / (std::string(name) + ".chat.json");
  if (!fs::exists(golden)) GTEST_SKIP() << "no " << golden << "; set FLASHMOE_SHARED";
  auto chat = ChatTemplate::load(shared / model_folder);
  ASSERT_TRUE(chat.ok()) << chat.status().message();
  std::ifstream in(golden);
  const Json cases = Json::parse(in);
  ASSERT_GE(cases.size(), 60U);
  const auto tokenizer = Tokenizer::load(shared / model_folder).value();
  chat->learn_reply_marks(*tokenizer, {});
  std::vector<std::string> controls;
  for (const TokenId id : tokenizer->control_tokens()) {
    controls.push_back(*tokenizer->id_to_bytes(id));
  }
  std::size_t unchanged = 0;
  for (const Json& entry : cases) {
    const auto rendered = chat->render(entry["messages"], entry["tools"],
                                       entry["add_generation_prompt"], entry["kwargs"]);
    if (entry.contains("error")) {
      EXPECT_FALSE(rendered.ok()) << entry.dump();
      continue;
    }
    ASSERT_TRUE(rendered.ok()) << rendered.status().message() << "\n" << entry.dump();
    EXPECT_EQ(rendered->text, entry["rendered"].get<std::string>()) << entry.dump();
    if (!holds_any(*rendered, controls)) {
      EXPECT_EQ(tokenizer->encode(*rendered).value(), tokenizer->encode(rendered->text).value());
      ++unchanged;
    }
  }
  EXPECT_GE(unchanged, 30U);
}

INSTANTIATE_TEST_SUITE_P(Golden, RealTemplate,
                         testing::Values(std::pair{"qwen3", "tokenizers/qwen3"},
                                         std::pair{"deepseek_v3", "tokenizers/deepseek_v3"},
                                         std::pair{"sprout", "models/sprout-89m-4bit"}));

}  // namespace
}  // namespace flashmoe
