#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/counts.h"
#include "base/model_download.h"
#include "base/units.h"
#include "cli/commands.h"
#include "cli/engine_flags.h"
#include "cli/model_argument.h"
#include "cli/option_groups.h"
#include "cli/option_values.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "server/request_bounds.h"
#include "server/server.h"

namespace flashmoe::cli {
namespace {

struct ServeOptions {
  EngineFlags engine;
  std::string host = "127.0.0.1";
  std::uint16_t port = 8080;
  std::size_t parallel = 2;
  std::size_t queue = 128;
  std::string prefix_cache = "auto";
  std::string cache_dir;
  std::string cache_disk = "8GiB";
  std::string body_max = "auto";
  std::vector<std::string> api_keys;
  std::string api_key_file;
  std::string alias;
  std::vector<std::string> allowed_hosts;
  std::vector<std::string> cors_origins;
  unsigned time_limit = 0;
  unsigned drain_time = 30;
  bool strict_content = false;
  bool allow_control_tokens = false;
  bool quiet = false;
  bool json = false;
};

/// What agents' instructions and tools need before they have read a file.
constexpr std::size_t kServeContext = 32768;

constexpr const char* kServeExamples = R"(
Speaks the APIs of OpenAI (/v1/chat/completions, /v1/completions), Anthropic (/v1/messages) and
Ollama (/api/chat, /api/generate). Metrics for Prometheus are at /metrics. docs/serving.md says more.

Examples:
  flash-moe serve MODEL
  flash-moe serve MODEL --memory 12GiB --parallel 8 --context 32768 --port 11434
  flash-moe serve MODEL --host 0.0.0.0 --api-key-file keys.txt --allow-host mybox.local
  curl http://127.0.0.1:8080/v1/chat/completions -d '{"messages": [{"role": "user", "content": "Hello"}]}')";

std::string clock_time() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  char text[16];
  return std::strftime(text, sizeof(text), "%H:%M:%S", &local) > 0 ? text : "";
}

/// In one line: what clients send must not forge others.
std::string plain(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  return text;
}

/// The one line of a request: what was asked, what it took, how it ended.
std::string log_line(const server::ReplyRecord& record) {
  const GenerationStatistics& run = record.counts.statistics;
  std::string line = fmt::format("{} {} {}", clock_time(), record.endpoint, record.status);
  if (!record.finish.empty()) {
    const std::size_t cached = record.counts.cached_tokens;
    const std::size_t decoded = run.generated_tokens > 0 ? run.generated_tokens - 1 : 0;
    line += fmt::format(
        " | prompt {} ({} % cached)", record.counts.prompt_tokens,
        static_cast<int>(100 * ratio(static_cast<double>(cached),
                                     static_cast<double>(record.counts.prompt_tokens))));
    // What did not happen, since the client left before, is left out.
    if (record.first_token_seconds > 0) {
      line += fmt::format(" | first token {:.2f} s", record.first_token_seconds);
    }
    line += " | " + counted(record.counts.completion_tokens, "token");
    const double rate = ratio(static_cast<double>(decoded), run.decode_seconds);
    if (rate > 0) line += fmt::format(", {:.1f}/s", rate);
    line += fmt::format(" | {} | {:.2f} s", record.finish, record.total_seconds);
  }
  if (!record.error.empty()) line += " | " + record.error;
  for (const std::string& note : record.notes) line += " | " + note;
  return plain(std::move(line)) + "\n";
}

nlohmann::ordered_json log_json(const server::ReplyRecord& record) {
  const GenerationStatistics& run = record.counts.statistics;
  return {{"event", "request"},
          {"endpoint", record.endpoint},
          {"status", record.status},
          {"finish", record.finish},
          {"error", record.error},
          {"notes", record.notes},
          {"prompt_tokens", record.counts.prompt_tokens},
          {"cached_tokens", record.counts.cached_tokens},
          {"completion_tokens", record.counts.completion_tokens},
          {"first_token_seconds", record.first_token_seconds},
          {"decode_seconds", run.decode_seconds},
          {"total_seconds", record.total_seconds}};
}

void print_json_line(const nlohmann::ordered_json& value) {
  print_note(value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

/// One key a line; lines that are empty or begin with # are none.
Status read_api_keys(const std::string& path, std::vector<std::string>& keys) {
  std::ifstream file(path);
  if (!file) {
    return error(StatusCode::kIo, "--api-key-file {}: {}", path, std::strerror(errno));
  }
  for (std::string line; std::getline(file, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (!line.empty() && line.front() != '#') keys.push_back(line);
  }
  if (keys.empty()) {
    return error(StatusCode::kInvalidArgument, "--api-key-file {}: has no key in it", path);
  }
  return Status();
}

Result<std::unique_ptr<Engine>> open_for_serving(const ServeOptions& options) {
  FM_ASSIGN_OR_RETURN(EngineOptions engine, engine_options(options.engine));
  engine.sessions = options.parallel;
  engine.context_default = kServeContext;
  engine.prefix_cache_bytes = kPrefixCacheAuto;
  engine.request_bytes = kRequestMemoryAuto;
  if (options.body_max != "auto") {
    FM_ASSIGN_OR_RETURN(const std::uint64_t body_max, parse_memory(options.body_max));
    engine.request_bytes = server::request_bytes_for(body_max);
  }
  if (options.prefix_cache == "off") {
    engine.prefix_cache_bytes = 0;
  } else if (options.prefix_cache != "auto") {
    Result<std::uint64_t> bytes = parse_memory(options.prefix_cache);
    if (!bytes.ok()) {
      return error(StatusCode::kInvalidArgument, "--prefix-cache {}: must be auto, off or a size",
                   options.prefix_cache);
    }
    engine.prefix_cache_bytes = *bytes;
  }
  ProgressBar bar("loading");
  std::uint64_t told = 0;
  engine.on_progress = [&](std::uint64_t done, std::uint64_t total) {
    if (!options.json) return bar.update(done, total);
    // A line for each percent is enough for whoever draws a bar of them.
    const std::uint64_t percent = total == 0 ? 100 : 100 * done / total;
    if (percent == told && done != total) return;
    told = percent;
    print_json_line({{"event", "loading"}, {"bytes_done", done}, {"bytes_total", total}});
  };
  engine.on_warning = [&](const Status& status) { print_note(status.message() + "\n"); };
  return Engine::open(engine);
}

std::string url_of(const std::string& host, std::uint16_t port) {
  const bool is_ipv6 = host.find(':') != std::string::npos;
  return fmt::format("http://{}{}{}:{}", is_ipv6 ? "[" : "", host, is_ipv6 ? "]" : "", port);
}

void print_ready(const ServeOptions& options, const std::string& model_id, const std::string& url,
                 const Engine& engine) {
  const MemoryPlan& plan = engine.memory_plan();
  for (const std::string& warning : engine.info().warnings) {
    options.json ? print_json_line({{"event", "warning"}, {"text", warning}})
                 : print_note("warning: " + warning + "\n");
  }
  if (options.json) {
    return print_json_line({{"event", "ready"},
                            {"url", url},
                            {"model", model_id},
                            {"context", plan.context},
                            {"parallel", options.parallel},
                            {"memory_bytes", plan.budget_bytes},
                            {"prefix_cache_bytes", plan.prefix_bytes},
                            {"request_bytes", plan.request_bytes},
                            {"load_seconds", engine.statistics().load_seconds}});
  }
  print_note(
      fmt::format("{} at {} | context {} x {} | memory {}, of it {} for prompts seen before, "
                  "{} for requests, room for {} of {} experts | Ctrl-C ends\n",
                  model_id, url, plan.context, options.parallel, format_size(plan.budget_bytes),
                  format_size(plan.prefix_bytes), format_size(plan.request_bytes),
                  plan.expert_slots, plan.expert_count));
}

Result<int> serve(const ServeOptions& options) {
  server::ServerOptions wanted;
  wanted.access = {.api_keys = options.api_keys,
                   .allowed_hosts = options.allowed_hosts,
                   .cors_origins = options.cors_origins};
  if (!options.api_key_file.empty()) {
    FM_RETURN_IF_ERROR(read_api_keys(options.api_key_file, wanted.access.api_keys));
  }
  if (const char* key = std::getenv("FLASHMOE_API_KEY"); key != nullptr && *key != '\0') {
    wanted.access.api_keys.emplace_back(key);
  }
  wanted.http.host = options.host;
  wanted.http.port = options.port;
  if (options.body_max != "auto") {
    const Result<std::uint64_t> body_max = parse_memory(options.body_max);
    if (!body_max.ok()) return body_max.status().with_prefix("--body-max");
    wanted.body_size_max = *body_max;
  }
  wanted.model_id = options.alias.empty() ? model_name(options.engine.model) : options.alias;
  wanted.allow_control_tokens = options.allow_control_tokens;
  wanted.scheduler.queue_max = options.queue;
  wanted.scheduler.cache_folder = options.cache_dir;
  wanted.scheduler.on_warning = [](const Status& status) { print_note(status.message() + "\n"); };
  Result<std::uint64_t> cache_disk = parse_memory(options.cache_disk);
  if (!cache_disk.ok()) return cache_disk.status().with_prefix("--cache-disk");
  wanted.scheduler.cache_folder_bytes = *cache_disk;
  wanted.time_limit = std::chrono::seconds(options.time_limit);
  wanted.drain_time = std::chrono::seconds(options.drain_time);
  wanted.is_content_strict = options.strict_content;
  if (!options.quiet) {
    wanted.on_request = [json = options.json](const server::ReplyRecord& record) {
      json ? print_json_line(log_json(record)) : print_note(log_line(record));
    };
  }
  std::string url;
  wanted.on_ready = [&, id = wanted.model_id](const Engine& engine) {
    print_ready(options, id, url, engine);
  };
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<server::Server> server,
                      server::Server::create(std::move(wanted)));
  url = url_of(options.host, server->port());
  if (options.json) print_json_line({{"event", "listening"}, {"url", url}});
  FM_RETURN_IF_ERROR(server->run([&] { return open_for_serving(options); }));
  return kExitOk;
}

}  // namespace

void add_serve(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App* command =
      app.add_subcommand("serve", "Answer OpenAI, Anthropic and Ollama clients over HTTP");
  add_model_argument(*command, options->engine.model);
  add_engine_flags(*command, options->engine);
  command->get_option("--context")
      ->description(fmt::format(
          "Most tokens of a conversation; default: the model's limit, at most {}", kServeContext));
  command->add_option("--host", options->host, "Address to listen on")
      ->type_name("ADDRESS")
      ->capture_default_str()
      ->group(kServerOptions);
  add_whole_number(*command, "--port", options->port, {0, 65535},
                   "Port to listen on; 0 takes any that is free")
      ->group(kServerOptions);
  add_whole_number(*command, "--parallel", options->parallel, {1, 1024},
                   "Sequences computed at once")
      ->group(kServerOptions);
  command
      ->add_option("--api-key", options->api_keys,
                   "Key that clients must give; may be repeated. Others can see a command line: "
                   "$FLASHMOE_API_KEY or a file keeps it to yourself")
      ->type_name("KEY")
      ->allow_extra_args(false)
      ->configurable(false)  // $FLASHMOE_API_KEY adds to those given here
      ->group(kServerOptions);
  command->add_option("--api-key-file", options->api_key_file, "File of keys, one a line")
      ->type_name("FILE")
      ->group(kServerOptions);
  command->add_option("--model-alias", options->alias, "Name the model goes by")
      ->type_name("NAME")
      ->default_str("the folder's")
      ->group(kServerOptions);
  command
      ->add_option("--prefix-cache", options->prefix_cache,
                   "Memory for prompts seen before, as 2GiB; auto or off")
      ->type_name("SIZE")
      ->capture_default_str()
      ->group(kMoreServerOptions);
  command
      ->add_option("--cache-dir", options->cache_dir,
                   "Folder to keep prompts' states in, for after a restart")
      ->type_name("DIR")
      ->group(kServerOptions);
  command->add_option("--cache-disk", options->cache_disk, "The most that may be in it")
      ->type_name("SIZE")
      ->capture_default_str()
      ->group(kMoreServerOptions);
  add_whole_number(*command, "--queue", options->queue, {0, 1'000'000},
                   "Requests that may wait for a place")
      ->group(kMoreServerOptions);
  command
      ->add_option("--allow-host", options->allowed_hosts,
                   "Name that clients may call this machine by, beside addresses and localhost; "
                   "may be repeated")
      ->type_name("NAME")
      ->allow_extra_args(false)
      ->group(kMoreServerOptions);
  command
      ->add_option("--cors-origin", options->cors_origins,
                   "Origin whose pages may ask, as https://chat.example; * for all; may be "
                   "repeated")
      ->type_name("ORIGIN")
      ->allow_extra_args(false)
      ->group(kMoreServerOptions);
  command
      ->add_option("--body-max", options->body_max,
                   "Largest request, as 64MiB; auto: what the memory allows")
      ->type_name("SIZE")
      ->capture_default_str()
      ->group(kMoreServerOptions);
  add_whole_number(*command, "--time-limit", options->time_limit, {},
                   "Seconds a request may take; 0: no limit")
      ->group(kMoreServerOptions);
  add_whole_number(*command, "--drain-time", options->drain_time, {},
                   "Seconds that running requests get when the server is asked to end")
      ->group(kMoreServerOptions);
  add_resident_set_flag(*command, options->engine);
  add_residency_flags(*command, options->engine, ResidencyFlags::kMisses);
  command
      ->add_flag("--allow-control-tokens", options->allow_control_tokens,
                 "Read <|im_end|> and the like in what users and tools say, too")
      ->group(kMoreServerOptions);
  command
      ->add_flag("--strict-content", options->strict_content,
                 "Refuse images and other content that a text model cannot read")
      ->group(kMoreServerOptions);
  command->add_flag("--quiet", options->quiet, "No line for each request")->group(kOutputOptions);
  command->add_flag("--json", options->json, "Progress and requests as NDJSON on standard error")
      ->group(kOutputOptions);
  command->footer(kServeExamples);
  command->callback([options, &exit_code] {
    const Result<int> result = serve(*options);
    exit_code = result.ok() ? *result : report(result.status());
  });
}

}  // namespace flashmoe::cli
