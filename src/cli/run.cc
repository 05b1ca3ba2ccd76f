#include <unistd.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/byte_order_mark.h"
#include "base/counts.h"
#include "base/result.h"
#include "cli/commands.h"
#include "cli/conversation.h"
#include "cli/engine_flags.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/model_argument.h"
#include "cli/option_groups.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "cli/run_report.h"
#include "cli/sampling_flags.h"
#include "cli/timeline.h"
#include "flashmoe/engine.h"

namespace flashmoe::cli {
namespace {

struct RunOptions {
  EngineFlags engine;
  SamplingFlags sampling;
  std::vector<std::string> prompts;
  std::string prompt_path;
  std::string ids_path;
  std::string system;
  bool raw = false;
  bool json = false;
  bool verbose = false;
};

constexpr const char* kRunExamples = R"(
Examples:
  flash-moe run MODEL "What is a river?"
  flash-moe run MODEL --memory 12GiB --system "Answer in one word." "Capital of France?"
  flash-moe run MODEL -p "What is a prime?" -p "And the tenth?"
  flash-moe run MODEL --temperature 0.7 --seed 1 "Write a haiku."
  flash-moe run MODEL --raw "def add(a, b):"
  echo "Name three seas." | flash-moe run MODEL
  git diff | flash-moe run MODEL "What does this change?" -f -

A file of -f is added to the prompt that there is, and else is the prompt. A prompt that begins with a dash goes after
-p, or after --. The prompt goes through the model's chat template, if it has one; --raw continues a text as it stands. Several -p are
turns of one conversation. Tokens are drawn as the model recommends (generation_config.json). The last line says with
which --seed the same text comes again.)";

/// An answer is as long as the model likes, within reason; a text that is continued has no end.
constexpr std::size_t kAnswerTokens = 2048;
constexpr std::size_t kRawTokens = 256;

/// The prompts' texts, from whichever source the user chose; none where --ids-file holds it.
Result<std::vector<std::string>> read_prompts(const RunOptions& options) {
  if (!options.ids_path.empty()) return std::vector<std::string>();
  std::vector<std::string> texts = options.prompts;
  if (texts.empty()) {
    const std::string path = options.prompt_path.empty() ? "-" : options.prompt_path;
    FM_ASSIGN_OR_RETURN(texts.emplace_back(), read_prompt(path));
  } else if (!options.prompt_path.empty()) {
    FM_ASSIGN_OR_RETURN(const std::string text, read_prompt(options.prompt_path));
    if (text.empty()) {
      return error(StatusCode::kInvalidArgument,
                   "--prompt-file {}: holds nothing to add to the "
                   "prompt",
                   options.prompt_path);
    }
    texts.back() += "\n\n" + text;
  } else if (is_input_waiting()) {
    // Reading it unasked would take the list away from a loop over questions, or wait for ever.
    print_note(
        "flash-moe: note: standard input is not read, since there is a prompt; -f - adds it to "
        "the prompt\n");
  }
  for (std::string& text : texts) {
    text = std::string(without_byte_order_mark(text));
    if (text.empty()) return error(StatusCode::kInvalidArgument, "the prompt is empty");
  }
  return texts;
}

/// The turns of a run: what asks for each answer, and what the answers share.
struct Turns {
  using Ask = std::function<Result<Reply>(const GenerateOptions&)>;
  std::vector<Ask> asks;
  std::unique_ptr<Session> session;
  std::unique_ptr<Conversation> conversation;
  bool is_raw = false;
};

/// Texts that are continued as they stand, or token ids.
Result<Turns> raw_turns(Engine& engine, const RunOptions& options,
                        const std::vector<std::string>& texts) {
  Turns turns{.is_raw = true};
  FM_ASSIGN_OR_RETURN(turns.session, engine.new_session());
  std::vector<std::vector<std::int32_t>> prompts;
  if (!options.ids_path.empty()) {
    FM_ASSIGN_OR_RETURN(prompts.emplace_back(), read_ids_file(options.ids_path));
  }
  for (const std::string& text : texts) {
    // The first begins the sequence.
    FM_ASSIGN_OR_RETURN(prompts.emplace_back(),
                        prompts.empty() ? engine.tokenize_raw(text) : engine.tokenize(text));
  }
  for (std::vector<std::int32_t>& ids : prompts) {
    turns.asks.emplace_back([session = turns.session.get(), ids = std::move(ids)](
                                const GenerateOptions& generate) -> Result<Reply> {
      Reply reply{.seed = generate.sampling.seed};
      FM_ASSIGN_OR_RETURN(reply.result, session->generate(ids, generate));
      return reply;
    });
  }
  return turns;
}

/// Messages of one conversation.
Result<Turns> chat_turns(std::unique_ptr<Conversation> conversation, const RunOptions& options,
                         const std::vector<std::string>& texts) {
  Turns turns;
  turns.conversation = std::move(conversation);
  FM_RETURN_IF_ERROR(turns.conversation->set_system(options.system));
  for (const std::string& text : texts) {
    turns.asks.emplace_back(
        [talk = turns.conversation.get(), text](const GenerateOptions& generate) {
          return talk->say(text, generate);
        });
  }
  return turns;
}

Result<Turns> make_turns(Engine& engine, const RunOptions& options) {
  FM_ASSIGN_OR_RETURN(const std::vector<std::string> texts, read_prompts(options));
  if (options.raw || texts.empty()) return raw_turns(engine, options, texts);
  Result<std::unique_ptr<Conversation>> conversation =
      Conversation::create(engine, {.dims_thoughts = !options.json && takes_colors(STDOUT_FILENO)});
  if (conversation.ok()) return chat_turns(std::move(*conversation), options, texts);
  // A model that was never taught to chat continues texts, and that is no fault.
  const bool has_no_template = conversation.status().code() == StatusCode::kNotFound;
  if (!has_no_template || !options.system.empty()) return conversation.status();
  print_note(
      "flash-moe: note: the model has no chat template, so the text is continued as it "
      "stands\n");
  return raw_turns(engine, options, texts);
}

/// Says why an answer ends where the user did not ask it to.
void explain_end(const Answer& answer, const RunOptions& options, const Engine& engine) {
  const FinishReason reason = answer.result.finish_reason;
  if (reason == FinishReason::kLength && !options.sampling.max_tokens) {
    print_note(fmt::format("cut at {}; --max-tokens allows more\n",
                           counted(answer.result.token_ids.size(), "token")));
  }
  if (reason == FinishReason::kContext) {
    print_note(fmt::format("the context of {} tokens is full; {}\n", engine.memory_plan().context,
                           can_raise_context(engine) ? "a larger --context allows more"
                                                     : "the model has no larger one"));
  }
}

/// Streams the answers of one session to the prompts, in order.
Result<int> run_on(Engine& engine, const RunOptions& options, Timeline& timeline) {
  FM_ASSIGN_OR_RETURN(const Turns turns, make_turns(engine, options));
  InterruptGuard interrupt;
  ProgressBar bar("reading the prompt");
  Status printed;
  bool has_begun = false;
  std::vector<Answer> answers;
  // Ids are for comparisons, which want the likeliest token.
  GenerateOptions generate = options.sampling.options(
      options.ids_path.empty() ? engine.recommended_sampling() : SamplingOptions(),
      turns.is_raw ? kRawTokens : kAnswerTokens);
  generate.cancel = interrupt.flag();
  generate.on_prompt = [&](std::size_t done, std::size_t total) {
    timeline.prefilled(done, total);
    bar.update(done, total);
    return !interrupt.interrupted();
  };
  generate.on_text = [&](std::string_view text) {
    bar.clear();
    if (!std::exchange(has_begun, true)) timeline.first_token();
    if (!options.json) printed = print(text);
    return printed.ok() && !interrupt.interrupted();
  };
  generate.on_token = [&](const TokenReport& report) {
    answers.back().tokens.push_back(report);
    return !interrupt.interrupted();
  };
  for (const Turns::Ask& ask : turns.asks) {
    has_begun = false;
    generate.is_new_subject = !answers.empty();
    Answer& answer = answers.emplace_back();
    answer.sampling = generate.sampling;
    if (answers.size() > 1) answer.before = answers[answers.size() - 2].after;
    FM_ASSIGN_OR_RETURN(Reply reply, ask(generate));
    answer.result = std::move(reply.result);
    answer.seed = reply.seed;
    answer.after = engine.statistics();
    bar.clear();
    FM_RETURN_IF_ERROR(printed);
    if (!options.json) {
      FM_RETURN_IF_ERROR(print("\n"));
      timeline.answered(answer.result);
      explain_end(answer, options, engine);
      print_answer(answer, engine, options.engine);
    }
    if (interrupt.interrupted()) break;
  }
  if (options.json) {
    FM_RETURN_IF_ERROR(print_json(answers_json(answers, engine, options.engine)));
  }
  return interrupt.interrupted() ? interrupt.exit_code() : kExitOk;
}

Status check(const RunOptions& options) {
  const bool has_text = !options.prompts.empty() || !options.prompt_path.empty();
  if (has_text && !options.ids_path.empty()) {
    return error(StatusCode::kInvalidArgument,
                 "the prompt is given twice: --ids-file stands for it, so leave out {}",
                 options.prompts.empty() ? "--prompt-file" : "the other");
  }
  if (options.prompts.size() > 1 && !options.prompt_path.empty()) {
    return error(StatusCode::kInvalidArgument,
                 "--prompt-file: adds to one prompt, and there are {}; leave out -p or the file",
                 options.prompts.size());
  }
  if (!options.system.empty() && (options.raw || !options.ids_path.empty())) {
    return error(StatusCode::kInvalidArgument, "--system: what {} continues has no system message",
                 options.raw ? "--raw" : "--ids-file");
  }
  return Status();
}

Result<int> run(const RunOptions& options) {
  FM_RETURN_IF_ERROR(check(options));
  Timeline timeline(options.verbose);
  timeline.opening(options.engine.model);
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                      open_engine(options.engine, [&](std::uint64_t done, std::uint64_t total) {
                        timeline.reading(done, total);
                      }));
  timeline.opened(*engine);
  return finish_trace(options.engine, *engine, run_on(*engine, options, timeline));
}

}  // namespace

void add_run(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand("run", "Answer a prompt, or continue a text");
  add_model_and_prompt_arguments(*command, options->engine.model, options->prompts);
  add_engine_flags(*command, options->engine);
  command
      ->add_option("-p,--prompt", options->prompts,
                   "What to say to the model; again for the next turn of the conversation")
      ->allow_extra_args(false)
      ->type_size(1)
      ->type_name("TEXT")
      ->group(kPromptOptions);
  command
      ->add_option("-f,--prompt-file", options->prompt_path,
                   "Take the prompt from a file, or add the file to the prompt that there is; - is "
                   "standard input")
      ->type_name("FILE")
      ->group(kPromptOptions);
  command
      ->add_option("--ids-file", options->ids_path,
                   "Continue token ids from a file, greedily: a JSON array, or numbers "
                   "separated by white space")
      ->type_name("FILE")
      ->group(kMeasuringOptions);
  command->add_option("--system", options->system, "Tell the model how to behave")
      ->type_name("TEXT")
      ->group(kPromptOptions);
  command
      ->add_flag("--raw", options->raw,
                 "Continue the text as it stands, without the model's chat template")
      ->group(kPromptOptions);
  add_sampling_flags(*command, options->sampling,
                     fmt::format("{}, with --raw {}", kAnswerTokens, kRawTokens));
  add_record_trace_flag(*command, options->engine);
  add_routing_trace_flag(*command, options->engine);
  add_resident_set_flag(*command, options->engine);
  add_residency_flags(*command, options->engine, ResidencyFlags::kFixedSets);
  command->add_flag("--json", options->json, "Print one JSON object instead of streaming")
      ->group(kOutputOptions);
  command
      ->add_flag("-v,--verbose", options->verbose,
                 "Tell what happens when: opening, reading, prefill, first token, decode")
      ->group(kOutputOptions);
  command->footer(kRunExamples);
  command->callback([options, command, &exit_code] {
    if (!options->ids_path.empty()) forget_preset_sampling(*command, options->sampling);
    const Result<int> result = run(*options);
    exit_code = result.ok() ? *result : report(result.status());
  });
}

}  // namespace flashmoe::cli
