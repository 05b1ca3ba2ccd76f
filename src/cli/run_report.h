#ifndef FLASHMOE_CLI_RUN_REPORT_H_
#define FLASHMOE_CLI_RUN_REPORT_H_

#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "cli/engine_flags.h"
#include "flashmoe/engine.h"
#include "flashmoe/session.h"

namespace flashmoe::cli {

/// What one prompt of a run gave.
struct Answer {
  GenerateResult result;
  SamplingOptions sampling;  // how tokens of the run are drawn
  std::uint64_t seed = 0;    // that those of this answer were drawn with
  std::vector<TokenReport> tokens;
  EngineStatistics before;  // the engine's, when the answer before was done; zeros for the first
  EngineStatistics after;   // when this one was
};

/// One object for one answer; for several, {"seed": ..., "answers": [...]} with one each. What an
/// answer has none of, as a first token where it was stopped before, is null.
nlohmann::ordered_json answers_json(std::span<const Answer> answers, const Engine& engine,
                                    const EngineFlags& flags);

/// Remarks on an answer, for people.
void print_answer(const Answer& answer, const Engine& engine, const EngineFlags& flags);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_RUN_REPORT_H_
