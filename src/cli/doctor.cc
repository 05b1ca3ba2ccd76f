#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "base/counts.h"
#include "base/cpu_quota.h"
#include "base/file_limit.h"
#include "base/memory_info.h"
#include "base/memory_pressure.h"
#include "base/model_download.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "base/units.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "flashmoe/inspection.h"
#include "io/disk_probe.h"
#include "kernels/cpu/cpu_ops.h"

namespace flashmoe::cli {
namespace {

using Json = nlohmann::ordered_json;

struct DoctorFlags {
  std::string folder = ".";
  bool json = false;
};

constexpr const char* kDoctorExamples = R"(
Examples:
  flash-moe doctor           this machine, and the disk of the current folder
  flash-moe doctor MODEL  # also how fast MODEL can be read, and whether it fits
  flash-moe doctor --json

Takes about a second, writes nothing. Exit code 1 if flash-moe cannot work here.)";

enum class Mark : std::uint8_t {
  kOk,
  kWarn,  // works, but worse than it could
  kFail,  // flash-moe cannot work
};

std::string_view to_string(Mark mark) {
  switch (mark) {
    case Mark::kOk:
      return "ok";
    case Mark::kWarn:
      return "warn";
    case Mark::kFail:
      break;
  }
  return "fail";
}

struct Finding {
  std::string name;
  Mark mark = Mark::kOk;
  std::string text;
  std::string remedy;           // empty where there is nothing to remedy
  Json facts = Json::object();  // the figures in the text
};

Finding check_cpu() {
  const std::vector<std::string_view> supported = supported_cpu_targets();
  Finding finding{.name = "cpu"};
  finding.facts["supported"] = supported;
  ThreadPool caller_only(1);
  const Result<std::unique_ptr<Ops>> ops = make_cpu_ops(caller_only, {});
  if (!ops.ok()) {
    finding.mark = Mark::kFail;
    finding.text = ops.status().message();
    finding.remedy = "unset FLASHMOE_CPU_TARGET";
    return finding;
  }
  const std::string_view target = (*ops)->target();
  finding.facts["target"] = target;
  finding.text = fmt::format("{} in use; this CPU can run {}", target, fmt::join(supported, ", "));
  if (target != supported.front()) {
    finding.mark = Mark::kWarn;
    finding.remedy = fmt::format("unset FLASHMOE_CPU_TARGET to use {}", supported.front());
  } else if (target == "scalar") {
    finding.mark = Mark::kWarn;
    finding.remedy = "no kernels for this CPU's vector unit: expect a tenth of the speed";
  }
  return finding;
}

Finding check_cores() {
  const std::size_t cores = ThreadPool::available_core_count();
  Finding finding{
      .name = "cores",
      .text = fmt::format("{} for this process, so {} by default", cores, counted(cores, "thread")),
      .facts = {{"count", cores}, {"cgroup_quota_cores", nullptr}}};
  if (const std::optional<CpuQuota> quota = read_cpu_quota()) {
    finding.facts["cgroup_quota_cores"] = quota->cores;
    finding.facts["cgroup_path"] = quota->path;
    finding.text +=
        fmt::format("; CPU quota of the control group: {:.3g} ({})", quota->cores, quota->path);
  }
  return finding;
}

Finding check_open_files() {
  const FileLimit limit = read_file_limit();  // main() has raised it as far as it goes
  Finding finding{.name = "open files",
                  .text = fmt::format("at most {}", limit.soft),
                  .facts = {{"limit", limit.soft}, {"hard_limit", limit.hard}}};
  constexpr std::uint64_t kEnough = 256;  // shards of the largest models, and connections
  if (limit.soft < kEnough) {
    finding.mark = Mark::kWarn;
    finding.remedy =
        "a model has all its weight files open; raise the hard limit: `ulimit -n 4096` in a shell "
        "that has not lowered it, LimitNOFILE= for systemd, --ulimit nofile=4096 for Docker";
  }
  return finding;
}

Finding check_memory(const MemoryInfo& memory) {
  const std::uint64_t budget = default_budget_bytes(memory);
  Finding finding{.name = "memory",
                  .facts = {{"total_bytes", memory.total_bytes},
                            {"available_bytes", memory.available_bytes},
                            {"cgroup_limit_bytes", nullptr},
                            {"default_budget_bytes", budget}}};
  if (budget == 0) {
    finding.mark = Mark::kWarn;
    finding.text = "the system does not tell how much there is";
    finding.remedy = "give every command a --memory";
    return finding;
  }
  finding.text = fmt::format("{} in all, {} available", format_size(memory.total_bytes),
                             format_size(memory.available_bytes));
  if (memory.cgroup) {
    finding.facts["cgroup_limit_bytes"] = memory.cgroup->limit_bytes;
    finding.facts["cgroup_headroom_bytes"] = memory.cgroup->headroom_bytes;
    finding.facts["cgroup_path"] = memory.cgroup->path;
    finding.text += fmt::format("; control group limit {}, {} left ({})",
                                format_size(memory.cgroup->limit_bytes),
                                format_size(memory.cgroup->headroom_bytes), memory.cgroup->path);
  } else {
    finding.text += ", no control group limit";
  }
  finding.text += fmt::format("; default --memory {}", format_size(budget));
  return finding;
}

/// Whether a running model would notice that memory gets short.
Finding check_memory_pressure() {
  const MemoryPressureProbe probe;
  Finding finding{.name = "pressure",
                  .facts = {{"is_watched", probe.available()},
                            {"pressure_path", nullptr},
                            {"cgroup_count", probe.cgroup_count()}}};
  const std::string path = probe.pressure_path().string();
  if (!path.empty()) finding.facts["pressure_path"] = path;
  if (!probe.available()) {
    finding.text =
        "the system does not tell when memory gets short: the expert cache keeps its size";
    return finding;
  }
  finding.text = fmt::format("watched while a model runs: {}, {} control groups",
                             path.empty() ? "no stall information" : path, probe.cgroup_count());
  return finding;
}

Finding check_huge_pages(HugePageMode mode) {
  Finding finding{.name = "huge pages",
                  .text = std::string(to_string(mode)),
                  .facts = {{"mode", to_string(mode)}}};
  if (mode == HugePageMode::kNever) {
    finding.mark = Mark::kWarn;
    finding.remedy =
        "up to a third of the memory bandwidth is lost; as root: echo madvise > "
        "/sys/kernel/mm/transparent_hugepage/enabled";
  } else if (mode == HugePageMode::kUnknown) {
    finding.text = "the system does not tell";
  }
  return finding;
}

Finding check_io_uring() {
  Finding finding{.name = "io_uring", .text = "works"};
  const Status status = probe_io_uring();
  finding.facts["works"] = status.ok();
  if (!status.ok()) {
    finding.mark = Mark::kWarn;
    finding.text = "reads go through pread threads, which cost more CPU time";
    finding.remedy = status.message();
  }
  return finding;
}

/// What could not be tried on `folder`: a warning, since another folder may do.
Finding not_tried(Finding finding, const Status& status) {
  finding.mark = Mark::kWarn;
  finding.text = status.message();
  finding.remedy = "give doctor the folder of a model";
  return finding;
}

Finding check_direct_io(const std::filesystem::path& folder) {
  Finding finding{.name = "direct I/O"};
  const Result<DirectIoProbe> probe = probe_direct_io(folder);
  if (!probe.ok()) return not_tried(std::move(finding), probe.status());
  finding.facts = {{"path", probe->path}, {"alignment", probe->alignment}};
  finding.remedy = probe->remedy;
  finding.mark = probe->remedy.empty() ? Mark::kOk : Mark::kWarn;
  finding.text = probe->alignment == 0 ? fmt::format("not for {}", probe->path)
                                       : fmt::format("works for {}, aligned to {} bytes",
                                                     probe->path, probe->alignment);
  return finding;
}

Finding check_disk_speed(const std::filesystem::path& folder) {
  Finding finding{.name = "disk"};
  const Result<ReadSpeed> speed = measure_read_speed(folder, {});
  if (!speed.ok()) return not_tried(std::move(finding), speed.status());
  finding.facts = {{"path", speed->path},
                   {"bytes_per_second", speed->bytes_per_second},
                   {"read_size", speed->read_size},
                   {"is_direct", speed->is_direct},
                   {"io_backend", flashmoe::to_string(speed->backend)}};
  finding.text =
      fmt::format("{} in random reads of {} through {}{}", format_rate(speed->bytes_per_second),
                  format_size(speed->read_size), flashmoe::to_string(speed->backend),
                  speed->is_direct ? "" : ", perhaps from the page cache");
  constexpr std::uint64_t kTelling = std::uint64_t{1} << 20;
  if (speed->read_size < kTelling) {
    return not_tried(std::move(finding),
                     error(StatusCode::kNotFound, "{}: no file here is large enough to measure by",
                           folder.string()));
  }
  constexpr double kSlow = 5e8;
  if (speed->bytes_per_second < kSlow) {
    finding.mark = Mark::kWarn;
    finding.remedy =
        "experts that are not in memory will take long; put models on an NVMe disk, or raise "
        "--memory";
  }
  return finding;
}

/// Whether `folder` looks like a model's, whole or not: a link to nowhere is a sign of one too.
bool is_model_folder(const std::filesystem::path& folder) {
  std::error_code ignored;
  for (const char* name : {"config.json", "model.safetensors", "model.safetensors.index.json"}) {
    const auto type = std::filesystem::symlink_status(folder / name, ignored).type();
    if (type != std::filesystem::file_type::not_found) return true;
  }
  return false;
}

/// Only for a folder that is_model_folder().
Finding check_model(const std::filesystem::path& folder, std::uint64_t budget_bytes) {
  Finding finding{.name = "model"};
  const Result<ModelInspection> model = inspect_model({.model = folder});
  if (!model.ok()) {
    finding.mark = Mark::kFail;
    finding.text = model.status().message();
    return finding;
  }
  const MemoryPlan& least = model->minimum;
  finding.facts = {{"model_type", model->info.model_type},
                   {"budget_bytes_min", least.budget_bytes_min},
                   {"budget_bytes_resident", least.budget_bytes_resident}};
  finding.text = fmt::format("{}, works from {} of memory on, stays in memory from {} on",
                             model->info.model_type, format_size(least.budget_bytes_min),
                             format_size(least.budget_bytes_resident));
  if (budget_bytes != 0 && budget_bytes < least.budget_bytes_min) {
    finding.mark = Mark::kFail;
    finding.remedy = fmt::format("free memory or lower --context (now {}); see flash-moe inspect",
                                 least.context);
  } else if (!model->info.warnings.empty()) {
    finding.mark = Mark::kWarn;
    finding.remedy = fmt::format("{}", fmt::join(model->info.warnings, "; "));
  }
  return finding;
}

Result<std::vector<Finding>> examine(const std::filesystem::path& given) {
  std::error_code failure;
  if (!std::filesystem::exists(given, failure)) {
    return error(StatusCode::kNotFound, "{}: no such folder", given.string());
  }
  FM_ASSIGN_OR_RETURN(const std::filesystem::path folder, find_model_folder(given));
  const MemoryInfo memory = read_memory_info();
  std::vector<Finding> findings = {
      check_cpu(),          check_cores(),           check_open_files(),
      check_memory(memory), check_memory_pressure(), check_huge_pages(memory.huge_page_mode),
      check_io_uring()};
  findings.push_back(check_direct_io(folder));
  findings.push_back(check_disk_speed(folder));
  if (is_model_folder(folder)) {
    findings.push_back(check_model(folder, default_budget_bytes(memory)));
  }
  return findings;
}

Json to_json(const std::vector<Finding>& findings, bool usable) {
  Json checks = Json::array();
  for (const Finding& finding : findings) {
    Json check = {
        {"name", finding.name}, {"status", to_string(finding.mark)}, {"text", finding.text}};
    if (!finding.remedy.empty()) check["remedy"] = finding.remedy;
    check.update(finding.facts);
    checks.push_back(std::move(check));
  }
  return {{"usable", usable}, {"checks", std::move(checks)}};
}

std::string to_text(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& finding : findings) {
    text += fmt::format("{:<4}  {:<10}  {}\n", to_string(finding.mark), finding.name, finding.text);
    if (!finding.remedy.empty()) text += fmt::format("{:<18}-> {}\n", "", finding.remedy);
  }
  return text;
}

Result<int> doctor(const DoctorFlags& flags) {
  FM_ASSIGN_OR_RETURN(const std::vector<Finding> findings, examine(flags.folder));
  bool usable = true;
  for (const Finding& finding : findings) usable = usable && finding.mark != Mark::kFail;
  FM_RETURN_IF_ERROR(flags.json ? print_json(to_json(findings, usable)) : print(to_text(findings)));
  return usable ? kExitOk : kExitFailure;
}

}  // namespace

void add_doctor(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<DoctorFlags>();
  CLI::App* command =
      app.add_subcommand("doctor", "What this machine can do, and what to do about the rest");
  command->add_option("FOLDER", flags->folder, "Where models are, or a model")
      ->type_name("FOLDER")
      ->capture_default_str();
  command->add_flag("--json", flags->json, "Print one JSON object");
  command->footer(kDoctorExamples);
  command->callback([flags, &exit_code] {
    const Result<int> code = doctor(*flags);
    exit_code = code.ok() ? *code : report(code.status());
  });
}

}  // namespace flashmoe::cli
