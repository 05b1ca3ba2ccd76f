#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/counts.h"
#include "base/memory_info.h"
#include "base/model_download.h"
#include "base/result.h"
#include "base/units.h"
#include "cli/commands.h"
#include "cli/conversation.h"
#include "cli/engine_flags.h"
#include "cli/help.h"
#include "cli/interrupt.h"
#include "cli/line_reader.h"
#include "cli/model_argument.h"
#include "cli/option_groups.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "cli/sampling_flags.h"
#include "cli/usage_error.h"
#include "format/printable.h"

namespace flashmoe::cli {
namespace {

struct ChatOptions {
  EngineFlags engine;
  SamplingFlags sampling;
  std::string system;
  bool allow_control_tokens = false;
  bool quiet = false;
};

/// The most tokens of a reply unless the user says otherwise.
constexpr std::size_t kReplyTokens = 2048;

constexpr const char* kChatExamples = R"(
Without flags the model's own recommendation (generation_config.json) decides how tokens are drawn.
Reply k of a conversation, counted from 0 and with retries, draws with --seed plus k; each chat draws a seed of its own
and shows it.
When standard input is not a terminal, each line is a turn, and replies are all that is printed.

Examples:
  flash-moe chat MODEL
  flash-moe chat MODEL --system "Answer in one word."
  flash-moe chat MODEL --memory 12GiB --context 32768 --temperature 0.7
  echo "What is a prime number?" | flash-moe chat MODEL
  printf '/system Be brief.\nCapital of France?\n' | flash-moe chat MODEL)";

struct ChatCommand {
  const char* name = "";
  const char* arguments = "";
  const char* meaning = "";
};

constexpr std::array kCommands = {
    ChatCommand{"/help", "", "this list"},
    ChatCommand{"/reset", " [cold]",
                "begin a new conversation; the system message stays, a fixed set of experts goes. "
                "With cold the expert cache is emptied as well"},
    ChatCommand{"/switch", "",
                "the next message changes the subject: delta and async-delta change their experts"},
    ChatCommand{"/residency", " [MODE [RULE]]",
                "which experts stay in memory, or with MODE: another way"},
    ChatCommand{"/system", " [TEXT]",
                "tell the model how to behave, as --system does from the start; without TEXT: no "
                "longer"},
    ChatCommand{"/retry", "", "answer the last message again"},
    ChatCommand{"/stats", "", "speed, hit rate and memory so far"},
    ChatCommand{"/save", " FILE", "write the conversation as JSON"},
    ChatCommand{"/quit", "", "leave, as Ctrl-D does"},
};

constexpr const char* kTypingHelp =
    "A line that ends in \\ goes on in the next one; \"\"\" begins and ends a message of several "
    "lines. To send a text that begins with /, put a space before it. Ctrl-C stops a reply.";

double hit_percent(std::uint64_t hits, std::uint64_t misses) {
  return 100 * ratio(static_cast<double>(hits), static_cast<double>(hits + misses));
}

/// Tokens that decoding alone took: the first of each reply falls to prefill.
double decode_rate(std::size_t tokens, std::size_t replies, double seconds) {
  return ratio(static_cast<double>(tokens - std::min(tokens, replies)), seconds);
}

class Chat {
 public:
  Chat(Engine& engine, Conversation& conversation, LineReader& reader, const ChatOptions& options,
       bool is_interactive)
      : engine_(engine),
        conversation_(conversation),
        reader_(reader),
        options_(options),
        generate_(options.sampling.options(engine.recommended_sampling(), kReplyTokens)),
        is_interactive_(is_interactive) {}

  /// Turns until the user leaves. The exit code.
  Result<int> run() {
    if (is_interactive_) introduce();
    while (!is_over_) FM_RETURN_IF_ERROR(turn());
    return exit_code_;
  }

 private:
  /// What is here, and what to do with it.
  void introduce() {
    const MemoryPlan& plan = engine_.memory_plan();
    note(
        fmt::format("{}, context {} tokens\n"
                    "memory {}, room for {} of {} experts\n"
                    "Type a message, and Enter to send it. /help lists the commands, Ctrl-C stops "
                    "a reply, Ctrl-D leaves. /system or --system tells the model how to behave.",
                    model_name(options_.engine.model), plan.context, format_size(plan.budget_bytes),
                    plan.expert_slots, plan.expert_count));
  }

  Status turn() {
    bool is_block = false;
    const Input input = read_message(reader_, is_block);
    switch (input.kind) {
      case Input::Kind::kEnd:
        is_over_ = true;
        return Status();
      case Input::Kind::kInterrupted:
        is_over_ = input.text.empty() && may_leave_;
        may_leave_ = input.text.empty();
        if (may_leave_ && !is_over_) note("Ctrl-C again leaves, as Ctrl-D and /quit do.");
        return Status();
      case Input::Kind::kTooLong:
        return fail(error(StatusCode::kInvalidArgument, "the message is longer than {}",
                          format_size(kInputSizeMax)));
      case Input::Kind::kText:
        break;
    }
    may_leave_ = false;
    if (!is_block && input.text.starts_with('/')) return command(input.text);
    if (input.text.find_first_not_of(" \t\n") == std::string::npos) return Status();
    return show_reply(
        [&](const GenerateOptions& generate) { return conversation_.say(input.text, generate); });
  }

  /// Shows the mode, or changes it to "MODE" or "MODE RULE".
  Status residency(const std::string& argument) {
    if (!argument.empty()) {
      const std::size_t space = std::min(argument.find(' '), argument.size());
      ResidencyOptions wanted = options_.engine.residency;
      const Result<Residency> mode = parse_residency(argument.substr(0, space));
      if (!mode.ok()) return fail(mode.status());
      wanted.residency = *mode;
      wanted.on_miss.reset();
      const std::size_t rule_at = argument.find_first_not_of(' ', space);
      if (rule_at != std::string::npos) {
        const Result<OnMiss> rule = parse_on_miss(argument.substr(rule_at));
        if (!rule.ok()) return fail(rule.status());
        wanted.on_miss = *rule;
      }
      if (const Status set = engine_.set_residency(wanted); !set.ok()) return fail(set);
    }
    const ResidencyOptions& now = engine_.residency();
    const EngineStatistics total = engine_.statistics();
    note(fmt::format(
        "residency {}, on a miss {}; {} of {} experts have a slot{}", to_string(now.residency),
        to_string(now.miss_rule()), engine_.memory_plan().expert_slots,
        engine_.memory_plan().expert_count,
        total.fixed_experts > 0 ? fmt::format(", {} a fixed place", total.fixed_experts) : ""));
    if (now.is_approximate() && total.routed_requests > 0) {
      note(describe_approximation(now, total));
    }
    return Status();
  }

  Status command(const std::string& line) {
    const std::size_t space = std::min(line.find_first_of(" \t\n"), line.size());
    const std::string name = line.substr(0, space);
    const std::size_t begin = std::min(line.find_first_not_of(" \t\n", space), line.size());
    const std::size_t end = line.find_last_not_of(" \t\n") + 1;
    const std::string argument = line.substr(begin, std::max(begin, end) - begin);
    if (name == "/help") return print_help();
    if (name == "/stats") return print_statistics();
    if (name == "/save") return save(argument);
    if (name == "/quit") {
      is_over_ = true;
      return Status();
    }
    if (name == "/reset") {
      if (!argument.empty() && argument != "cold") {
        return fail(
            error(StatusCode::kInvalidArgument, "/reset {}: alone, or /reset cold", argument));
      }
      FM_RETURN_IF_ERROR(conversation_.reset(argument == "cold"));
      note("A new conversation.");
      return Status();
    }
    if (name == "/switch") {
      is_new_subject_ = true;
      note(engine_.residency().changes_its_set()
               ? "The next message changes the subject."
               : "Noted; only --residency delta and async-delta change their experts for it.");
      return Status();
    }
    if (name == "/residency") return residency(argument);
    if (name == "/system") {
      if (const Status set = conversation_.set_system(argument); !set.ok()) return fail(set);
      note(argument.empty() ? "No system message." : "The system message is set.");
      return Status();
    }
    if (name == "/retry") {
      return show_reply(
          [&](const GenerateOptions& generate) { return conversation_.retry(generate); });
    }
    std::vector<std::string> names;
    for (const ChatCommand& known : kCommands) names.emplace_back(known.name);
    const std::string guess = closest(name, names);
    return fail(error(
        StatusCode::kInvalidArgument,
        "{}: no such command; {} A space before the / sends the line to the model", printable(name),
        guess.empty() ? "/help lists them." : fmt::format("did you mean {}?", guess)));
  }

  static Status print_help() {
    const std::size_t width = text_width(STDOUT_FILENO);
    std::string text;
    for (const ChatCommand& known : kCommands) {
      text += help_entry(fmt::format("{}{}", known.name, known.arguments), known.meaning, width);
    }
    return print(text + wrapped(kTypingHelp, 0, width) + "\n");
  }

  /// Streams what `ask` generates. Only a failure to print ends the chat.
  template <typename Ask>
  Status show_reply(const Ask& ask) {
    // A reply that is stopping takes a second press for the same wish; a third ends the program.
    const InterruptGuard interrupt({SIGINT}, /*noted=*/is_interactive_ ? 2 : 1);
    ProgressBar bar("reading the prompt");
    Status printed;
    bool line_is_open = false;
    GenerateOptions generate = generate_;
    generate.is_new_subject = std::exchange(is_new_subject_, false);
    generate.cancel = interrupt.flag();
    generate.on_prompt = [&](std::size_t done, std::size_t total) {
      bar.update(done, total);
      return !interrupt.interrupted();
    };
    generate.on_text = [&](std::string_view text) {
      bar.clear();
      printed = print(text);
      line_is_open = !text.ends_with('\n');
      return printed.ok() && !interrupt.interrupted();
    };
    const Result<Reply> reply = ask(generate);
    bar.clear();
    FM_RETURN_IF_ERROR(printed);
    if (line_is_open || reply.ok()) FM_RETURN_IF_ERROR(print("\n"));
    if (!reply.ok()) return fail(reply.status());
    explain_end(reply->result);
    if (is_interactive_ && !options_.quiet) print_cost(*reply);
    if (interrupt.interrupted() && !is_interactive_) {
      is_over_ = true;
      exit_code_ = interrupt.exit_code();
    }
    return Status();
  }

  void explain_end(const GenerateResult& result) {
    if (result.finish_reason == FinishReason::kCancelled) note("Stopped; /retry asks again.");
    if (result.finish_reason == FinishReason::kLength) {
      note(fmt::format("Cut at {}; --max-tokens allows more.",
                       counted(result.token_ids.size(), "token")));
    }
    if (result.finish_reason == FinishReason::kContext) {
      note(
          fmt::format("The context of {} tokens is full: /reset begins a new conversation{}.",
                      engine_.memory_plan().context,
                      can_raise_context(engine_) ? ", a larger --context allows longer ones" : ""));
    }
  }

  void print_cost(const Reply& reply) {
    const GenerateStatistics& run = reply.result.statistics;
    // What did not happen, since the reply was stopped before, is left out.
    std::string line = counted(run.generated_tokens, "token");
    const double rate = decode_rate(run.generated_tokens, 1, run.decode_seconds);
    if (rate > 0) line += fmt::format(", {:.1f} tokens/s", rate);
    line +=
        fmt::format(" | prompt {}, {} reused",
                    counted(run.prompt_tokens + reply.reused_tokens, "token"), reply.reused_tokens);
    if (run.expert_hits + run.expert_misses > 0) {
      line += fmt::format(" | {:.1f} % hits", hit_percent(run.expert_hits, run.expert_misses));
    }
    note(fmt::format("{} | --seed {}", line, generate_.sampling.seed));
  }

  Status print_statistics() {
    const ConversationStatistics& sum = conversation_.statistics();
    const EngineStatistics total = engine_.statistics();
    const ProcessMemory memory = read_process_memory();
    const MemoryPlan& plan = engine_.memory_plan();
    const auto at_rate = [](double rate) {
      return rate > 0 ? fmt::format(" at {:.1f}/s", rate) : std::string();
    };
    const bool has_used_experts = sum.expert_hits + sum.expert_misses > 0;
    const std::string hits =
        has_used_experts
            ? fmt::format("{:.1f} % hits, ", hit_percent(sum.expert_hits, sum.expert_misses))
            : std::string();
    return print(
        fmt::format("replies    {}\n"
                    "context    {} of {} tokens\n"
                    "prompts    {} read{}, {} reused\n"
                    "generated  {}{}\n"
                    "experts    {}room for {} of {}, {} read\n"
                    "memory     {} now, {} at most, budget {}\n",
                    sum.reply_count, conversation_.token_count(), plan.context,
                    counted(sum.fed_tokens, "token"),
                    at_rate(ratio(static_cast<double>(sum.fed_tokens), sum.prefill_seconds)),
                    sum.reused_tokens, counted(sum.generated_tokens, "token"),
                    at_rate(decode_rate(sum.generated_tokens, sum.reply_count, sum.decode_seconds)),
                    hits, plan.expert_slots, plan.expert_count, format_size(total.bytes_read),
                    format_size(memory.rss_bytes), format_size(memory.peak_rss_bytes),
                    format_size(plan.budget_bytes)) +
        (engine_.residency().is_approximate()
             ? describe_approximation(engine_.residency(), total) + "\n"
             : std::string()));
  }

  Status save(const std::string& path) {
    if (path.empty()) {
      return fail(error(StatusCode::kInvalidArgument, "/save needs a file, as in /save talk.json"));
    }
    const nlohmann::ordered_json value = {{"model", options_.engine.model},
                                          {"messages", conversation_.messages()}};
    std::ofstream file(path, std::ios::binary);
    file << value.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << '\n';
    file.close();
    if (!file) {
      return fail(
          error(StatusCode::kIo, "{}: writing the conversation: {}", path, std::strerror(errno)));
    }
    note(fmt::format("Saved {} to {}.", counted(conversation_.messages().size(), "message"), path));
    return Status();
  }

  /// Tells what went wrong with this turn; a script also learns it from the exit code.
  Status fail(const Status& status) {
    constexpr std::size_t kNameSize = 11;  // "flash-moe: " stands before it
    report(error(status.code(), "{}", fitted(status.message(), kNameSize)));
    if (!is_interactive_) exit_code_ = kExitFailure;
    return Status();
  }

  /// `text` in lines of the terminal, if it is for one: in a conversation people read it all.
  static std::string fitted(std::string_view text, std::size_t indent = 0) {
    if (isatty(STDERR_FILENO) == 0) return std::string(text);
    return wrapped(text, indent, text_width(STDERR_FILENO));
  }

  /// A remark beside the conversation: dim, and not part of what a script reads.
  void note(std::string_view text) {
    const bool is_dim = takes_colors(STDERR_FILENO);
    print_note(
        fmt::format("{}{}{}\n", is_dim ? "\033[2m" : "", fitted(text), is_dim ? "\033[0m" : ""));
  }

  Engine& engine_;
  Conversation& conversation_;
  LineReader& reader_;
  const ChatOptions& options_;
  const GenerateOptions generate_;  // of every reply
  bool is_interactive_;
  bool is_over_ = false;
  bool is_new_subject_ = false;  // of the next message
  bool may_leave_ = false;       // Ctrl-C was pressed at an empty prompt
  int exit_code_ = kExitOk;
};

Result<int> chat(const ChatOptions& options) {
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, open_engine(options.engine));
  FM_ASSIGN_OR_RETURN(
      const std::unique_ptr<Conversation> conversation,
      Conversation::create(*engine, {.allow_control_tokens = options.allow_control_tokens,
                                     .dims_thoughts = takes_colors(STDOUT_FILENO)}));
  FM_RETURN_IF_ERROR(conversation->set_system(options.system));
  const bool is_interactive = isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0;
  std::unique_ptr<LineReader> reader;
  if (is_interactive) reader = make_edit_line_reader(default_history_path());
  if (reader == nullptr) reader = make_plain_line_reader(stdin, is_interactive);
  return Chat(*engine, *conversation, *reader, options, is_interactive).run();
}

}  // namespace

void add_chat(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<ChatOptions>();
  options->engine.may_change_residency = true;
  CLI::App* command = app.add_subcommand("chat", "Talk with a model in the terminal");
  add_model_argument(*command, options->engine.model);
  add_engine_flags(*command, options->engine);
  command->add_option("--system", options->system, "Tell the model how to behave")
      ->type_name("TEXT")
      ->group(kAnswerOptions);
  add_sampling_flags(*command, options->sampling, std::to_string(kReplyTokens));
  add_resident_set_flag(*command, options->engine);
  add_residency_flags(*command, options->engine, ResidencyFlags::kFixedSets);
  command
      ->add_flag("--allow-control-tokens", options->allow_control_tokens,
                 "Read <|im_end|> and the like in what you type, too")
      ->group(kMoreAnswerOptions);
  command->add_flag("--quiet", options->quiet, "No statistics after each reply")
      ->group(kOutputOptions);
  command->footer(kChatExamples);
  command->callback([options, &exit_code] {
    const Result<int> result = chat(*options);
    exit_code = result.ok() ? *result : report(result.status());
  });
}

}  // namespace flashmoe::cli
