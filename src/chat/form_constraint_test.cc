// Tokens held to a form: whatever is picked, the text is of that form.
#include "chat/form_constraint.h"

#include <gtest/gtest.h>

#include <random>

namespace flashmoe {
namespace {

/// A vocabulary of all bytes, some longer texts, and an end of text.
std::shared_ptr<TokenTable> vocabulary() {
  auto table = std::make_shared<TokenTable>();
  for (int byte = 0; byte < 256; ++byte) table->bytes.push_back({static_cast<char>(byte)});
  for (const char* text :
       {"{\"", "\": ", "\"}", "true", "hello", ", \"", "12", "]]", "<tool", "漢字"}) {
    table->bytes.emplace_back(text);
  }
  table->bytes.emplace_back();  // a special token
  table->eos_ids = {static_cast<std::int32_t>(table->bytes.size())};
  return table;
}

std::shared_ptr<const OutputForm> form_of(std::vector<OutputForm::Track> tracks) {
  auto form = std::make_shared<OutputForm>();
  form->tracks = std::move(tracks);
  return form;
}

OutputForm::Value value_of(const char* schema) {
  return {std::make_shared<const JsonSchema>(
      JsonSchema::compile(nlohmann::ordered_json::parse(schema), true).value())};
}

/// Picks at random among what is allowed, rather the end, until the end or `limit` tokens.
std::string random_text(const std::shared_ptr<const OutputForm>& form, unsigned seed,
                        std::size_t limit = 3000) {
  const auto tokens = vocabulary();
  FormConstraint constraint(tokens, form);
  std::mt19937 random(seed);
  std::string text;
  const std::int32_t eos = tokens->eos_ids[0];
  for (std::size_t i = 0; i < limit; ++i) {
    if (constraint.allows(eos)) return text;
    std::vector<std::int32_t> allowed;
    for (std::int32_t id = 0; id < eos; ++id) {
      if (constraint.allows(id)) allowed.push_back(id);
    }
    if (allowed.empty()) return "stuck: " + text;
    // Quotes and brackets end things: without a push they would seldom come.
    std::int32_t id = allowed[random() % allowed.size()];
    for (const char c : {'"', '}', ']'}) {
      if (random() % 3 == 0 && constraint.allows(static_cast<unsigned char>(c))) {
        id = static_cast<unsigned char>(c);
      }
    }
    constraint.accept(id);
    text += tokens->bytes[static_cast<std::size_t>(id)];
  }
  return "endless: " + text;
}

TEST(FormConstraint, YieldsTheSchemasJsonWhateverIsPicked) {
  const auto form = form_of({{value_of(R"({"type": "object", "properties": {
      "name": {"type": "string", "maxLength": 12}, "count": {"type": "integer"},
      "sky": {"enum": ["clear", "rain"]}, "list": {"type": "array", "items": {"type": "boolean"},
      "maxItems": 3}}, "required": ["name", "sky", "list"]})")}});
  for (unsigned seed = 0; seed < 40; ++seed) {
    const std::string text = random_text(form, seed);
    const auto value = nlohmann::json::parse(text, nullptr, false);
    ASSERT_TRUE(value.is_object()) << text;
    EXPECT_TRUE(value["name"].is_string()) << text;
    EXPECT_TRUE(value["sky"] == "clear" || value["sky"] == "rain") << text;
    EXPECT_LE(value["list"].size(), 3u) << text;
    if (value.contains("count")) {
      EXPECT_TRUE(value["count"].is_number_integer()) << text;
    }
  }
}

TEST(FormConstraint, ChoosesOneOfSeveralTracks) {
  const auto form = form_of({{OutputForm::Literal{"call f "}, value_of(R"({"type": "boolean"})"),
                              OutputForm::Literal{"!"}},
                             {OutputForm::Literal{"call g "}, OutputForm::Until{"</end>"}}});
  bool has_f = false;
  for (unsigned seed = 0; seed < 30; ++seed) {
    const std::string text = random_text(form, seed, 60);
    if (text.starts_with("call f")) {
      has_f = true;
      EXPECT_TRUE(text == "call f true!" || text == "call f false!") << text;
    } else {
      EXPECT_TRUE(text.starts_with("call g ") || text.starts_with("endless: call g ")) << text;
    }
  }
  EXPECT_TRUE(has_f);
}

TEST(FormConstraint, EndsWhereAMarkIsComplete) {
  const auto tokens = vocabulary();
  FormConstraint constraint(tokens, form_of({{OutputForm::Until{"</f>"}}}));
  const std::int32_t eos = tokens->eos_ids[0];
  for (const char c : std::string("a<</f</f>")) {
    EXPECT_FALSE(constraint.allows(eos));
    ASSERT_TRUE(constraint.allows(static_cast<unsigned char>(c)));
    constraint.accept(static_cast<unsigned char>(c));
  }
  EXPECT_TRUE(constraint.allows(eos));
  EXPECT_FALSE(constraint.allows('a'));
}

TEST(FormConstraint, LetsNumbersEndWhereTheNextPartBegins) {
  const auto tokens = vocabulary();
  FormConstraint constraint(
      tokens, form_of({{value_of(R"({"type": "integer"})"), OutputForm::Literal{"}"}}}));
  for (const char c : std::string("12}")) {
    ASSERT_TRUE(constraint.allows(c)) << c;
    constraint.accept(c);
  }
  EXPECT_TRUE(constraint.allows(tokens->eos_ids[0]));
}

}  // namespace
}  // namespace flashmoe
