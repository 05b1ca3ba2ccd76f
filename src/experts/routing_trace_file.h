#ifndef FLASHMOE_EXPERTS_ROUTING_TRACE_FILE_H_
#define FLASHMOE_EXPERTS_ROUTING_TRACE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "experts/expert_id.h"
#include "experts/routing_trace.h"
#include "format/safetensors_file.h"
#include "format/safetensors_writer.h"

namespace flashmoe {

/// A safetensors file with one or more routing traces, each under a name (docs/traces.md).
class RoutingTraceFile {
 public:
  /// Where a file does not say where sequences begin: windows of so many tokens.
  static constexpr std::size_t kDefaultWindow = 1024;

  /// Reads the header. Errors: those of SafetensorsFile::open; kCorrupt if there is no trace in it;
  /// kUnsupported for a later version of the format.
  static Result<RoutingTraceFile> open(const std::filesystem::path& path);

  /// The names of its traces, sorted.
  std::span<const std::string> entries() const { return entries_; }

  /// Errors: kNotFound, with the names there are; kCorrupt, kIo.
  Result<RoutingTrace> read(std::string_view entry) const;

 private:
  RoutingTraceFile(std::string path, SafetensorsFile file)
      : path_(std::move(path)), file_(std::move(file)) {}
  Result<RoutingTraceData> read_data(const std::string& entry) const;
  Result<std::vector<std::size_t>> read_counts(const std::string& name) const;

  std::string path_;
  SafetensorsFile file_;
  std::vector<std::string> entries_;
};

/// A trace with the name it came under.
struct NamedRoutingTrace {
  std::string name;
  RoutingTrace trace;
};

/// The traces that `spec` names: FILE, if it holds only one or `all`; FILE:ENTRY; or
/// FILE:ENTRY,ENTRY. Errors: those of RoutingTraceFile; kInvalidArgument if an entry must be named.
Result<std::vector<NamedRoutingTrace>> read_routing_traces(const std::string& spec, bool all);

/// Writes a file with one trace, piece by piece, as SafetensorsWriter does: nobody sees half of it.
class RoutingTraceWriter {
 public:
  struct Shape {
    std::size_t layer_count = 0;
    std::size_t token_count = 0;
    std::size_t experts_per_token = 0;
    bool weights = false;
  };

  /// `num_experts`: of each layer, or empty if unknown. Errors: those of SafetensorsWriter::create.
  static Result<RoutingTraceWriter> create(const std::filesystem::path& path, const Shape& shape,
                                           std::span<const std::size_t> num_experts,
                                           std::span<const std::size_t> starts,
                                           std::span<const std::size_t> switches);

  /// Choices of consecutive tokens in one layer: ids [tokens, k], weights as many or none. Every
  /// token of every layer is to be written once. Errors: kIo.
  Status write(std::size_t layer, std::size_t first_token, std::span<const std::uint16_t> ids,
               std::span<const float> weights);

  /// As SafetensorsWriter::finish.
  Status finish() { return writer_.finish(); }

 private:
  RoutingTraceWriter(SafetensorsWriter writer, const Shape& shape)
      : writer_(std::move(writer)), shape_(shape) {}

  SafetensorsWriter writer_;
  Shape shape_;
};

/// Writes a file with one trace. Errors: those of RoutingTraceWriter.
Status write_routing_trace(const std::filesystem::path& path, const RoutingTrace& trace);

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_ROUTING_TRACE_FILE_H_
