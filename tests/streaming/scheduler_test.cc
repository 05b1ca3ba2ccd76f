// Many sequences computed together are what each would be alone, and prompts that begin like others
// go on from there to the same tokens.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "flashmoe/engine.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

using ::testing::HasSubstr;
using Ids = std::vector<std::int32_t>;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// Remembers what it hears, and lets a test wait for the end.
class Listener : public GenerationListener {
 public:
  void on_prompt_token(const TokenLogprob& token, std::span<const TokenLogprob> top) override {
    const std::lock_guard lock(mutex_);
    prompt_logprobs_.push_back(token);
    prompt_tops_.emplace_back(top.begin(), top.end());
  }
  void on_token(const GeneratedToken& token) override {
    const std::lock_guard lock(mutex_);
    ids_.push_back(token.id);
    text_ += token.text;
    logprobs_.push_back(token.logprob ? token.logprob->logprob : 1);
    tops_.emplace_back(token.top_logprobs.begin(), token.top_logprobs.end());
    changed_.notify_all();
  }
  void on_end(const GenerationEnd& end) override {
    const std::lock_guard lock(mutex_);
    text_ += end.text;
    end_ = end;
    changed_.notify_all();
  }

  const GenerationEnd& wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return end_.has_value(); });
    return *end_;
  }
  void wait_for_tokens(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return end_.has_value() || ids_.size() >= count; });
  }
  std::size_t token_count() {
    const std::lock_guard lock(mutex_);
    return ids_.size();
  }
  const Ids& ids() const { return ids_; }
  const std::string& text() const { return text_; }
  const std::vector<float>& logprobs() const { return logprobs_; }
  const std::vector<std::vector<TokenLogprob>>& tops() const { return tops_; }
  const std::vector<TokenLogprob>& prompt_logprobs() const { return prompt_logprobs_; }
  const std::vector<std::vector<TokenLogprob>>& prompt_tops() const { return prompt_tops_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  Ids ids_;
  std::string text_;
  std::vector<float> logprobs_;
  std::vector<std::vector<TokenLogprob>> tops_;
  std::vector<TokenLogprob> prompt_logprobs_;
  std::vector<std::vector<TokenLogprob>> prompt_tops_;
  std::optional<GenerationEnd> end_;
};

class Scheduling : public ::testing::Test {
 protected:
  struct Options {
    std::size_t places = 4;
    std::uint64_t memory_bytes = std::uint64_t{200} << 20;
    std::uint64_t prefix_cache_bytes = std::uint64_t{32} << 20;
    std::size_t queue_max = 128;
  };

  void open(const Options& options) {
    engine_ = Engine::open({.model = sprout_folder(),
                            .memory_bytes = options.memory_bytes,
                            .threads = 2,
                            .context = 1024,
                            .sessions = options.places,
                            .prefix_cache_bytes = options.prefix_cache_bytes})
                  .value();
    scheduler_ = engine_->new_scheduler({.queue_max = options.queue_max}).value();
  }
  void TearDown() override {
    scheduler_.reset();
    engine_.reset();
  }

  /// Alone, in a session that has seen nothing.
  static GenerateResult alone(const Ids& prompt, const GenerateOptions& options) {
    static const std::unique_ptr<Engine> engine =
        Engine::open(
            {.model = sprout_folder(), .memory_bytes = std::uint64_t{1} << 30, .context = 1024})
            .value();
    return engine->new_session().value()->generate(prompt, options).value();
  }

  Ids ids(const std::string& text) const { return engine_->tokenize(text).value(); }
  std::shared_ptr<Listener> submit(GenerationRequest request, GenerationId* id = nullptr) {
    auto listener = std::make_shared<Listener>();
    const Result<GenerationId> submitted = scheduler_->submit(std::move(request), listener);
    EXPECT_TRUE(submitted.ok()) << submitted.status().message();
    if (id != nullptr) *id = *submitted;
    return listener;
  }

  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Scheduler> scheduler_;
};

/// Calls back when its generation gets a place, before the first step.
class PlaceListener : public Listener {
 public:
  explicit PlaceListener(std::function<void()> on_place) : on_place_(std::move(on_place)) {}
  void on_prompt(std::size_t done, std::size_t /*total*/) override {
    if (done == 0) on_place_();
  }

 private:
  std::function<void()> on_place_;
};

#ifdef FLASHMOE_SANITIZED
constexpr bool kIsSlow = true;  // several times
#else
constexpr bool kIsSlow = false;
#endif

const char* const kPrompts[] = {
    "Once upon a time there was a small village by the sea, and",
    "def quicksort(items):\n    if len(items) < 2:\n        return items\n",
    "春天来了，",
    "fn main() {\n    let mut map = HashMap::new();\n",
    "The history of the town begins",
    "x",
};

TEST_F(Scheduling, GivesEverySequenceWhatItWouldGetAlone) {
  const std::size_t tokens = kIsSlow ? 4 : 12;
  for (const std::uint64_t memory : {std::uint64_t{90} << 20, std::uint64_t{1} << 30}) {
    if (kIsSlow && memory >> 30 != 0) continue;
    open({.places = 3, .memory_bytes = memory, .prefix_cache_bytes = 0});
    std::vector<std::shared_ptr<Listener>> listeners;
    std::vector<SamplingOptions> samplings;
    for (std::size_t i = 0; i < std::size(kPrompts); ++i) {
      samplings.push_back({.temperature = i % 2 == 0 ? 0.0 : 0.8, .seed = i});
      listeners.push_back(submit({.prompt = ids(kPrompts[i]),
                                  .max_tokens = tokens + i * tokens / 2,
                                  .sampling = samplings.back(),
                                  .ignore_eos = true}));
    }
    for (std::size_t i = 0; i < std::size(kPrompts); ++i) {
      ASSERT_TRUE(listeners[i]->wait().status.ok());
      const GenerateResult expected = alone(
          ids(kPrompts[i]),
          {.max_tokens = tokens + i * tokens / 2, .sampling = samplings[i], .ignore_eos = true});
      EXPECT_EQ(listeners[i]->ids(), expected.token_ids) << kPrompts[i];
      EXPECT_EQ(listeners[i]->text(), expected.text);
    }
    const SchedulerStatistics statistics = scheduler_->statistics();
    EXPECT_GT(statistics.decode_rows, statistics.decode_steps) << "nothing was computed together";
    TearDown();
  }
}

TEST_F(Scheduling, GoesOnFromWhatItRemembersToTheSameTokens) {
  open({});
  Ids conversation = ids("Once upon a time there was a small village by the sea, and");
  std::size_t known = 0;
  for (int turn = 0; turn < 4; ++turn) {
    auto listener = submit({.prompt = conversation,
                            .checkpoints = {conversation.size() - 3},
                            .max_tokens = 20,
                            .ignore_eos = true});
    const GenerationEnd& end = listener->wait();
    EXPECT_EQ(end.statistics.cached_tokens, known) << "turn " << turn;
    EXPECT_EQ(listener->ids(),
              alone(conversation, {.max_tokens = 20, .ignore_eos = true}).token_ids);
    conversation.insert(conversation.end(), listener->ids().begin(), listener->ids().end());
    // The last token was picked, but nobody has consumed it.
    known = conversation.size() - 1;
    const Ids question = ids(" Then the king said to his daughter:");
    conversation.insert(conversation.end(), question.begin(), question.end());
  }
}

TEST_F(Scheduling, BringsBackTheExpertsOfWhoComesBack) {
  open({.places = 1, .memory_bytes = std::uint64_t{90} << 20});
  const std::size_t tokens = kIsSlow ? 8 : 40;
  std::vector<Ids> conversations = {
      ids("Once upon a time there was a small village by the sea, and"),
      ids("def main():\n    for i in range(10):\n        print(i)\n")};
  for (int turn = 0; turn < 3; ++turn) {
    for (Ids& conversation : conversations) {
      auto listener = submit({.prompt = conversation, .max_tokens = tokens, .ignore_eos = true});
      EXPECT_EQ(listener->wait().statistics.cached_tokens > 0, turn > 0);
      EXPECT_EQ(listener->ids(),
                alone(conversation, {.max_tokens = tokens, .ignore_eos = true}).token_ids);
      conversation.insert(conversation.end(), listener->ids().begin(), listener->ids().end());
    }
  }
  scheduler_->stop(milliseconds(10'000));
  EXPECT_GT(scheduler_->statistics().engine.experts_restored, 0u);
}

TEST_F(Scheduling, ComesBackToBeforeTheGenerationPrompt) {
  open({});
  const Ids prompt = ids("The history of the town begins with a river and its three bridges.");
  submit({.prompt = prompt, .checkpoints = {prompt.size() - 4}, .max_tokens = 9})->wait();
  Ids other(prompt.begin(), prompt.end() - 4);
  const Ids rest = ids(" Nobody knew why.");
  other.insert(other.end(), rest.begin(), rest.end());
  auto listener = submit({.prompt = other, .max_tokens = 9, .ignore_eos = true});
  EXPECT_EQ(listener->wait().statistics.cached_tokens, prompt.size() - 4);
  EXPECT_EQ(listener->ids(), alone(other, {.max_tokens = 9, .ignore_eos = true}).token_ids);
  // Both begin alike; the first goes on as if the second had never been.
  auto again = submit({.prompt = prompt, .max_tokens = 9, .ignore_eos = true});
  again->wait();
  EXPECT_EQ(again->ids(), alone(prompt, {.max_tokens = 9, .ignore_eos = true}).token_ids);
}

TEST_F(Scheduling, RemembersTheTurnsOfAPromptAsFarAsTheCacheHasRoom) {
  constexpr std::size_t kTurn = 100;
  constexpr std::size_t kTurns = 8;
  const auto cached_of_edits = [&](std::uint64_t cache_bytes) {
    open({.places = 1, .prefix_cache_bytes = cache_bytes});
    std::string text;
    for (int i = 0; i < 600; ++i) text.append(" river ").append(std::to_string(i));
    Ids prompt = ids(text);
    prompt.resize(kTurn * kTurns + 20);
    GenerationRequest request{.prompt = prompt, .max_tokens = 1, .ignore_eos = true};
    for (std::size_t turn = 1; turn <= kTurns; ++turn) request.checkpoints.push_back(turn * kTurn);
    submit(std::move(request))->wait();
    std::vector<std::size_t> cached;
    for (const std::size_t turn : {7, 4, 2}) {
      Ids edited(prompt.begin(), prompt.begin() + static_cast<std::ptrdiff_t>(turn * kTurn + 30));
      const Ids rest = ids(" Nobody knew why.");
      edited.insert(edited.end(), rest.begin(), rest.end());
      auto listener = submit({.prompt = edited, .max_tokens = 4, .ignore_eos = true});
      cached.push_back(listener->wait().statistics.cached_tokens);
      EXPECT_EQ(listener->ids(), alone(edited, {.max_tokens = 4, .ignore_eos = true}).token_ids);
    }
    TearDown();
    return cached;
  };
  EXPECT_EQ(cached_of_edits(std::uint64_t{64} << 20), (std::vector<std::size_t>{700, 400, 200}));
  // The last two turns, and two on the way: 300 and 600.
  EXPECT_EQ(cached_of_edits(std::uint64_t{10} << 20), (std::vector<std::size_t>{700, 300, 0}));
}

TEST_F(Scheduling, RemembersWhereTwoPromptsPart) {
  open({});
  const std::string system(600, 'a');
  const std::string common = "The rules: " + system + ". ";
  const std::size_t common_size = ids(common).size();
  const auto cached = [&](const std::string& rest) {
    Ids prompt = ids(common);
    const Ids tail = ids(rest + std::string(400, 'b'));
    prompt.insert(prompt.end(), tail.begin(), tail.end());
    auto listener = submit({.prompt = prompt, .max_tokens = 4, .ignore_eos = true});
    const std::size_t count = listener->wait().statistics.cached_tokens;
    EXPECT_EQ(listener->ids(), alone(prompt, {.max_tokens = 4, .ignore_eos = true}).token_ids);
    return count;
  };
  EXPECT_EQ(cached("One"), 0u);
  EXPECT_EQ(cached("Two"), 0u);  // parts from the first: from now on it is remembered
  EXPECT_EQ(cached("Three"), common_size);
}

TEST_F(Scheduling, ReadsACommonBeginningOnce) {
  open({.places = 4});
  const Ids prompt = ids(std::string(500, 'a').append(" and so on, to the end of the day"));
  std::vector<std::shared_ptr<Listener>> listeners;
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    listeners.push_back(submit({.prompt = prompt,
                                .checkpoints = {prompt.size() - 3},
                                .max_tokens = 8,
                                .sampling = {.temperature = 1, .seed = seed},
                                .ignore_eos = true}));
  }
  std::size_t computed = 0;
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    const GenerationStatistics& statistics = listeners[seed]->wait().statistics;
    computed += statistics.prompt_tokens - statistics.cached_tokens;
    EXPECT_EQ(listeners[seed]->ids(), alone(prompt, {.max_tokens = 8,
                                                     .sampling = {.temperature = 1, .seed = seed},
                                                     .ignore_eos = true})
                                          .token_ids);
  }
  EXPECT_EQ(computed, prompt.size() + 3 * 3);
}

TEST_F(Scheduling, ForgetsWhenThePrefixBudgetIsSmall) {
  open({.prefix_cache_bytes = 3u << 20});
  for (int i = 0; i < 12; ++i) {
    submit({.prompt = ids(fmt::format("Story {} is about a dog", i)), .max_tokens = 3})->wait();
    EXPECT_LE(scheduler_->statistics().checkpoint_bytes, 3u << 20);
  }
  // on_end() comes before the counts of its step.
  scheduler_->stop(milliseconds(10'000));
  EXPECT_GT(scheduler_->statistics().checkpoint_evictions, 0u);
}

TEST_F(Scheduling, CancelsWithinATokenAndGoesOnWithOthers) {
  open({});
  GenerationId id = 0;
  auto endless = submit({.prompt = ids(kPrompts[0]), .max_tokens = 900, .ignore_eos = true}, &id);
  auto other = submit({.prompt = ids(kPrompts[1]), .max_tokens = 60, .ignore_eos = true});
  endless->wait_for_tokens(5);
  scheduler_->cancel(id);
  EXPECT_EQ(endless->wait().reason, FinishReason::kCancelled);
  EXPECT_LT(endless->ids().size(), 100u);
  EXPECT_EQ(other->wait().reason, FinishReason::kLength);
  EXPECT_EQ(other->ids(),
            alone(ids(kPrompts[1]), {.max_tokens = 60, .ignore_eos = true}).token_ids);
}

TEST_F(Scheduling, RefusesBeyondItsQueueAndEndsWhatIsLate) {
  open({.places = 1, .queue_max = 1});
  GenerationId id = 0;
  auto first = submit({.prompt = ids(kPrompts[0]), .max_tokens = 900, .ignore_eos = true}, &id);
  first->wait_for_tokens(1);
  auto late = submit({.prompt = ids("x"), .deadline = steady_clock::now() + milliseconds(30)});
  const Status busy =
      scheduler_->submit({.prompt = ids("y")}, std::make_shared<Listener>()).status();
  EXPECT_EQ(busy.code(), StatusCode::kBusy);
  EXPECT_EQ(late->wait().status.code(), StatusCode::kBusy);
  scheduler_->cancel(id);
  first->wait();
}

TEST_F(Scheduling, RefusesNoGenerationOfARequestThatItHasTaken) {
  open({.places = 2, .queue_max = 3});
  const std::size_t tokens = kIsSlow ? 12 : 60;
  const auto sampling = [](std::size_t i) { return SamplingOptions{.temperature = 1, .seed = i}; };
  const Ids prompt = ids(kPrompts[0]);
  std::vector<std::shared_ptr<Listener>> many;
  GenerationId first = 0;
  for (std::size_t i = 0; i < 6; ++i) {
    GenerationRequest request{
        .prompt = prompt, .max_tokens = tokens, .sampling = sampling(i), .ignore_eos = true};
    // For more than the queue holds they are not refused.
    if (i > 0) request.companion = first;
    many.push_back(submit(std::move(request), i == 0 ? &first : nullptr));
  }
  const Result<GenerationId> refused =
      scheduler_->submit({.prompt = ids("x")}, std::make_shared<Listener>());
  EXPECT_EQ(refused.status().code(), StatusCode::kBusy);
  for (std::size_t i = 0; i < many.size(); ++i) {
    ASSERT_TRUE(many[i]->wait().status.ok());
    const GenerateOptions options{
        .max_tokens = tokens, .sampling = sampling(i), .ignore_eos = true};
    EXPECT_EQ(many[i]->ids(), alone(prompt, options).token_ids) << i;
  }
}

TEST_F(Scheduling, GivesAPlaceOfOneOfSeveralToWhoHasNone) {
  open({.places = 2});
  const std::size_t tokens = kIsSlow ? 30 : 300;
  const Ids prompt = ids(kPrompts[0]);
  GenerationId first = 0;
  auto one = submit({.prompt = prompt, .max_tokens = tokens, .ignore_eos = true}, &first);
  GenerationRequest request{.prompt = prompt,
                            .max_tokens = tokens,
                            .sampling = {.temperature = 1, .seed = 3},
                            .ignore_eos = true};
  request.companion = first;
  auto two = submit(std::move(request));
  one->wait_for_tokens(2);
  two->wait_for_tokens(2);
  const Ids other = ids(kPrompts[1]);
  auto short_one = submit({.prompt = other, .max_tokens = 2, .ignore_eos = true});
  short_one->wait();
  EXPECT_LT(one->token_count(), tokens) << "it has waited for a whole generation";
  EXPECT_TRUE(two->wait().status.ok());
  EXPECT_TRUE(one->wait().status.ok());
  EXPECT_EQ(short_one->ids(), alone(other, {.max_tokens = 2, .ignore_eos = true}).token_ids);
  EXPECT_EQ(one->ids(), alone(prompt, {.max_tokens = tokens, .ignore_eos = true}).token_ids);
  EXPECT_EQ(two->ids(), alone(prompt, {.max_tokens = tokens,
                                       .sampling = {.temperature = 1, .seed = 3},
                                       .ignore_eos = true})
                            .token_ids);
  EXPECT_EQ(two->wait().statistics.generated_tokens, tokens);
}

TEST_F(Scheduling, DrainsBeforeItStopsAndThenCancels) {
  open({});
  auto brief = submit({.prompt = ids(kPrompts[0]), .max_tokens = 10, .ignore_eos = true});
  scheduler_->stop(milliseconds(60'000));
  EXPECT_EQ(brief->wait().reason, FinishReason::kLength);
  EXPECT_EQ(scheduler_->submit({.prompt = ids("x")}, std::make_shared<Listener>()).status().code(),
            StatusCode::kBusy);
  TearDown();
  open({});
  auto endless = submit({.prompt = ids(kPrompts[0]), .max_tokens = 900, .ignore_eos = true});
  endless->wait_for_tokens(1);
  scheduler_->stop(milliseconds(0));
  EXPECT_EQ(endless->wait().reason, FinishReason::kCancelled);
}

/// Logarithms of the probabilities of tokens 1 and on, each after those before it.
std::vector<double> likelihoods(const Ids& ids) {
  const std::unique_ptr<Engine> engine =
      Engine::open(
          {.model = sprout_folder(), .memory_bytes = std::uint64_t{1} << 30, .context = 1024})
          .value();
  const std::size_t vocab_size = engine->info().vocab_size;
  std::vector<double> out;
  ForwardObserver observer;
  observer.on_logits = [&](std::size_t position, std::size_t rows, std::span<const float> logits) {
    for (std::size_t r = 0; r < rows && position + r + 1 < ids.size(); ++r) {
      const std::span<const float> row = logits.subspan(r * vocab_size, vocab_size);
      double sum = 0;
      for (const float logit : row) sum += std::exp(static_cast<double>(logit));
      const auto next = static_cast<std::size_t>(ids[position + r + 1]);
      out.push_back(static_cast<double>(row[next]) - std::log(sum));
    }
    return Status();
  };
  EXPECT_TRUE(engine->new_session().value()->forward(ids, observer).ok());
  return out;
}

TEST_F(Scheduling, ScoresPromptsWhateverIsRememberedAndRunsBeside) {
  open({});
  std::string text;
  for (int i = 0; i < 12; ++i) text += kPrompts[i % 3];
  const Ids prompt = ids(text);
  submit({.prompt = prompt, .max_tokens = 1})->wait();
  const auto beside = submit({.prompt = ids(kPrompts[1]), .max_tokens = 30});
  const auto scored =
      submit({.prompt = prompt, .max_tokens = 4, .top_logprobs = 2, .scores_prompt = true});
  EXPECT_EQ(scored->wait().statistics.cached_tokens, 0u);
  beside->wait();
  const std::vector<double> expected = likelihoods(prompt);
  ASSERT_EQ(scored->prompt_logprobs().size(), prompt.size() - 1);
  for (std::size_t i = 0; i + 1 < prompt.size(); ++i) {
    const TokenLogprob& token = scored->prompt_logprobs()[i];
    EXPECT_EQ(token.id, prompt[i + 1]);
    EXPECT_NEAR(token.logprob, expected[i], 1e-5) << i;
    const std::vector<TokenLogprob>& top = scored->prompt_tops()[i];
    ASSERT_EQ(top.size(), 2u);
    EXPECT_GE(top[0].logprob, top[1].logprob);
    EXPECT_GE(top[0].logprob, token.logprob);
  }
  EXPECT_EQ(scored->ids(), alone(prompt, {.max_tokens = 4}).token_ids);
}

TEST_F(Scheduling, ScoresAPromptOfOneTokenWithoutAWord) {
  open({});
  const auto scored = submit(
      {.prompt = {ids("a").front()}, .max_tokens = 0, .top_logprobs = 0, .scores_prompt = true});
  EXPECT_EQ(scored->wait().reason, FinishReason::kLength);
  EXPECT_TRUE(scored->prompt_logprobs().empty());
}

TEST_F(Scheduling, TellsLogprobsOfWhatItPicked) {
  open({});
  auto listener = submit({.prompt = ids(kPrompts[0]), .max_tokens = 5, .top_logprobs = 3});
  listener->wait();
  for (std::size_t i = 0; i < listener->ids().size(); ++i) {
    ASSERT_EQ(listener->tops()[i].size(), 3u);
    EXPECT_EQ(listener->tops()[i][0].id, listener->ids()[i]);  // greedy
    EXPECT_EQ(listener->tops()[i][0].logprob, listener->logprobs()[i]);
    EXPECT_LT(listener->logprobs()[i], 0);
    EXPECT_GE(listener->tops()[i][0].logprob, listener->tops()[i][1].logprob);
  }
}

TEST_F(Scheduling, StopsAtATextAndSaysWhich) {
  open({});
  const std::string text = alone(ids(kPrompts[0]), {.max_tokens = 20}).text;
  const std::string stop = text.substr(10, 5);
  auto listener = submit({.prompt = ids(kPrompts[0]), .max_tokens = 20, .stop = {"@@@", stop}});
  const GenerationEnd& end = listener->wait();
  EXPECT_EQ(end.reason, FinishReason::kStopText);
  EXPECT_EQ(end.stop, 1u);
  EXPECT_EQ(listener->text(), text.substr(0, text.find(stop)));
}

TEST_F(Scheduling, TakesAllSessionsAndRefusesModesOfOneSubject) {
  open({});
  EXPECT_EQ(engine_->new_session().status().code(), StatusCode::kOutOfBudget);
  EXPECT_EQ(engine_->new_scheduler({}).status().code(), StatusCode::kOutOfBudget);
  scheduler_.reset();
  EXPECT_TRUE(engine_->new_session().ok());
  engine_ = Engine::open({.model = sprout_folder(),
                          .residency = {.residency = Residency::kDelta, .capacity = 40}})
                .value();
  EXPECT_THAT(engine_->new_scheduler({}).status().message(), HasSubstr("delta"));
}

TEST_F(Scheduling, GivesUpAStepThatNobodyWantsAndRemembersNothingOfIt) {
  open({.places = 1});
  Ids prompt;
  while (prompt.size() < 700) {
    for (const std::int32_t id : ids(kPrompts[0])) prompt.push_back(id);
  }
  // Ids count from 1. The cancellation comes before the step of the prompt, which then stops at its
  // first look.
  const auto cancelled =
      std::make_shared<PlaceListener>([this] { scheduler_->cancel(GenerationId{1}); });
  ASSERT_EQ(scheduler_->submit({.prompt = prompt, .max_tokens = 4}, cancelled).value(), 1u);
  EXPECT_EQ(cancelled->wait().reason, FinishReason::kCancelled);
  EXPECT_TRUE(cancelled->ids().empty());
  const auto again = submit({.prompt = prompt, .max_tokens = 4, .ignore_eos = true});
  EXPECT_EQ(again->wait().statistics.cached_tokens, 0u);
  EXPECT_EQ(again->ids(), alone(prompt, {.max_tokens = 4, .ignore_eos = true}).token_ids);
}

TEST_F(Scheduling, ACancelledPromptHarmsNoOther) {
  open({.places = 3});
  Ids prompt;
  while (prompt.size() < 600) {
    for (const std::int32_t id : ids(kPrompts[1])) prompt.push_back(id);
  }
  const Ids other_prompt = ids(kPrompts[4]);
  const GenerateOptions eight{.max_tokens = 8, .ignore_eos = true};
  const Ids expected = alone(other_prompt, eight).token_ids;
  const Ids expected_of_cancelled = alone(prompt, eight).token_ids;
  for (int round = 0; round < 6; ++round) {
    // Somewhere in the prompt's steps, beside which the other one may run, or after them.
    GenerationId id = 0;
    const auto cancelled = submit({.prompt = prompt, .max_tokens = 8, .ignore_eos = true}, &id);
    const auto other = submit({.prompt = other_prompt, .max_tokens = 8, .ignore_eos = true});
    std::this_thread::sleep_for(milliseconds(15 * round));
    scheduler_->cancel(id);
    other->wait();
    EXPECT_EQ(other->ids(), expected) << round;
    cancelled->wait();
    const auto again = submit({.prompt = prompt, .max_tokens = 8, .ignore_eos = true});
    again->wait();
    EXPECT_EQ(again->ids(), expected_of_cancelled) << round;
  }
}

}  // namespace
}  // namespace flashmoe::testing
