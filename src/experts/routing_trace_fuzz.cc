// Any bytes as a file of routing traces: an error, or traces that keep what the interface promises.
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>

#include "base/check.h"
#include "experts/routing_trace_file.h"

namespace {

void check(const flashmoe::RoutingTrace& trace) {
  FM_CHECK(trace.starts().front() == 0);
  for (std::size_t l = 0; l < trace.layer_count(); ++l) {
    for (std::size_t t = 0; t < trace.token_count(); ++t) {
      for (const flashmoe::ExpertId id : trace.routed(l, t)) {
        FM_CHECK(id.value < trace.num_experts()[l]);
      }
      if (trace.has_weights()) {
        for (const float weight : trace.weights(l, t)) FM_CHECK(weight >= 0);
      }
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("routing_trace_fuzz." + std::to_string(getpid()));
  std::FILE* const out = std::fopen(path.c_str(), "wb");
  FM_CHECK(out != nullptr);
  FM_CHECK(std::fwrite(data, 1, size, out) == size);
  FM_CHECK(std::fclose(out) == 0);
  const auto file = flashmoe::RoutingTraceFile::open(path);
  // It stays open where it matters, and nothing is left if a check fails.
  std::filesystem::remove(path);
  if (!file.ok()) {
    FM_CHECK(!file.status().message().empty());
    return 0;
  }
  for (const std::string& entry : file->entries()) {
    const auto trace = file->read(entry);
    if (trace.ok()) check(*trace);
  }
  return 0;
}
