#include "cli/sampling_flags.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdint>
#include <string>
#include <system_error>

namespace flashmoe::cli {
namespace {

/// What is wrong with a seed, or nothing. The library's own conversion wraps negative numbers.
std::string check_seed(const std::string& text) {
  std::uint64_t seed = 0;
  const char* const end = text.data() + text.size();
  const auto [parsed_end, failure] = std::from_chars(text.data(), end, seed);
  if (failure == std::errc() && parsed_end == end) return "";
  return "a seed is a whole number from 0 to 2^64 - 1, not " + text;
}

}  // namespace

void add_sampling_flags(CLI::App& command, SamplingFlags& flags) {
  GenerateOptions& generate = flags.generate;
  SamplingOptions& sampling = generate.sampling;
  command.add_option("-n,--max-tokens", generate.max_tokens, "Stop after so many tokens")
      ->check(CLI::Range(std::size_t{0}, std::size_t{1} << 30))
      ->capture_default_str();
  command.add_option("--temperature", sampling.temperature, "0 always takes the likeliest token")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  command.add_option("--top-k", sampling.top_k, "Draw from the k likeliest tokens; 0: from all")
      ->check(CLI::Range(std::size_t{0}, std::size_t{1} << 30))
      ->capture_default_str();
  command.add_option("--top-p", sampling.top_p, "Draw from the likeliest that make up this share")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command
      .add_option("--min-p", sampling.min_p,
                  "Drop tokens less likely than this share of the likeliest")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command
      .add_option("--repeat-penalty", sampling.repeat_penalty,
                  "Above 1: make the last 64 tokens less likely to come again")
      ->check(CLI::Range(0.01, 100.0))
      ->capture_default_str();
  command.add_option("--seed", sampling.seed, "The same seed gives the same text")
      ->check(check_seed)
      ->capture_default_str();
  command.add_option("--stop", generate.stop, "Text that ends the generation; may be repeated")
      ->type_name("TEXT")
      ->allow_extra_args(false);  // one text each time: the next word may be MODEL
  command.add_flag("--ignore-eos", generate.ignore_eos,
                   "Go on past the model's end-of-text tokens");
}

}  // namespace flashmoe::cli
