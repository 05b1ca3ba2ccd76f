// Sessions of the shipped model: how generations end, and what they refuse.
#include "flashmoe/session.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <iterator>
#include <limits>

#include "base/aligned_buffer.h"
#include "base/testing/repository.h"
#include "flashmoe/engine.h"

namespace flashmoe {
namespace {

class SessionOf : public ::testing::Test {
 protected:
  static constexpr std::size_t kContext = 128;

  static void SetUpTestSuite() {
    engine_ = Engine::open({.model = source_folder() / "models" / "sprout-89m-4bit",
                            .memory_bytes = std::uint64_t{1} << 30,
                            .context = kContext,
                            .prefill_chunk = 8})
                  .value();
  }
  static void TearDownTestSuite() { engine_.reset(); }
  void SetUp() override { session_ = engine_->new_session().value(); }

  std::vector<std::int32_t> ids(const std::string& text) const {
    return engine_->tokenize(text).value();
  }
  GenerateResult generate(const std::vector<std::int32_t>& prompt, const GenerateOptions& options) {
    return session_->generate(prompt, options).value();
  }
  /// The same generation, by a session that has seen nothing before.
  GenerateResult generate_fresh(const std::vector<std::int32_t>& prompt,
                                const GenerateOptions& options) {
    EXPECT_TRUE(session_->reset().ok());
    return generate(prompt, options);
  }

  const std::string story_ = "Once upon a time there was a small village by the sea, and";
  static std::unique_ptr<Engine> engine_;
  std::unique_ptr<Session> session_;
};

std::unique_ptr<Engine> SessionOf::engine_;

TEST_F(SessionOf, EndsWhenTheContextIsFull) {
  const GenerateResult result = generate(ids(story_), {.max_tokens = 1000, .ignore_eos = true});
  EXPECT_EQ(result.finish_reason, FinishReason::kContext);
  EXPECT_EQ(session_->token_ids().size(), kContext);
  EXPECT_EQ(session_->generate(ids("x"), {}).status().code(), StatusCode::kInvalidArgument);
}

TEST_F(SessionOf, NeverHoldsMoreTokensThanTheContext) {
  const std::vector<std::int32_t> full(kContext, 5);
  const GenerateResult result = generate(full, {.max_tokens = 3, .ignore_eos = true});
  EXPECT_EQ(result.finish_reason, FinishReason::kContext);
  EXPECT_TRUE(result.token_ids.empty());
  EXPECT_EQ(session_->token_ids().size(), kContext);
  EXPECT_EQ(generate({}, {.max_tokens = 3}).finish_reason, FinishReason::kContext);
}

TEST_F(SessionOf, RefusesAPromptBeyondTheContextAndStaysUsable) {
  const Status status = session_->generate(std::vector<std::int32_t>(kContext + 1, 5), {}).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("--context"), std::string::npos) << status.message();
  EXPECT_TRUE(session_->token_ids().empty());
  EXPECT_TRUE(session_->generate(ids("x"), {.max_tokens = 1}).ok());
}

TEST_F(SessionOf, RefusesAnEmptyPromptAndIdsOutOfRange) {
  EXPECT_EQ(session_->generate({}, {}).status().code(), StatusCode::kInvalidArgument);
  const auto vocab_size = static_cast<std::int32_t>(engine_->info().vocab_size);
  for (const std::int32_t id : {-1, vocab_size, std::numeric_limits<std::int32_t>::max()}) {
    const std::vector<std::int32_t> prompt = {1, id};
    const Status status = session_->generate(prompt, {}).status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << id;
    EXPECT_NE(status.message().find(std::to_string(id)), std::string::npos) << status.message();
  }
  EXPECT_TRUE(session_->token_ids().empty());
}

TEST_F(SessionOf, RefusesOptionsBeforeItReadsThePrompt) {
  const GenerateOptions bad_stop{.stop = {"x", ""}};
  EXPECT_EQ(session_->generate(ids(story_), bad_stop).status().code(),
            StatusCode::kInvalidArgument);
  const GenerateOptions bad_sampling{.sampling = {.temperature = -1}};
  EXPECT_EQ(session_->generate(ids(story_), bad_sampling).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_TRUE(session_->token_ids().empty());
}

TEST_F(SessionOf, GoesOnFromTheStepThatItsObserverRefused) {
  const std::vector<std::int32_t> prompt = ids(story_);
  ASSERT_GT(prompt.size(), 8u);
  ForwardObserver observer;
  observer.on_logits = [](std::size_t, std::size_t, std::span<const float>) {
    return Status(StatusCode::kIo, "the disk is full");
  };
  EXPECT_EQ(session_->forward(prompt, observer).message(), "the disk is full");
  const std::vector<std::int32_t> seen(prompt.begin(), prompt.begin() + 8);  // prefill_chunk
  EXPECT_TRUE(std::ranges::equal(session_->token_ids(), seen));
  const GenerateOptions four{.max_tokens = 4, .ignore_eos = true};
  const std::vector<std::int32_t> continued = generate({}, four).token_ids;
  EXPECT_EQ(generate_fresh(seen, four).token_ids, continued);
}

TEST_F(SessionOf, RefusesAPromptThatIsNotUtf8) {
  EXPECT_EQ(engine_->tokenize("a\xff").status().code(), StatusCode::kInvalidArgument);
}

TEST_F(SessionOf, PromptsOfOneToThreeTokensWork) {
  const std::vector<std::int32_t> all = ids(story_);
  for (std::size_t count = 1; count <= 3; ++count) {
    const GenerateResult result =
        generate_fresh({all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count)},
                       {.max_tokens = 2, .ignore_eos = true});
    EXPECT_EQ(result.token_ids.size(), 2u);
    EXPECT_EQ(result.statistics.prompt_tokens, count);
  }
}

TEST_F(SessionOf, NoTokensAskedForReadsThePromptOnly) {
  const GenerateResult result = generate(ids(story_), {.max_tokens = 0});
  EXPECT_TRUE(result.token_ids.empty());
  EXPECT_EQ(result.finish_reason, FinishReason::kLength);
  const GenerateOptions four{.max_tokens = 4, .ignore_eos = true};
  const std::vector<std::int32_t> continued = generate({}, four).token_ids;
  EXPECT_EQ(generate_fresh(ids(story_), four).token_ids, continued);
}

TEST_F(SessionOf, TheBytesReadOfAGenerationAreItsOwn) {
  // An engine that nobody has used: the first generation must not be charged with the loading.
  const auto engine = Engine::open({.model = source_folder() / "models" / "sprout-89m-4bit",
                                    .memory_bytes = std::uint64_t{1} << 30,
                                    .context = kContext})
                          .value();
  const std::uint64_t loaded = engine->statistics().bytes_read;
  EXPECT_GE(loaded, engine->memory_plan().dense_bytes / 2);  // vectors are planned for twice
  const auto session = engine->new_session().value();
  const GenerateResult result = session->generate(ids(story_), {.max_tokens = 2}).value();
  EXPECT_GT(result.statistics.bytes_read, 0u);
  EXPECT_EQ(engine->statistics().bytes_read, loaded + result.statistics.bytes_read);
}

TEST_F(SessionOf, TwoGenerationsContinueEachOther) {
  const GenerateOptions five{.max_tokens = 5, .ignore_eos = true};
  std::vector<std::int32_t> twice = generate(ids(story_), five).token_ids;
  const std::vector<std::int32_t> second = generate({}, five).token_ids;
  twice.insert(twice.end(), second.begin(), second.end());
  EXPECT_EQ(generate_fresh(ids(story_), {.max_tokens = 10, .ignore_eos = true}).token_ids, twice);
}

TEST_F(SessionOf, StopsBeforeAStopStringEvenAcrossTokens) {
  const GenerateOptions plain{.max_tokens = 24, .ignore_eos = true};
  const GenerateResult whole = generate(ids(story_), plain);
  ASSERT_GT(whole.text.size(), 20u);
  // The end of one token and the beginning of the next: a stop string over their border.
  const std::string first = engine_->detokenize(std::span(whole.token_ids).first(6)).value();
  const std::string stop = whole.text.substr(first.size() - 2, 4);
  GenerateOptions stopping = plain;
  stopping.stop = {stop};
  std::string streamed;
  stopping.on_text = [&](std::string_view text) {
    streamed += text;
    return true;
  };
  const GenerateResult result = generate_fresh(ids(story_), stopping);
  EXPECT_EQ(result.finish_reason, FinishReason::kStopText);
  EXPECT_EQ(result.text, whole.text.substr(0, whole.text.find(stop)));
  EXPECT_EQ(streamed, result.text);
}

TEST_F(SessionOf, EndOfTextEndsUnlessIgnored) {
  const std::vector<std::int32_t> question =
      engine_
          ->tokenize(
              engine_
                  ->render_chat(R"([{"role":"user","content":"A bag holds 10 red and 3 blue )"
                                R"(balls. One ball is drawn. What is the probability that it is )"
                                R"(red?"}])",
                                {})
                  .value())
          .value();
  const GenerateResult result = generate(question, {.max_tokens = 80});
  ASSERT_EQ(result.finish_reason, FinishReason::kStop);
  const auto& eos = engine_->info().eos_token_ids;
  EXPECT_NE(std::find(eos.begin(), eos.end(), result.token_ids.back()), eos.end());
  const std::size_t longer = result.token_ids.size() + 3;
  const GenerateResult ignoring =
      generate_fresh(question, {.max_tokens = longer, .ignore_eos = true});
  EXPECT_EQ(ignoring.token_ids.size(), longer);

  // A stop string may name it; the text does not show it.
  const std::string mark = engine_->token_bytes(result.token_ids.back());
  const GenerateResult named =
      generate_fresh(question, {.max_tokens = longer, .stop = {mark}, .ignore_eos = true});
  EXPECT_EQ(named.finish_reason, FinishReason::kStopText);
  EXPECT_EQ(named.text, result.text);
}

TEST_F(SessionOf, SpecialTokensAreTextWhereTheyAreMarkup) {
  const std::int32_t begin = ids("<|im_start|>").at(0);
  ASSERT_TRUE(engine_->is_special_token(begin));
  GenerateOptions options{.max_tokens = 2};
  options.sampling.logit_bias = {{begin, 100}};
  EXPECT_EQ(generate_fresh(ids(story_), options).text, "");
  options.markup = {begin};
  EXPECT_EQ(generate_fresh(ids(story_), options).text, "<|im_start|><|im_start|>");
}

TEST_F(SessionOf, StopsWhenOnTextSaysSo) {
  GenerateOptions options{.max_tokens = 50, .ignore_eos = true};
  options.on_text = [](std::string_view) { return false; };
  const GenerateResult result = generate(ids(story_), options);
  EXPECT_EQ(result.finish_reason, FinishReason::kCancelled);
  EXPECT_FALSE(result.text.empty());
  EXPECT_LT(result.token_ids.size(), 50u);
}

TEST_F(SessionOf, StopsAfterAnyStepOfThePromptAndGoesOnFromThere) {
  const std::vector<std::int32_t> prompt = ids(story_);
  ASSERT_GT(prompt.size(), 8u);
  const GenerateOptions plain{.max_tokens = 6, .ignore_eos = true};
  for (const std::size_t stop_at : {std::size_t{8}, prompt.size()}) {
    GenerateOptions options = plain;
    options.on_prompt = [&](std::size_t done, std::size_t) { return done < stop_at; };
    const GenerateResult stopped = generate_fresh(prompt, options);
    EXPECT_EQ(stopped.finish_reason, FinishReason::kCancelled) << stop_at;
    EXPECT_TRUE(stopped.token_ids.empty()) << stop_at;
    ASSERT_EQ(session_->token_ids().size(), stop_at);
    const std::vector<std::int32_t> continued = generate({}, plain).token_ids;
    const std::vector<std::int32_t> seen(prompt.begin(),
                                         prompt.begin() + static_cast<std::ptrdiff_t>(stop_at));
    EXPECT_EQ(generate_fresh(seen, plain).token_ids, continued) << stop_at;
  }
}

/// How a step is given up: a callback says so, or a flag that the ops see before the callback's
/// caller does.
enum class Way : std::uint8_t { kCallback, kFlag };

/// Options that give the generation up at the `at`-th piece of work of its prompt; `pieces` counts.
GenerateOptions stopping_at(std::size_t at, Way way, std::size_t& pieces,
                            std::atomic<bool>& cancel) {
  cancel = false;
  pieces = 0;
  GenerateOptions options{.max_tokens = 6, .ignore_eos = true, .cancel = &cancel};
  options.on_prompt = [=, &pieces, &cancel](std::size_t done, std::size_t total) {
    EXPECT_LE(done, total);
    if (pieces++ < at) return true;
    if (way == Way::kFlag) cancel = true;
    return way == Way::kFlag;
  };
  return options;
}

TEST_F(SessionOf, GoesOnAfterAStepThatWasGivenUpAsIfItHadNeverBegun) {
  const GenerateOptions plain{.max_tokens = 6, .ignore_eos = true};
  const std::vector<std::int32_t> story = ids(story_);
  const std::vector<std::int32_t> question = ids(" Why? Because of the wind that came");
  ASSERT_GT(story.size(), 8u);
  ASSERT_GT(question.size(), 8u);
  const std::vector<std::int32_t> first = generate(story, plain).token_ids;
  const std::vector<std::int32_t> second = generate(question, plain).token_ids;

  std::atomic<bool> cancel = false;
  std::size_t pieces = 0;
  for (const Way way : {Way::kCallback, Way::kFlag}) {
    for (const bool in_second : {false, true}) {
      std::size_t at = 0;
      for (bool was_given_up = true; was_given_up; at += 5) {
        SCOPED_TRACE(::testing::Message() << "way " << static_cast<int>(way) << ", second "
                                          << in_second << ", piece " << at);
        ASSERT_TRUE(session_->reset().ok());
        if (in_second) {
          ASSERT_EQ(generate(story, plain).token_ids, first);
        }
        const std::vector<std::int32_t>& prompt = in_second ? question : story;
        const std::size_t before = session_->token_ids().size();
        const GenerateResult stopped = generate(prompt, stopping_at(at, way, pieces, cancel));
        was_given_up = stopped.finish_reason == FinishReason::kCancelled;
        if (!was_given_up || !stopped.token_ids.empty()) break;
        // Whole steps of what was to be read, the token generated last included, or all of it.
        const std::size_t read = session_->token_ids().size() - before;
        const std::size_t pending = in_second ? 1 : 0;
        EXPECT_TRUE(read == 0 || (read + pending) % 8 == 0 || read == prompt.size()) << read;
        EXPECT_GE(stopped.statistics.prompt_tokens_read, read);
        EXPECT_LE(stopped.statistics.prompt_tokens_read, stopped.statistics.prompt_tokens);
        const std::vector<std::int32_t> rest(prompt.begin() + static_cast<std::ptrdiff_t>(read),
                                             prompt.end());
        EXPECT_EQ(generate(rest, plain).token_ids, in_second ? second : first);
        if (!in_second) {
          EXPECT_EQ(generate(question, plain).token_ids, second);
        }
      }
      EXPECT_GT(at, 15u) << "given up in several places";
    }
  }
}

// What the budget has for positions still to come has room for a copy of the state, or it does not.
TEST(SessionWithAPast, ReadsAgainNoMoreThanItMust) {
  const GenerateOptions plain{.max_tokens = 4, .ignore_eos = true};
  for (const bool has_room : {true, false}) {
    const std::size_t context = has_room ? 4096 : 64;
    const auto engine = Engine::open({.model = source_folder() / "models" / "sprout-89m-4bit",
                                      .memory_bytes = std::uint64_t{1} << 30,
                                      .context = context,
                                      .prefill_chunk = 8})
                            .value();
    const std::vector<std::int32_t> prompt = engine->tokenize("Once upon a time there was").value();
    const std::vector<std::int32_t> question = engine->tokenize("And why did they come?").value();
    const auto session = engine->new_session().value();
    ASSERT_TRUE(session->generate(prompt, plain).ok());
    const std::vector<std::int32_t> expected = session->generate(question, plain)->token_ids;
    ASSERT_TRUE(session->reset().ok());
    ASSERT_TRUE(session->generate(prompt, plain).ok());
    const std::size_t before = session->token_ids().size();
    std::atomic<bool> cancel = false;
    std::size_t pieces = 0;
    const GenerateResult stopped =
        session->generate(question, stopping_at(5, Way::kFlag, pieces, cancel)).value();
    EXPECT_EQ(stopped.finish_reason, FinishReason::kCancelled);
    ASSERT_EQ(session->token_ids().size(), before) << "in the first step";
    const GenerateResult again = session->generate(question, plain).value();
    EXPECT_EQ(again.token_ids, expected);
    const std::size_t pending = has_room ? 1 : before;
    EXPECT_EQ(again.statistics.prompt_tokens, pending + question.size());
  }
}

TEST_F(SessionOf, CountsWhatWasReadOfAPromptThatWasGivenUp) {
  const std::vector<std::int32_t> prompt = ids(story_);
  ASSERT_GT(prompt.size(), 2 * 8U);  // prefill_chunk: half of it is read before the last step
  GenerateOptions halfway{.max_tokens = 1};
  halfway.on_prompt = [](std::size_t done, std::size_t total) { return done < total / 2; };
  const GenerateStatistics half = generate(prompt, halfway).statistics;
  EXPECT_EQ(half.prompt_tokens, prompt.size());
  EXPECT_GT(half.prompt_tokens_read, prompt.size() / 4);
  EXPECT_LT(half.prompt_tokens_read, prompt.size());
  const GenerateStatistics whole = generate_fresh(prompt, {.max_tokens = 1}).statistics;
  EXPECT_EQ(whole.prompt_tokens_read, prompt.size());
}

TEST_F(SessionOf, IsCancelledBeforeItHasBegun) {
  const std::atomic<bool> cancel = true;
  const GenerateResult result = generate(ids(story_), {.cancel = &cancel});
  EXPECT_EQ(result.finish_reason, FinishReason::kCancelled);
  EXPECT_TRUE(result.token_ids.empty());
  EXPECT_TRUE(session_->token_ids().empty());
}

TEST_F(SessionOf, AnObservedPassIsCancelledToo) {
  const std::vector<std::int32_t> prompt = ids(story_);
  std::atomic<bool> cancel = false;
  ForwardObserver observer{.cancel = &cancel};
  observer.on_hidden = [&](std::size_t index, std::size_t position, std::size_t, auto) {
    cancel = position > 0 && index == 3;  // in the second step
    return Status();
  };
  EXPECT_EQ(session_->forward(prompt, observer).code(), StatusCode::kCancelled);
  const std::vector<std::int32_t> seen(prompt.begin(), prompt.begin() + 8);
  ASSERT_TRUE(std::ranges::equal(session_->token_ids(), seen));
  const std::vector<std::int32_t> rest(prompt.begin() + 8, prompt.end());
  const GenerateOptions four{.max_tokens = 4, .ignore_eos = true};
  const std::vector<std::int32_t> continued = generate(rest, four).token_ids;
  EXPECT_EQ(generate_fresh(prompt, four).token_ids, continued);
}

TEST_F(SessionOf, StopsBetweenTokensWhenCancelled) {
  std::atomic<bool> cancel = false;
  GenerateOptions options{.max_tokens = 50, .ignore_eos = true, .cancel = &cancel};
  std::size_t count = 0;
  options.on_token = [&](const TokenReport&) {
    cancel = ++count == 3;
    return true;
  };
  const GenerateResult result = generate(ids(story_), options);
  EXPECT_EQ(result.finish_reason, FinishReason::kCancelled);
  ASSERT_EQ(result.token_ids.size(), 3u);
  const GenerateOptions plain{.max_tokens = 3, .ignore_eos = true};
  std::vector<std::int32_t> both = result.token_ids;
  std::ranges::copy(generate({}, plain).token_ids, std::back_inserter(both));
  EXPECT_EQ(generate_fresh(ids(story_), {.max_tokens = 6, .ignore_eos = true}).token_ids, both);
}

TEST_F(SessionOf, AResetForgetsTheSequence) {
  const GenerateOptions options{.max_tokens = 5, .ignore_eos = true};
  const std::vector<std::int32_t> first = generate(ids(story_), options).token_ids;
  EXPECT_EQ(generate_fresh(ids(story_), options).token_ids, first);
  EXPECT_EQ(session_->token_ids().size(), ids(story_).size() + 5);
}

TEST(EngineStatisticsOf, TheWeightsSayWhetherHugePagesBackThem) {
  const auto engine = Engine::open({.model = source_folder() / "models" / "sprout-89m-4bit",
                                    .memory_bytes = std::uint64_t{1} << 30,
                                    .context = 64})
                          .value();
  const MemoryPlan& plan = engine->memory_plan();
  EXPECT_LE(engine->huge_page_bytes(),
            plan.dense_bytes + plan.expert_bytes + 2 * AlignedBuffer::kHugePageSize);
  AlignedBuffer other = AlignedBuffer::allocate(2 * AlignedBuffer::kHugePageSize).value();
  std::ranges::fill(other.bytes(), std::byte{1});
  if (other.huge_page_bytes() == 0) GTEST_SKIP() << "no huge pages to be had here";
  EXPECT_GT(engine->huge_page_bytes(), 0u);
}

TEST(EngineStatisticsOf, AGenerationAreThoseOfItsOwnWork) {
  const auto engine = Engine::open({.model = source_folder() / "models" / "sprout-89m-4bit",
                                    .memory_bytes = std::uint64_t{1} << 30,
                                    .context = 64,
                                    .prefill_chunk = 8})
                          .value();
  const EngineStatistics loaded = engine->statistics();
  EXPECT_GT(loaded.bytes_read, 7'000'000u);  // the dense weights
  EXPECT_EQ(loaded.steps, 0u);
  const auto session = engine->new_session().value();
  const std::vector<std::int32_t> prompt = {5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
  const GenerateResult result =
      session->generate(prompt, {.max_tokens = 3, .ignore_eos = true}).value();
  const EngineStatistics after = engine->statistics();
  EXPECT_EQ(after.bytes_read, loaded.bytes_read + result.statistics.bytes_read);
  EXPECT_EQ(after.steps, 2u + 2u);  // two chunks; the prompt gives the first token
  for (const double seconds :
       {after.mixer_seconds, after.router_seconds, after.mlp_seconds, after.output_seconds}) {
    EXPECT_GT(seconds, 0);
  }
  EXPECT_LE(after.mixer_seconds + after.router_seconds + after.mlp_seconds + after.output_seconds +
                after.expert_wait_seconds,
            result.statistics.prefill_seconds + result.statistics.decode_seconds);
}

}  // namespace
}  // namespace flashmoe
