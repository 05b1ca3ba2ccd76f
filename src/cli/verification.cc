#include "cli/verification.h"

#include <algorithm>
#include <cstring>

#include "base/result.h"

namespace flashmoe::cli {
namespace {

/// Runs the prompt and the tokens after it; `on_logits` sees every position's logits, in order.
Result<GenerateResult> run_all(Session& session, std::size_t vocab_size,
                               std::span<const std::int32_t> prompt, std::size_t max_tokens,
                               const std::function<void(std::span<const float>)>& on_logits) {
  FM_RETURN_IF_ERROR(session.reset());
  // The last prompt position's logits come again with the first generated token: shown once.
  ForwardObserver observer;
  observer.on_logits = [&](std::size_t position, std::size_t rows, std::span<const float> logits) {
    for (std::size_t r = 0; r < rows && position + r + 1 < prompt.size(); ++r) {
      on_logits(logits.subspan(r * vocab_size, vocab_size));
    }
    return Status();
  };
  FM_RETURN_IF_ERROR(session.forward(prompt, observer));
  return session.generate({},
                          {.max_tokens = max_tokens, .ignore_eos = true, .on_logits = on_logits});
}

}  // namespace

std::uint64_t fingerprint(std::span<const float> logits) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const float logit : logits) {
    std::uint32_t bits;
    std::memcpy(&bits, &logit, sizeof(bits));
    for (int shift = 0; shift < 32; shift += 8) {
      hash = (hash ^ ((bits >> shift) & 0xffu)) * 0x100000001b3u;
    }
  }
  return hash;
}

std::optional<TraceDifference> first_difference(const OutputTrace& a, const OutputTrace& b,
                                                std::size_t prompt_size) {
  const auto [logits_a, logits_b] =
      std::mismatch(a.logits_fingerprints.begin(), a.logits_fingerprints.end(),
                    b.logits_fingerprints.begin(), b.logits_fingerprints.end());
  if (logits_a != a.logits_fingerprints.end() || logits_b != b.logits_fingerprints.end()) {
    return TraceDifference{static_cast<std::size_t>(logits_a - a.logits_fingerprints.begin())};
  }
  const auto [id_a, id_b] =
      std::mismatch(a.token_ids.begin(), a.token_ids.end(), b.token_ids.begin(), b.token_ids.end());
  if (id_a != a.token_ids.end() || id_b != b.token_ids.end()) {
    return TraceDifference{prompt_size + static_cast<std::size_t>(id_a - a.token_ids.begin()),
                           /*token_differs=*/true};
  }
  return std::nullopt;
}

Result<OutputTrace> trace_output(Session& session, std::size_t vocab_size,
                                 std::span<const std::int32_t> prompt, std::size_t max_tokens,
                                 const std::function<void()>& on_position,
                                 GenerateStatistics* statistics) {
  OutputTrace trace;
  FM_ASSIGN_OR_RETURN(
      const GenerateResult result,
      run_all(session, vocab_size, prompt, max_tokens, [&](std::span<const float> logits) {
        trace.logits_fingerprints.push_back(fingerprint(logits));
        if (on_position) on_position();
      }));
  trace.token_ids = result.token_ids;
  *statistics = result.statistics;
  return trace;
}

Result<std::vector<float>> logits_at(Session& session, std::size_t vocab_size,
                                     std::span<const std::int32_t> prompt, std::size_t max_tokens,
                                     std::size_t position) {
  std::vector<float> found;
  std::size_t at = 0;
  FM_ASSIGN_OR_RETURN(
      [[maybe_unused]] const GenerateResult result,
      run_all(session, vocab_size, prompt, max_tokens, [&](std::span<const float> logits) {
        if (at++ == position) found.assign(logits.begin(), logits.end());
      }));
  return found;
}

}  // namespace flashmoe::cli
