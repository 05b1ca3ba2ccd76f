#ifndef FLASHMOE_CLI_VERIFICATION_H_
#define FLASHMOE_CLI_VERIFICATION_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "flashmoe/engine.h"

namespace flashmoe::cli {

/// What one prompt made a model compute: the tokens it chose, and a fingerprint of the bits of all
/// logits at every position, prompt first.
struct OutputTrace {
  std::vector<std::int32_t> token_ids;             // generated
  std::vector<std::uint64_t> logits_fingerprints;  // prompt positions, then generated ones
};

/// Where two traces part.
struct TraceDifference {
  std::size_t position = 0;
  bool token_differs = false;  // else the bits of the logits
};

/// FNV-1a over the bytes of `logits`: equal bits give equal fingerprints, and -0 differs from 0.
std::uint64_t fingerprint(std::span<const float> logits);

/// The first difference, if there is one; a missing position is one.
std::optional<TraceDifference> first_difference(const OutputTrace& a, const OutputTrace& b,
                                                std::size_t prompt_size);

/// Computes `prompt` and `max_tokens` greedy tokens after it in a session that is reset first.
/// `on_position` is called after each of them, unless it is null.
Result<OutputTrace> trace_output(Session& session, std::size_t vocab_size,
                                 std::span<const std::int32_t> prompt, std::size_t max_tokens,
                                 const std::function<void()>& on_position,
                                 GenerateStatistics* statistics);

/// The logits at one position of the same computation, to show where two runs differ.
Result<std::vector<float>> logits_at(Session& session, std::size_t vocab_size,
                                     std::span<const std::int32_t> prompt, std::size_t max_tokens,
                                     std::size_t position);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_VERIFICATION_H_
