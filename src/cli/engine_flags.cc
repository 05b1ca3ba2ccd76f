#include "cli/engine_flags.h"

#include <CLI/CLI.hpp>

#include "base/thread_pool.h"
#include "base/units.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "cli/resident_set_path.h"

namespace flashmoe::cli {
namespace {

constexpr const char* kAuto = "auto";
constexpr const char* kOff = "off";

/// What --resident-set means. Nobody asked for `auto`, so what goes wrong there is told only where
/// a person has to do something: a file of ours that is damaged stays until it is removed.
void set_resident_set(const EngineFlags& flags, EngineOptions& options) {
  const bool is_auto = flags.resident_set == kAuto;
  // What a known routing uses says nothing of what this model will use, and would be measured.
  if (flags.resident_set == kOff || (is_auto && !flags.routing_trace.empty())) return;
  options.resident_set_file = flags.resident_set;
  if (is_auto) options.resident_set_file = resident_set_path(flags.model).value_or("");
  options.on_warning = [is_auto](const Status& status) {
    if (is_auto && status.code() != StatusCode::kCorrupt) return;
    print_note(fmt::format("flash-moe: note: {}\n", status.message()));
  };
}

}  // namespace

void add_engine_flags(CLI::App& command, EngineFlags& flags) {
  command.add_option("model", flags.model, "Model folder, as downloaded")
      ->required()
      ->type_name("MODEL");
  command
      .add_option("--memory", flags.memory,
                  "Memory for the whole process, as 12GiB or 17.7GB; default: what is free")
      ->type_name("SIZE")
      ->check([](const std::string& text) {  // --memory "$UNSET" is a slip, not the default
        return text.empty() ? "needs a size, as 12GiB" : "";
      });
  command
      .add_option("--threads", flags.threads, "Threads that compute; default: one for each core")
      ->check(CLI::Range(std::size_t{1}, ThreadPool::kThreadCountMax));
  command
      .add_option(
          "--context", flags.context,
          fmt::format("Most tokens of a conversation; default: the model's limit, at most {}",
                      kDefaultContext))
      ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 30));
  command
      .add_option("--prefill-chunk", flags.prefill_chunk,
                  "Prompt tokens computed at a time; default: by the budget")
      ->check(CLI::Range(1, 65536));
  command.add_option("--io", flags.io, "How experts are read: auto, io_uring or pread")
      ->check(CLI::IsMember({"auto", "io_uring", "pread"}))
      ->capture_default_str();
  command
      .add_option("--speculation", flags.speculation,
                  "Read experts on a guess while the disk is idle, where that pays: on or off. The "
                  "output is the same")
      ->check(CLI::IsMember({"on", "off"}))
      ->capture_default_str();
}

void add_record_trace_flag(CLI::App& command, EngineFlags& flags) {
  command
      .add_option("--record-trace", flags.record_trace,
                  "Record which experts the routers choose to a file for `flash-moe trace`")
      ->type_name("FILE");
}

void add_routing_trace_flag(CLI::App& command, EngineFlags& flags) {
  command
      .add_option("--routing-trace", flags.routing_trace,
                  "Measure under a known routing: route as FILE or FILE:ENTRY says, not as the "
                  "model would. Text then means nothing")
      ->type_name("TRACE");
}

void add_resident_set_flag(CLI::App& command, EngineFlags& flags) {
  flags.resident_set = kAuto;
  command
      .add_option("--resident-set", flags.resident_set,
                  "Where to keep which experts are in memory, for the next start: auto (the user's "
                  "cache folder), off, or a file")
      ->type_name("FILE")
      ->check(
          [](const std::string& text) { return text.empty() ? "needs auto, off or a file" : ""; })
      ->capture_default_str();
}

Result<std::uint64_t> parse_memory(const std::string& text) {
  Result<std::uint64_t> size = parse_size(text);
  if (!size.ok()) return size.status().with_prefix("--memory");
  if (*size == 0) return error(StatusCode::kInvalidArgument, "--memory: must be above 0");
  return size;
}

Result<EngineOptions> engine_options(const EngineFlags& flags) {
  EngineOptions options;
  options.model = flags.model;
  if (!flags.memory.empty()) {
    FM_ASSIGN_OR_RETURN(options.memory_bytes, parse_memory(flags.memory));
  }
  options.threads = flags.threads;
  options.context = flags.context;
  options.prefill_chunk = flags.prefill_chunk;
  if (flags.io == "io_uring") options.io = IoChoice::kIoUring;
  if (flags.io == "pread") options.io = IoChoice::kPread;
  options.speculation = flags.speculation != "off";
  options.record_trace = flags.record_trace;
  options.routing_trace = flags.routing_trace;
  set_resident_set(flags, options);
  return options;
}

Result<std::unique_ptr<Engine>> open_engine(const EngineFlags& flags) {
  FM_ASSIGN_OR_RETURN(EngineOptions options, engine_options(flags));
  ProgressBar bar("loading");
  options.on_progress = [&bar](std::uint64_t done, std::uint64_t total) {
    bar.update(done, total);
  };
  return Engine::open(options);
}

Result<int> finish_trace(const EngineFlags& flags, Engine& engine, Result<int> outcome) {
  if (flags.record_trace.empty()) return outcome;
  const Status recorded = engine.finish_trace();
  if (outcome.ok() && !recorded.ok()) return recorded;
  return outcome;
}

}  // namespace flashmoe::cli
