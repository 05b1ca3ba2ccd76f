// Tokens held to a form: whatever is picked, the text is of that form.
#include "chat/form_constraint.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace flashmoe {
namespace {

std::shared_ptr<const TokenTable> vocabulary() {
  std::vector<std::string> bytes;
  for (int byte = 0; byte < 256; ++byte) bytes.push_back({static_cast<char>(byte)});
  for (const char* text : {"{\"", "\": ", "\"}", "true", "hello", ", \"", "12", "]]", "<tool",
                           "漢字", "hell", "hello world, hello world, hello world"}) {
    bytes.emplace_back(text);
  }
  bytes.emplace_back();  // a special token
  const auto eos = static_cast<std::int32_t>(bytes.size());
  return std::make_shared<TokenTable>(std::move(bytes), std::vector<std::int32_t>{eos});
}

std::int32_t eos_of(const TokenTable& tokens) { return tokens.eos_ids().front(); }
std::int32_t special_of(const TokenTable& tokens) { return eos_of(tokens) - 1; }

SchemaNode::Id add_schema(OutputForm& form, const char* schema) {
  std::vector<std::string> hints;
  return compile_schema(nlohmann::ordered_json::parse(schema), {.is_strict = true}, form.graph,
                        hints)
      .value();
}

std::shared_ptr<const OutputForm> form_of(const char* schema) {
  auto form = std::make_shared<OutputForm>();
  const SchemaNode::Id node = add_schema(*form, schema);
  form->rules = {{{OutputForm::Value{node}}}};
  return form;
}

/// Whether `text`, byte by byte, may come.
bool takes(FormConstraint& constraint, std::string_view text) {
  for (const char c : text) {
    const auto id = static_cast<std::int32_t>(static_cast<unsigned char>(c));
    if (!constraint.allows(id)) return false;
    constraint.accept(id);
  }
  return true;
}

/// Picks at random among what is allowed, rather the end, until the end or `limit` tokens.
std::string random_text(const std::shared_ptr<const OutputForm>& form, unsigned seed,
                        std::size_t limit = 3000) {
  const auto tokens = vocabulary();
  FormConstraint constraint(tokens, form);
  std::mt19937 random(seed);
  std::string text;
  const std::int32_t eos = eos_of(*tokens);
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
    text += tokens->bytes(id);
  }
  return "endless: " + text;
}

TEST(FormConstraint, YieldsTheSchemasJsonWhateverIsPicked) {
  const auto form = form_of(R"({"type": "object", "properties": {
      "name": {"type": "string", "maxLength": 12}, "count": {"type": "integer"},
      "sky": {"enum": ["clear", "rain"]}, "list": {"type": "array", "items": {"type": "boolean"},
      "maxItems": 3}}, "required": ["name", "sky", "list"]})");
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

TEST(FormConstraint, TellsAllTokensAtOnceAsOneByOne) {
  const auto tokens = vocabulary();
  for (const char* schema : {R"({"type": "string"})", R"({"type": "string", "maxLength": 6})",
                             R"({"type": "string", "minLength": 3, "maxLength": 40})",
                             R"({"type": "string", "pattern": "^h[a-z ]*$"})",
                             R"({"type": "array"})", R"({"type": "integer", "maximum": 12})"}) {
    const auto form = form_of(schema);
    std::mt19937 random(3);
    for (int run = 0; run < 5; ++run) {
      FormConstraint walk(tokens, form);
      std::vector<std::int32_t> taken;
      for (int step = 0; step < 12; ++step) {
        std::vector<std::int32_t> possible;
        for (std::int32_t id = 0; id < eos_of(*tokens); ++id) {
          // Asked for one token, it does not look at the others.
          FormConstraint fresh(tokens, form);
          for (const std::int32_t before : taken) fresh.accept(before);
          const bool alone = fresh.allows(id);
          const bool in_mask = (walk.mask()[static_cast<std::size_t>(id) / 64] >> id % 64 & 1) != 0;
          ASSERT_EQ(alone, in_mask) << schema << " token " << id << " after " << taken.size();
          if (alone) possible.push_back(id);
        }
        if (possible.empty()) break;
        taken.push_back(possible[random() % possible.size()]);
        walk.accept(taken.back());
      }
    }
  }
}

TEST(FormConstraint, ChoosesOneOfSeveralTracks) {
  auto form = std::make_shared<OutputForm>();
  const SchemaNode::Id boolean = add_schema(*form, R"({"type": "boolean"})");
  const OutputForm::Free until{.marks = {{.text = "</end>"}}};
  form->rules = {
      {{OutputForm::Literal{"call f "}, OutputForm::Value{boolean}, OutputForm::Literal{"!"}},
       {OutputForm::Literal{"call g "}, until}}};
  bool has_f = false;
  for (unsigned seed = 0; seed < 30; ++seed) {
    const std::string text = random_text(form, seed, 60);
    if (text.starts_with("call f")) {
      has_f = true;
      EXPECT_TRUE(text == "call f true!" || text == "call f false!" || text == "call f  true!" ||
                  text == "call f  false!")
          << text;
    } else {
      EXPECT_TRUE(text.starts_with("call g ") || text.starts_with("endless: call g ")) << text;
    }
  }
  EXPECT_TRUE(has_f);
}

TEST(FormConstraint, EndsWhereAMarkIsComplete) {
  const auto tokens = vocabulary();
  auto form = std::make_shared<OutputForm>();
  form->rules = {{{OutputForm::Free{.marks = {{.text = "</f>"}}}}}};
  FormConstraint constraint(tokens, form);
  const std::int32_t eos = eos_of(*tokens);
  for (const char c : std::string("a<</f</f>")) {
    EXPECT_FALSE(constraint.allows(eos));
    EXPECT_FALSE(constraint.allows(special_of(*tokens)));
    EXPECT_TRUE(takes(constraint, std::string(1, c)));
  }
  EXPECT_TRUE(constraint.allows(eos));
  EXPECT_FALSE(constraint.allows('a'));
}

TEST(FormConstraint, LetsNumbersEndWhereTheNextPartBegins) {
  const auto tokens = vocabulary();
  auto form = std::make_shared<OutputForm>();
  const SchemaNode::Id integer = add_schema(*form, R"({"type": "integer"})");
  form->rules = {{{OutputForm::Value{integer}, OutputForm::Literal{"}"}}}};
  FormConstraint constraint(tokens, form);
  EXPECT_TRUE(takes(constraint, "12}"));
  EXPECT_TRUE(constraint.allows(eos_of(*tokens)));
}

TEST(FormConstraint, LeavesFreeTextAloneUntilAMarkHasCome) {
  const auto tokens = vocabulary();
  auto form = std::make_shared<OutputForm>();
  form->rules = {
      {{OutputForm::Free{.marks = {{.text = "<tool_call>", .then = 1}}, .is_open = true}}},
      {{OutputForm::Space{2}, OutputForm::Literal{"get;"}}, {OutputForm::Literal{"set;"}}}};
  FormConstraint constraint(tokens, form);
  for (std::int32_t id = 0; id <= eos_of(*tokens); ++id) {
    EXPECT_TRUE(constraint.allows(id)) << id;
    constraint.accept(id);
  }
  EXPECT_TRUE(takes(constraint, "text <tool_<tool_call"));
  EXPECT_TRUE(constraint.allows(special_of(*tokens)));
  EXPECT_TRUE(takes(constraint, ">"));
  EXPECT_FALSE(constraint.allows(eos_of(*tokens)));
  EXPECT_FALSE(constraint.allows(special_of(*tokens)));
  EXPECT_FALSE(constraint.allows('x'));
  EXPECT_TRUE(constraint.allows('s'));
  EXPECT_TRUE(takes(constraint, " \nget"));
  EXPECT_FALSE(constraint.allows(' '));
  EXPECT_TRUE(takes(constraint, "; and anything <tool_call>set;"));
  EXPECT_TRUE(constraint.allows(eos_of(*tokens)));
}

TEST(FormConstraint, ForgetsStatesWithoutForgettingWhereItIs) {
  const auto form =
      form_of(R"({"type": "array", "items": {"type": "string", "maxLength": 30000}})");
  FormAutomaton automaton(form, FormAutomaton::Options());
  FormAutomaton::State state = automaton.next(automaton.start(), "[\"abc\", \"");
  for (int i = 0; i < 1000; ++i) state = automaton.next(state, "x");
  EXPECT_GT(automaton.state_count(), 1000u);
  state = automaton.forget_others(state);
  EXPECT_LT(automaton.state_count(), 10u);
  EXPECT_EQ(automaton.free_characters(state), 29'000u);
  EXPECT_TRUE(automaton.can_end(automaton.next(state, "\"]")));
}

/// Of the keys that whole tokens are made of, and where the automaton forgets in between.
TEST(FormConstraint, RemembersTheKeysThatHaveCome) {
  const auto tokens = vocabulary();
  const auto form = form_of(R"({"type": "object", "minProperties": 30,
                                "additionalProperties": {"const": true}})");
  for (unsigned seed = 0; seed < 4; ++seed) {
    const std::string text = random_text(form, seed);
    std::set<std::string> keys;
    const auto take = [&](int /*depth*/, nlohmann::json::parse_event_t event,
                          nlohmann::json& value) {
      if (event == nlohmann::json::parse_event_t::key) {
        EXPECT_TRUE(keys.insert(value.get<std::string>()).second) << text;
      }
      return true;
    };
    EXPECT_TRUE(nlohmann::json::parse(text, take, false).is_object()) << text;
    EXPECT_GE(keys.size(), 30u) << text;
  }
  FormAutomaton automaton(form, FormAutomaton::Options());
  FormAutomaton::State state = automaton.next(automaton.start(), R"({"a": true, "b": true, ")");
  state = automaton.forget_others(automaton.next(state, "a"));
  EXPECT_EQ(automaton.next(state, "\""), FormAutomaton::kDead);
  state = automaton.forget_others(automaton.next(state, "b"));
  state = automaton.next(state, R"(": true, ")");
  EXPECT_EQ(automaton.next(state, "ab\""), FormAutomaton::kDead);
  EXPECT_NE(automaton.next(state, "ba\""), FormAutomaton::kDead);
}

/// Their automata have more states than there is memory for, and texts all the same.
TEST(FormConstraint, EndsWhatHasMoreStatesThanAnyTable) {
  for (const char* schema : {
           R"json({"type": "string", "pattern": "(e.{20}d|n.{22}o|i.{24}z)", "minLength": 40,
                   "maxLength": 60})json",
           R"json({"type": "array", "items": {"type": "string", "minLength": 30, "maxLength": 80,
                   "pattern": "(.*g.{36}b|.*c.{46}d)"}, "minItems": 2, "maxItems": 3})json",
           R"json({"type": "string", "pattern": "^(a|b)*a(a|b){40}$"})json",
           R"json({"type": "string", "pattern": "(a|b)*a(a|b){30}", "maxLength": 50})json",
           R"json({"type": "string", "pattern": "^[^<]*a[^<]{40}$", "maxLength": 90})json",
           R"json({"allOf": [{"type": "string", "pattern": "e.{20}d"}, {"pattern": "n.{22}o"},
               {"pattern": "(a|b)*a(a|b){20}"}], "maxLength": 150})json",
           R"json({"allOf": [{"type": "string", "pattern": "^.*e.{20}d$"},
               {"pattern": "^.*n.{22}o.*$"}], "maxLength": 60})json",
       }) {
    const auto form = form_of(schema);
    for (unsigned seed = 0; seed < 2; ++seed) {
      const std::string text = random_text(form, seed);
      FormAutomaton automaton(form, FormAutomaton::Options());
      EXPECT_TRUE(automaton.can_end(automaton.next(automaton.start(), text))) << schema << text;
    }
  }
}

TEST(FormConstraint, MakesNoMoreForATokenThanItMay) {
  const auto form =
      form_of(R"json({"type": "string", "pattern": "^[^<]*a([^<]{40}|[^<]{51})$"})json");
  FormAutomaton automaton(form, FormAutomaton::Options());
  FormAutomaton::State state = automaton.next(automaton.start(), "\"");
  std::mt19937 random(1);
  std::size_t most = 0;
  for (int i = 0; i < 20'000; ++i) {
    state = automaton.next(state, random() % 2 == 0 ? 'a' : 'b');
    ASSERT_NE(state, FormAutomaton::kDead);
    most = std::max(most, automaton.size());
    if (automaton.is_large()) state = automaton.forget_others(state);
  }
  EXPECT_LT(most, std::size_t{32} << 20);
  EXPECT_LT(automaton.state_count(), 20'000u);
  // It knows still what came before: an a 40 characters ago, or not.
  std::string last(41, 'a');
  EXPECT_TRUE(automaton.can_end(automaton.next(automaton.next(state, last), "\"")));
  EXPECT_FALSE(
      automaton.can_end(automaton.next(automaton.next(state, std::string(60, 'b')), "\"")));
}

}  // namespace
}  // namespace flashmoe
