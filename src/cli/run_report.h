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
  SamplingOptions sampling;  // how its tokens were drawn
  std::vector<TokenReport> tokens;
  EngineStatistics after;  // the engine's, when it was done
};

/// One object for one answer; for several, {"answers": [...]} with one each.
nlohmann::ordered_json answers_json(std::span<const Answer> answers, const Engine& engine,
                                    const EngineFlags& flags);

/// Remarks on an answer, for people.
void print_answer(const Answer& answer, const Engine& engine, const EngineFlags& flags);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_RUN_REPORT_H_
