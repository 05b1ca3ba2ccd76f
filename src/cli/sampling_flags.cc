#include "cli/sampling_flags.h"

#include <CLI/CLI.hpp>
#include <random>
#include <utility>

#include "cli/option_groups.h"
#include "cli/option_values.h"

namespace flashmoe::cli {
namespace {

constexpr const char* kModelsOwn = "the model's";

/// What llama.cpp's tools, and scripts written for them, say for a seed that is drawn.
constexpr std::string_view kDrawnSeed = "-1";

}  // namespace

GenerateOptions SamplingFlags::options(SamplingOptions recommended,
                                       std::size_t max_tokens_default) const {
  GenerateOptions options;
  options.max_tokens = max_tokens.value_or(max_tokens_default);
  options.stop = stop;
  options.ignore_eos = ignore_eos;
  SamplingOptions& sampling = options.sampling;
  sampling = std::move(recommended);
  sampling.temperature = temperature.value_or(sampling.temperature);
  sampling.top_k = top_k.value_or(sampling.top_k);
  sampling.top_p = top_p.value_or(sampling.top_p);
  sampling.min_p = min_p.value_or(sampling.min_p);
  sampling.repeat_penalty = repeat_penalty.value_or(sampling.repeat_penalty);
  // 32 bits: as many texts as anybody will ask for, and no more digits than one likes to retype.
  sampling.seed = seed ? *seed : std::random_device()();
  return options;
}

void forget_preset_sampling(const CLI::App& command, SamplingFlags& flags) {
  const auto forget = [&command](const char* name, auto& value) {
    if (command.count(name) == 0) value.reset();
  };
  forget("--temperature", flags.temperature);
  forget("--top-k", flags.top_k);
  forget("--top-p", flags.top_p);
  forget("--min-p", flags.min_p);
  forget("--repeat-penalty", flags.repeat_penalty);
}

void add_sampling_flags(CLI::App& command, SamplingFlags& flags,
                        const std::string& max_tokens_default) {
  constexpr std::uint64_t kCountMax = std::uint64_t{1} << 30;
  add_whole_number(command, "-n,--max-tokens,--n-predict", flags.max_tokens, {0, kCountMax},
                   "Stop after so many tokens")
      ->default_str(max_tokens_default)
      ->group(kAnswerOptions);
  command.add_option("--stop", flags.stop, "Text that ends the answer; may be repeated")
      ->type_name("TEXT")
      ->allow_extra_args(false)  // one text each time: the next word may be MODEL
      ->group(kAnswerOptions);
  command.add_flag("--ignore-eos", flags.ignore_eos, "Go on past the model's end-of-text tokens")
      ->group(kMoreAnswerOptions);
  add_decimal(command, "--temperature,--temp", flags.temperature, {0, 100},
              "0 always takes the likeliest token")
      ->default_str(kModelsOwn)
      ->group(kAnswerOptions);
  internal::add_checked(
      command, "--seed",
      "The same seed gives the same text; without, or with -1, each run draws its own",
      [](const std::string& text) {
        return text == kDrawnSeed ? std::string() : check_whole_number(text, {});
      },
      [&flags](const std::string& text) {
        flags.seed.reset();
        if (text != kDrawnSeed) flags.seed = whole_number(text);
      })
      ->type_name("N")
      ->group(kAnswerOptions);
  add_whole_number(command, "--top-k", flags.top_k, {0, kCountMax},
                   "Draw from the k likeliest tokens; 0: from all")
      ->default_str(kModelsOwn)
      ->group(kMoreAnswerOptions);
  add_decimal(command, "--top-p", flags.top_p, {0, 1},
              "Draw from the likeliest that make up this share")
      ->default_str(kModelsOwn)
      ->group(kMoreAnswerOptions);
  add_decimal(command, "--min-p", flags.min_p, {0, 1},
              "Drop tokens less likely than this share of the likeliest")
      ->default_str(kModelsOwn)
      ->group(kMoreAnswerOptions);
  add_decimal(command, "--repeat-penalty", flags.repeat_penalty, {0.01, 100},
              "Above 1: make the last 64 tokens less likely to come again")
      ->default_str(kModelsOwn)
      ->group(kMoreAnswerOptions);
}

}  // namespace flashmoe::cli
