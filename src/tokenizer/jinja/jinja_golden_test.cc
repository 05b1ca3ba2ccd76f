// Replays what Jinja2 made of several hundred snippets (tools/jinja_goldens.py).
#include <gtest/gtest.h>

#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "base/testing/repository.h"
#include "tokenizer/jinja/template.h"

namespace flashmoe::jinja {
namespace {

using Json = nlohmann::ordered_json;

// 2026-01-15 13:05, a Thursday: the moment at which the goldens were made.
std::tm golden_time() {
  std::tm time{};
  time.tm_year = 126;
  time.tm_mday = 15;
  time.tm_hour = 13;
  time.tm_min = 5;
  time.tm_wday = 4;
  time.tm_yday = 14;
  return time;
}

TEST(JinjaGolden, RendersEverySnippetAsJinja2Does) {
  std::ifstream in(source_folder() / "src/tokenizer/jinja/testdata/snippets.json");
  ASSERT_TRUE(in.is_open());
  const Json golden = Json::parse(in);
  ASSERT_GE(golden["cases"].size(), 700U);
  for (const Json& entry : golden["cases"]) {
    const auto source = entry["template"].get<std::string>();
    const auto parsed = Template::parse(source);
    const Result<MarkedText> rendered =
        parsed.ok() ? parsed->render(golden["context"], {.clock = golden_time})
                    : Result<MarkedText>(parsed.status());
    if (entry.contains("error")) {
      EXPECT_FALSE(rendered.ok()) << source << "\nJinja2 raises " << entry["error"];
    } else if (!rendered.ok()) {
      ADD_FAILURE() << source << "\n" << rendered.status().message();
    } else {
      EXPECT_EQ(rendered->bytes(), entry["output"].get<std::string>()) << source;
    }
  }
}

}  // namespace
}  // namespace flashmoe::jinja
