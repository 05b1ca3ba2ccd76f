#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/commands.h"
#include "cli/engine_flags.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "cli/run_report.h"
#include "cli/sampling_flags.h"
#include "flashmoe/engine.h"

namespace flashmoe::cli {
namespace {

struct RunOptions {
  EngineFlags engine;
  SamplingFlags sampling;
  std::vector<std::string> prompts;
  std::string prompt_path;
  std::string ids_path;
  bool json = false;
};

constexpr const char* kRunExamples = R"(
Examples:
  flash-moe run MODEL -p "Once upon a time"
  flash-moe run MODEL --memory 12GiB --max-tokens 100 --temperature 0.7 --seed 1 -p "def add(a, b):"
  flash-moe run MODEL --prompt-file question.txt --json
  echo "The sea" | flash-moe run MODEL
  flash-moe run MODEL --ids-file ids.json --max-tokens 48
  flash-moe run MODEL --residency lfu --capacity 48 --on-miss renormalise -p "The sea"
  flash-moe run MODEL --residency async-delta --capacity 48 -p "def main():" -p "Once upon a time"

Several -p are one session: each continues what came before, and changes the subject.)";

/// The prompts' tokens, from whichever of the four sources the user chose.
Result<std::vector<std::vector<std::int32_t>>> prompt_ids(const RunOptions& options,
                                                          const Engine& engine) {
  std::vector<std::vector<std::int32_t>> prompts;
  if (!options.ids_path.empty()) {
    FM_ASSIGN_OR_RETURN(prompts.emplace_back(), read_ids_file(options.ids_path));
    return prompts;
  }
  for (const std::string& text : options.prompts) {
    FM_ASSIGN_OR_RETURN(std::vector<std::int32_t> ids,
                        prompts.empty() ? engine.tokenize_raw(text) : engine.tokenize(text));
    prompts.push_back(std::move(ids));
  }
  if (!prompts.empty()) return prompts;
  const std::string path = options.prompt_path.empty() ? "-" : options.prompt_path;
  if (path == "-" && isatty(STDIN_FILENO) != 0) {
    print_note("Type the prompt; Ctrl-D on an empty line ends it.\n");
  }
  FM_ASSIGN_OR_RETURN(const std::string text, read_text_file(path));
  Result<std::vector<std::int32_t>> ids = engine.tokenize_raw(text);
  if (!ids.ok()) return ids.status().with_prefix(path == "-" ? "standard input" : path);
  prompts.push_back(std::move(*ids));
  return prompts;
}

/// Streams the answers of one session to the prompts, in order.
Result<int> run_on(Engine& engine, const RunOptions& options) {
  FM_ASSIGN_OR_RETURN(const std::vector<std::vector<std::int32_t>> prompts,
                      prompt_ids(options, engine));
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, engine.new_session());

  InterruptGuard interrupt;
  ProgressBar bar("reading the prompt");
  Status printed;
  std::vector<Answer> answers;
  GenerateOptions generate = options.sampling.generate;
  generate.on_prompt = [&](std::size_t done, std::size_t total) {
    bar.update(done, total);
    return !interrupt.interrupted();
  };
  generate.on_text = [&](std::string_view text) {
    bar.clear();
    if (!options.json) printed = print(text);
    return printed.ok() && !interrupt.interrupted();
  };
  generate.on_token = [&](const TokenReport& report) {
    answers.back().tokens.push_back(report);
    return !interrupt.interrupted();
  };
  for (const std::vector<std::int32_t>& ids : prompts) {
    generate.is_new_subject = !answers.empty();
    Answer& answer = answers.emplace_back();
    FM_ASSIGN_OR_RETURN(answer.result, session->generate(ids, generate));
    answer.after = engine.statistics();
    bar.clear();
    FM_RETURN_IF_ERROR(printed);
    if (!options.json) {
      FM_RETURN_IF_ERROR(print("\n"));
      print_answer(answer, engine, options.engine);
    }
    if (interrupt.interrupted()) break;
  }
  if (options.json) {
    FM_RETURN_IF_ERROR(print_json(answers_json(answers, engine, options.engine)));
  }
  return interrupt.interrupted() ? interrupt.exit_code() : kExitOk;
}

Result<int> run(const RunOptions& options) {
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, open_engine(options.engine));
  return finish_trace(options.engine, *engine, run_on(*engine, options));
}

}  // namespace

void add_run(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand("run", "Continue a text");
  add_engine_flags(*command, options->engine);
  CLI::Option* prompt = command
                            ->add_option("-p,--prompt", options->prompts,
                                         "Text to continue; again for what comes after the answer")
                            ->allow_extra_args(false)
                            ->type_size(1);
  CLI::Option* file = command->add_option("--prompt-file", options->prompt_path,
                                          "Take the prompt from a file; - is standard input");
  CLI::Option* ids = command->add_option(
      "--ids-file", options->ids_path,
      "Take token ids from a file: a JSON array, or numbers separated by white space");
  prompt->excludes(file)->excludes(ids);
  file->excludes(ids);
  add_sampling_flags(*command, options->sampling);
  add_record_trace_flag(*command, options->engine);
  add_routing_trace_flag(*command, options->engine);
  add_resident_set_flag(*command, options->engine);
  add_residency_flags(*command, options->engine, ResidencyFlags::kFixedSets);
  command->add_flag("--json", options->json, "Print one JSON object instead of streaming");
  command->footer(kRunExamples);
  command->callback([options, &exit_code] {
    const Result<int> result = run(*options);
    exit_code = result.ok() ? *result : report(result.status());
  });
}

}  // namespace flashmoe::cli
