#include "server/reply_writer.h"

#include <fmt/chrono.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <random>

#include "base/units.h"

namespace flashmoe::server {

namespace {

/// Of text, and of a token with its logprob: its bytes, and a few numbers and lists of JSON.
constexpr std::size_t kTextBytes = 8;
constexpr std::size_t kTokenBytes = 2048;
constexpr std::size_t kAlternativeBytes = 1024;

}  // namespace

std::size_t bytes_kept_as_tokens(std::optional<std::size_t> top_logprobs) {
  return top_logprobs ? kTokenBytes + *top_logprobs * kAlternativeBytes : kTextBytes;
}

void ReplyWriter::echo(std::span<const std::size_t> choices, const OutputEvent& event,
                       std::vector<TokenInfo>& tokens, std::string& out) {
  for (const std::size_t choice : choices) {
    std::vector<TokenInfo> copy = tokens;
    this->event(choice, event, copy, out);
  }
  tokens.clear();
}

void CollectedChoice::add(const OutputEvent& event, std::string_view call_prefix) {
  switch (event.kind) {
    case OutputEvent::Kind::kText:
      text += event.text;
      break;
    case OutputEvent::Kind::kReasoning:
      reasoning += event.text;
      break;
    case OutputEvent::Kind::kCallBegin:
      calls.push_back({.id = random_id(call_prefix), .name = event.text});
      break;
    case OutputEvent::Kind::kCallArguments:
      calls.back().arguments += event.text;
      break;
    case OutputEvent::Kind::kCallEnd:
      calls.back().is_complete = event.is_complete;
      break;
  }
}

bool adds_to(OutputEvent::Kind kind, const OutputEvent& event) {
  using Kind = OutputEvent::Kind;
  if (event.kind == Kind::kCallBegin) return false;
  const bool is_of_call = event.kind == Kind::kCallArguments || event.kind == Kind::kCallEnd;
  return kind == (is_of_call ? Kind::kCallBegin : event.kind);
}

bool is_whole_text(std::string_view text) {
  const auto is_inner = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; };
  std::size_t inner = 0;
  while (inner < 3 && inner < text.size() && is_inner(text[text.size() - 1 - inner])) ++inner;
  if (inner == text.size()) return true;
  const auto lead = static_cast<unsigned char>(text[text.size() - 1 - inner]);
  const std::size_t wanted = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC0 ? 1 : 0;
  return inner >= wanted;
}

void move_tokens(std::vector<TokenInfo>& tokens, std::vector<TokenInfo>& kept) {
  std::move(tokens.begin(), tokens.end(), std::back_inserter(kept));
  tokens.clear();
}

std::string random_id(std::string_view prefix) {
  static thread_local std::mt19937_64 random{std::random_device{}()};
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string id(prefix);
  for (int i = 0; i < 24; ++i) id += kDigits[random() % kDigits.size()];
  return id;
}

std::int64_t unix_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string rfc3339(std::int64_t unix_seconds) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}Z", fmt::gmtime(static_cast<std::time_t>(unix_seconds)));
}

void append_sse(std::string& out, std::string_view name, const Json& data) {
  if (!name.empty()) {
    out += "event: ";
    out += name;
    out += '\n';
  }
  out += "data: ";
  out += dump(data);
  out += "\n\n";
}

Json timings_json(const ReplyCounts& counts) {
  const GenerationStatistics& run = counts.statistics;
  const std::size_t computed = run.prompt_tokens - run.cached_tokens;
  // The first token falls to the prompt.
  const std::size_t decoded = run.generated_tokens > 0 ? run.generated_tokens - 1 : 0;
  const auto rate = [](std::size_t tokens, double seconds) {
    return ratio(static_cast<double>(tokens), seconds);
  };
  const auto hits = static_cast<double>(run.expert_hits);
  return {{"cache_n", run.cached_tokens},
          {"prompt_n", computed},
          {"prompt_ms", run.prefill_seconds * 1e3},
          {"prompt_per_second", rate(computed, run.prefill_seconds)},
          {"predicted_n", run.generated_tokens},
          {"predicted_ms", run.decode_seconds * 1e3},
          {"predicted_per_second", rate(decoded, run.decode_seconds)},
          {"queue_ms", run.queue_seconds * 1e3},
          {"expert_hit_rate", ratio(hits, hits + static_cast<double>(run.expert_misses))},
          {"expert_bytes_read", run.bytes_read},
          {"expert_wait_ms", run.expert_wait_seconds * 1e3}};
}

}  // namespace flashmoe::server
