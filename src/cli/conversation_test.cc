#include "cli/conversation.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <vector>

#include "base/result.h"
#include "base/testing/repository.h"

namespace flashmoe::cli {
namespace {

/// A session that answers "ok" with two tokens, or fails; no model.
class FakeSession : public Session {
 public:
  struct Script {
    bool fails = false;
    bool is_cancelled = false;  // before a word is said
    std::vector<std::int32_t> reply = {'o', 'k'};
    std::string text = "ok";           // of the reply
    std::vector<std::size_t> fed;      // prompt tokens of each generation
    std::vector<std::uint64_t> seeds;  // of each generation
    std::vector<std::int32_t> markup;  // of the last generation
    std::size_t reset_count = 0;
  };
  explicit FakeSession(Script& script) : script_(script) {}

  std::span<const std::int32_t> token_ids() const override { return ids_; }
  Result<GenerateResult> generate(std::span<const std::int32_t> prompt,
                                  const GenerateOptions& options) override {
    ids_.insert(ids_.end(), prompt.begin(), prompt.end());
    script_.fed.push_back(prompt.size());
    script_.seeds.push_back(options.sampling.seed);
    script_.markup = options.markup;
    if (script_.fails) return error(StatusCode::kIo, "disk gone");
    GenerateResult result;
    result.statistics.prompt_tokens = prompt.size();
    result.statistics.prompt_tokens_read = prompt.size();
    if (script_.is_cancelled) {
      result.finish_reason = FinishReason::kCancelled;
      return result;
    }
    ids_.insert(ids_.end(), script_.reply.begin(), script_.reply.end());
    result.text = script_.text;
    for (const char& c : result.text) {
      if (options.on_text) options.on_text({&c, 1});
    }
    return result;
  }
  Status forward(std::span<const std::int32_t>, const ForwardObserver&) override {
    return Status();
  }
  Result<SwitchReport> upgrade(std::span<const std::int32_t>, const GenerateOptions&) override {
    return SwitchReport();
  }
  Result<SwitchReport> switch_subject(std::span<const std::int32_t>, bool,
                                      const GenerateOptions&) override {
    return SwitchReport();
  }
  void reset_experts(bool) override {}
  Status reset() override {
    ++script_.reset_count;
    ids_.clear();
    return Status();
  }

 private:
  Script& script_;
  std::vector<std::int32_t> ids_;
};

/// Renders "<content>" per message and ";" to begin the reply, or messages in channels; a token is
/// a byte, or one of two marks.
class FakeEngine : public Engine {
 public:
  static constexpr std::int32_t kChannelMark = 256;
  static constexpr std::int32_t kReturnMark = 257;
  FakeSession::Script script;
  bool has_template = true;
  bool has_channels = false;
  MemoryPlan plan = {.context = 100};
  ModelInfo model = {.max_position_embeddings = 200};

  const ModelInfo& info() const override { return model; }
  const MemoryPlan& memory_plan() const override { return plan; }
  EngineStatistics statistics() const override { return {}; }
  std::string_view cpu_target() const override { return "none"; }
  std::string_view io_backend() const override { return "none"; }
  Result<std::vector<std::int32_t>> tokenize(std::string_view text,
                                             std::size_t /*token_max*/) const override {
    return std::vector<std::int32_t>(text.begin(), text.end());
  }
  Result<std::vector<std::int32_t>> tokenize_raw(std::string_view text,
                                                 std::size_t token_max) const override {
    return tokenize(text, token_max);
  }
  Result<std::vector<std::int32_t>> tokenize(const ChatPrompt& prompt,
                                             std::size_t token_max) const override {
    return tokenize(prompt.text, token_max);
  }
  Result<std::string> detokenize(std::span<const std::int32_t> ids) const override {
    return std::string(ids.begin(), ids.end());
  }
  Result<ChatPrompt> render_chat(std::string_view messages,
                                 const ChatRenderOptions&) const override {
    if (!has_template) return error(StatusCode::kNotFound, "no chat template");
    ChatPrompt prompt;
    for (const auto& message : nlohmann::json::parse(messages)) {
      if (has_channels) {
        const bool is_answer = message["role"] == "assistant";
        prompt.text += "<|start|>" + message["role"].get<std::string>();
        prompt.text += is_answer ? "<|channel|>final<|message|>" : "<|message|>";
        prompt.text += message["content"].get<std::string>() + "<|end|>";
        continue;
      }
      prompt.text += message["role"] == "assistant" ? ';' : '<';
      prompt.text += message["content"].get<std::string>();
    }
    prompt.text += has_channels ? "<|start|>assistant" : ";";
    return prompt;
  }
  std::string token_bytes(std::int32_t id) const override {
    if (id == kChannelMark) return "<|channel|>";
    return id == kReturnMark ? "<|return|>" : std::string(1, static_cast<char>(id));
  }
  bool is_special_token(std::int32_t id) const override { return id >= kChannelMark; }
  SamplingOptions recommended_sampling() const override { return {}; }
  Status set_residency(const ResidencyOptions&) override { return Status(); }
  const ResidencyOptions& residency() const override { return residency_; }
  Result<std::unique_ptr<Session>> new_session() override {
    return std::unique_ptr<Session>(std::make_unique<FakeSession>(script));
  }
  std::uint64_t huge_page_bytes() const override { return 0; }
  Result<std::unique_ptr<Scheduler>> new_scheduler(const SchedulerOptions&) override {
    return Status(StatusCode::kUnsupported, "a fake engine has one session");
  }
  Status finish_trace() override { return Status(); }
  Status finish_profile() override { return Status(); }

 private:
  ResidencyOptions residency_;
};

TEST(Conversation, FeedsOnlyWhatTheSessionDoesNotHold) {
  FakeEngine engine;
  const auto conversation = Conversation::create(engine).value();
  ASSERT_TRUE(conversation->say("abc", {}).ok());            // <abc;
  const Result<Reply> second = conversation->say("de", {});  // <abc;ok<de;
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(engine.script.fed, (std::vector<std::size_t>{5, 4}));
  EXPECT_EQ(second->reused_tokens, 7u);
  EXPECT_EQ(engine.script.reset_count, 0u);
  EXPECT_EQ(conversation->statistics().reused_tokens, 7u);
}

TEST(Conversation, BeginsAnewWhereTheReplyTokenizesDifferently) {
  FakeEngine engine;
  engine.script.reply = {'o' * 256 + 'k'};  // one token, whose text gives two
  const auto conversation = Conversation::create(engine).value();
  ASSERT_TRUE(conversation->say("abc", {}).ok());
  const Result<Reply> second = conversation->say("de", {});
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->reused_tokens, 0u);
  EXPECT_EQ(engine.script.fed, (std::vector<std::size_t>{5, 11}));
}

TEST(Conversation, AFailedReadLeavesTheMessagesAndCanBeRetried) {
  FakeEngine engine;
  const auto conversation = Conversation::create(engine).value();
  ASSERT_TRUE(conversation->say("abc", {}).ok());
  const auto before = conversation->messages();
  engine.script.fails = true;
  EXPECT_EQ(conversation->say("de", {}).status().code(), StatusCode::kIo);
  EXPECT_EQ(conversation->messages(), before);
  EXPECT_EQ(conversation->token_count(), 0u);
  engine.script.fails = false;
  ASSERT_TRUE(conversation->retry({}).ok());
  EXPECT_EQ(conversation->messages().size(), 4u);
  EXPECT_EQ(conversation->messages()[2]["content"], "de");
}

TEST(Conversation, AFullContextIsAnErrorThatLosesNothing) {
  FakeEngine engine;
  const auto conversation = Conversation::create(engine).value();
  ASSERT_TRUE(conversation->say("abc", {}).ok());
  const Status full = conversation->say(std::string(100, 'x'), {}).status();
  EXPECT_EQ(full.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(full.message().find("begin a new one"), std::string::npos) << full.message();
  EXPECT_NE(full.message().find("--context"), std::string::npos) << full.message();
  engine.model.max_position_embeddings = engine.plan.context;
  const Status fullest = conversation->say(std::string(100, 'x'), {}).status();
  EXPECT_EQ(fullest.message().find("--context"), std::string::npos) << fullest.message();
  EXPECT_EQ(conversation->messages().size(), 2u);
  EXPECT_EQ(conversation->say("de", {})->reused_tokens, 7u);
}

TEST(Conversation, MayFillTheContextWhereNothingIsToBeSaid) {
  FakeEngine engine;
  const auto conversation = Conversation::create(engine).value();
  const std::string full(engine.plan.context - 2, 'x');  // between < and ;
  EXPECT_EQ(conversation->say(full, {.max_tokens = 1}).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_TRUE(conversation->say(full, {.max_tokens = 0}).ok());
  EXPECT_FALSE(conversation->say(full + "x", {.max_tokens = 0}).ok());
}

TEST(Conversation, TellsThoughtsInChannelsApartAndKeepsTheAnswer) {
  FakeEngine engine;
  engine.has_channels = true;
  engine.plan.context = 1000;
  engine.model.vocab_size = 258;
  engine.model.eos_token_ids = {FakeEngine::kReturnMark};
  engine.script.text =
      "<|channel|>analysis<|message|>Greet.<|end|><|start|>assistant<|channel|>final<|message|>Hi";
  const auto conversation = Conversation::create(engine, {.dims_thoughts = true}).value();
  std::string told;
  const GenerateOptions options{.on_text = [&](std::string_view text) {
    told += text;
    return true;
  }};
  const Result<Reply> reply = conversation->say("abc", options);
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(told, "\033[2mGreet.\033[0m\n\nHi");
  EXPECT_EQ(reply->result.text, told);
  // The special tokens that the marks are made of are text, but for those that end it.
  EXPECT_EQ(engine.script.markup, std::vector<std::int32_t>{FakeEngine::kChannelMark});
  EXPECT_EQ(conversation->messages()[1],
            nlohmann::ordered_json(
                {{"role", "assistant"}, {"content", "Hi"}, {"reasoning_content", "Greet."}}));
  ASSERT_TRUE(conversation->say("def", options).ok());
  const auto scripted = Conversation::create(engine).value();
  EXPECT_EQ(scripted->say("abc", {})->result.text, "<think>\nGreet.\n</think>\n\nHi");
}

TEST(Conversation, RetryReplacesTheReplyAndDrawsWithAnotherSeed) {
  FakeEngine engine;
  const auto conversation = Conversation::create(engine).value();
  const GenerateOptions options{.sampling = {.seed = 40}};
  EXPECT_EQ(conversation->say("abc", options)->seed, 40u);
  EXPECT_EQ(conversation->retry(options)->seed, 41u);
  EXPECT_EQ(conversation->messages().size(), 2u);
  EXPECT_EQ(engine.script.seeds, (std::vector<std::uint64_t>{40, 41}));
  ASSERT_TRUE(conversation->reset().ok());
  EXPECT_EQ(conversation->retry(options).status().code(), StatusCode::kInvalidArgument);
}

TEST(Conversation, AMessageStoppedBeforeAWordIsTakenBack) {
  FakeEngine engine;
  engine.script.is_cancelled = true;
  const auto conversation = Conversation::create(engine).value();
  ASSERT_TRUE(conversation->say("abc", {}).ok());
  EXPECT_TRUE(conversation->messages().empty());
  engine.script.is_cancelled = false;
  ASSERT_TRUE(conversation->retry({}).ok());
  EXPECT_EQ(conversation->messages()[0]["content"], "abc");
}

TEST(Conversation, TheSystemMessageComesFirstAndOutlivesAReset) {
  FakeEngine engine;
  const auto conversation = Conversation::create(engine).value();
  ASSERT_TRUE(conversation->say("abc", {}).ok());
  ASSERT_TRUE(conversation->set_system("Be brief.").ok());
  ASSERT_TRUE(conversation->set_system("Be long.").ok());
  EXPECT_EQ(conversation->messages().size(), 3u);
  EXPECT_EQ(conversation->messages()[0]["content"], "Be long.");
  ASSERT_TRUE(conversation->reset().ok());
  EXPECT_EQ(conversation->messages().size(), 1u);
  ASSERT_TRUE(conversation->set_system("").ok());
  EXPECT_TRUE(conversation->messages().empty());
}

TEST(Conversation, InvalidUtf8IsAnErrorThatNamesTheByte) {
  FakeEngine engine;
  const auto conversation = Conversation::create(engine).value();
  const Status invalid = conversation->say("ab\xff", {}).status();
  EXPECT_EQ(invalid.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(invalid.message().find("byte 2"), std::string::npos) << invalid.message();
  EXPECT_FALSE(conversation->set_system("\xc3").ok());
}

TEST(Conversation, WithoutATemplatePointsToRun) {
  FakeEngine engine;
  engine.has_template = false;
  const Status status = Conversation::create(engine).status();
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_NE(status.message().find("flash-moe run"), std::string::npos) << status.message();
}

TEST(Conversation, ASecondTurnGivesTheTokensOfOneFromScratch) {
  const std::filesystem::path folder = source_folder() / "models" / "sprout-89m-4bit";
  const auto engine =
      Engine::open({.model = folder, .memory_bytes = std::uint64_t{1} << 30, .context = 512})
          .value();
  const GenerateOptions options{.max_tokens = 24};
  std::vector<std::int32_t> continued;
  nlohmann::ordered_json messages;
  {
    const auto conversation = Conversation::create(*engine).value();
    ASSERT_TRUE(
        conversation->say("A bag holds 3 red and 2 blue balls. How many balls?", options).ok());
    messages = conversation->messages();
    const Result<Reply> second = conversation->say("And without the red ones?", options);
    ASSERT_TRUE(second.ok()) << second.status().message();
    EXPECT_GT(second->reused_tokens, 20u);
    continued = second->result.token_ids;
  }
  messages.push_back({{"role", "user"}, {"content", "And without the red ones?"}});
  const auto ids = engine->tokenize(engine->render_chat(messages.dump(), {}).value()).value();
  const auto session = engine->new_session().value();
  EXPECT_EQ(session->generate(ids, options)->token_ids, continued);
}

}  // namespace
}  // namespace flashmoe::cli
