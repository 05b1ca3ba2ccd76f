#ifndef FLASHMOE_VALIDATION_VALIDATE_H_
#define FLASHMOE_VALIDATION_VALIDATE_H_

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "validation/lab.h"
#include "validation/report.h"
#include "validation/workbench.h"

namespace flashmoe {

/// How many experiments there are; they are counted from 1.
inline constexpr int kExperimentCount = 10;

/// All of everything, as the origin did it; and so little that it takes seconds, to see that all of
/// it runs.
ValidationScale full_scale();
ValidationScale quick_scale();

struct ValidateOptions {
  Workbench::Options bench;
  ValidationScale scale;
  std::vector<int> experiments;  // ascending numbers
  /// Called before each trial with the experiment's number and what the trial is. Returning false
  /// stops.
  std::function<bool(int experiment, const std::string& trial)> on_trial;
};

/// Runs the experiments of the origin system's report on a model. Errors: those of the engine;
/// kCancelled.
Result<ValidationReport> validate(const ValidateOptions& options);

/// Writes index.html, report.md and report.json into `folder`, which is made if it is not there.
/// Each appears whole or not at all. Errors: kIo, naming the file.
Status write_report(const ValidationReport& report, const std::filesystem::path& folder);

}  // namespace flashmoe

#endif  // FLASHMOE_VALIDATION_VALIDATE_H_
