#include "cli/profile.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "base/counts.h"
#include "base/result.h"
#include "cli/commands.h"
#include "cli/engine_flags.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/model_argument.h"
#include "cli/option_values.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "engine/model_files.h"
#include "experts/expert_profile.h"
#include "experts/routing_trace_file.h"
#include "format/printable.h"

namespace flashmoe::cli {
namespace {

struct MakeOptions {
  EngineFlags engine;
  std::string output;
  std::vector<std::string> prompts;
  std::string prompt_path;
  std::string trace;
  std::size_t max_tokens = 64;
};

constexpr const char* kProfileExamples = R"(
Examples:
  flash-moe profile make MODEL -o code.profile -p "def main():" -p "#include <vector>"
  flash-moe profile make MODEL -o prose.profile --prompt-file novel.txt --max-tokens 0
  flash-moe profile make MODEL -o seen.profile --trace traces.safetensors:english
  flash-moe run MODEL --residency pinned --profile code.profile --raw "def quicksort(items):"

Each prompt is a session of its own; its tokens and those generated after it count.)";

Status make_from_trace(const MakeOptions& options) {
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<ModelFiles> files,
                      ModelFiles::open(options.engine.model));
  const std::vector<std::size_t> counts = files->store().expert_counts();
  FM_ASSIGN_OR_RETURN(const std::vector<NamedRoutingTrace> traces,
                      read_routing_traces(options.trace, /*all=*/true));
  ExpertProfile profile(counts);
  for (const NamedRoutingTrace& named : traces) {
    Result<ExpertProfile> counted = count_trace(named.trace, counts);
    if (!counted.ok()) return counted.status().with_prefix(printable(named.name));
    profile.add(*counted);
  }
  return write_profile(options.output, files->identity(), profile);
}

Result<int> make_from_prompts(const MakeOptions& options) {
  FM_ASSIGN_OR_RETURN(EngineOptions engine_options, flashmoe::cli::engine_options(options.engine));
  engine_options.record_profile = options.output;
  ProgressBar bar("loading");
  engine_options.on_progress = [&bar](std::uint64_t done, std::uint64_t total) {
    bar.update(done, total);
  };
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::open(engine_options));
  bar.clear();
  std::vector<std::string> texts = options.prompts;
  if (!options.prompt_path.empty()) {
    FM_ASSIGN_OR_RETURN(texts.emplace_back(), read_text_file(options.prompt_path));
  }
  const InterruptGuard interrupt;
  ProgressBar prompts("reading the prompts");
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, engine->new_session());
  GenerateOptions generate;
  generate.max_tokens = options.max_tokens;
  generate.cancel = interrupt.flag();
  generate.on_text = [&](std::string_view) { return !interrupt.interrupted(); };
  for (std::size_t i = 0; i < texts.size(); ++i) {
    generate.on_prompt = [&](std::size_t done, std::size_t total) {
      prompts.update(i * total + done, texts.size() * total);
      return !interrupt.interrupted();
    };
    FM_ASSIGN_OR_RETURN(const std::vector<std::int32_t> ids, engine->tokenize_raw(texts[i]));
    FM_RETURN_IF_ERROR(session->reset());
    FM_RETURN_IF_ERROR(session->generate(ids, generate).status());
    if (interrupt.interrupted()) return interrupt.exit_code();
  }
  prompts.clear();
  FM_RETURN_IF_ERROR(engine->finish_profile());
  return kExitOk;
}

Result<int> make(const MakeOptions& options) {
  if (!options.trace.empty()) {
    FM_RETURN_IF_ERROR(make_from_trace(options));
  } else if (options.prompts.empty() && options.prompt_path.empty()) {
    return error(StatusCode::kInvalidArgument,
                 "nothing to count: give -p TEXT, --prompt-file FILE or --trace TRACE");
  } else {
    FM_ASSIGN_OR_RETURN(const int code, make_from_prompts(options));
    if (code != kExitOk) return code;
  }
  FM_ASSIGN_OR_RETURN(const ProfileFile file, read_profile(options.output));
  FM_RETURN_IF_ERROR(print(fmt::format("{}: the routing of {}\n", options.output,
                                       counted(file.profile.token_count, "token"))));
  return kExitOk;
}

}  // namespace

void add_profile_make(CLI::App& profile, int& exit_code) {
  auto options = std::make_shared<MakeOptions>();
  CLI::App* command =
      profile.add_subcommand("make", "Count how often prompts or traces route to each expert");
  add_model_argument(*command, options->engine.model);
  add_engine_flags(*command, options->engine);
  command->add_option("-o,--output", options->output, "The profile to write")
      ->required()
      ->type_name("FILE");
  command->add_option("-p,--prompt", options->prompts, "Text to count; may be repeated")
      ->allow_extra_args(false)
      ->type_name("TEXT");
  command->add_option("--prompt-file", options->prompt_path, "A file of text to count")
      ->type_name("FILE");
  command
      ->add_option("--trace", options->trace,
                   "Count recorded routing instead; the model only "
                   "says how many experts there are")
      ->type_name("TRACE")
      ->excludes("--prompt")
      ->excludes("--prompt-file");
  add_whole_number(*command, "-n,--max-tokens,--n-predict", options->max_tokens,
                   {0, std::uint64_t{1} << 30}, "Tokens to generate after each prompt, greedily");
  command->footer(kProfileExamples);
  command->callback([options, &exit_code] {
    const Result<int> result = make(*options);
    exit_code = result.ok() ? *result : report(result.status());
  });
}

void add_profile(CLI::App& app, int& exit_code) {
  CLI::App* profile =
      app.add_subcommand("profile", "Expert profiles: how often a subject routes to each expert");
  profile->require_subcommand(1);
  add_profile_make(*profile, exit_code);
  add_profile_merge(*profile, exit_code);
  add_profile_inspect(*profile, exit_code);
  add_profile_compare(*profile, exit_code);
  profile->footer(R"(
Examples:
  flash-moe profile make MODEL -o code.profile -p "def main():"
  flash-moe profile merge code.profile prose.profile -o both.profile
  flash-moe profile inspect both.profile
  flash-moe profile compare code.profile prose.profile --top 48)");
}

}  // namespace flashmoe::cli
