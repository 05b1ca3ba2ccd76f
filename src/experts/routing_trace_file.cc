#include "experts/routing_trace_file.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "format/printable.h"
#include "tensor/float_bits.h"

namespace flashmoe {
namespace {

constexpr const char* kEntry = "routing";  // the name in files that we write
constexpr const char* kVersionKey = "flash-moe.routing_trace";
constexpr const char* kVersion = "1";

bool is_id_type(DType dtype) {
  return dtype == DType::kU8 || dtype == DType::kI16 || dtype == DType::kU16;
}

/// A name with a dot belongs to the trace whose name comes before it.
bool is_trace(const SafetensorsEntry& entry) {
  return entry.shape.size() == 3 && is_id_type(entry.dtype) &&
         entry.name.find('.') == std::string::npos;
}

Result<std::vector<ExpertId>> to_ids(std::span<const std::byte> bytes, DType dtype) {
  const std::size_t size = size_of(dtype);
  std::vector<ExpertId> ids(bytes.size() / size);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const std::uint16_t id = dtype == DType::kU8
                                 ? std::to_integer<std::uint16_t>(bytes[i])
                                 : load_unaligned<std::uint16_t>(bytes.data() + i * size);
    if (dtype == DType::kI16 && id > 0x7fff) {
      return error(StatusCode::kCorrupt, "id {} is negative", i);
    }
    ids[i].value = id;
  }
  return ids;
}

std::vector<std::int64_t> to_int64(std::span<const std::size_t> values) {
  return {values.begin(), values.end()};
}

}  // namespace

Result<RoutingTraceFile> RoutingTraceFile::open(const std::filesystem::path& path) {
  FM_ASSIGN_OR_RETURN(SafetensorsFile safetensors, SafetensorsFile::open(path));
  RoutingTraceFile file(path.string(), std::move(safetensors));
  const SafetensorsHeader& header = file.file_.header();
  if (const auto version = header.metadata.find(kVersionKey);
      version != header.metadata.end() && version->second != kVersion) {
    return error(StatusCode::kUnsupported,
                 "{}: routing trace format {}; this program knows version {}", path.string(),
                 printable(version->second), kVersion);
  }
  for (const SafetensorsEntry& entry : header.tensors) {
    if (is_trace(entry)) file.entries_.push_back(entry.name);
  }
  std::ranges::sort(file.entries_);
  if (file.entries_.empty()) {
    return error(StatusCode::kCorrupt,
                 "{}: no routing trace: no tensor [layers, tokens, experts] of U8, U16 or I16",
                 path.string());
  }
  return file;
}

Result<RoutingTrace> RoutingTraceFile::read(std::string_view entry) const {
  const std::string name(entry);
  if (std::ranges::find(entries_, name) == entries_.end()) {
    std::vector<std::string> names;
    for (const std::string& known : entries_) names.push_back(printable(known));
    return error(StatusCode::kNotFound, "{}: no routing trace {}; there are {}", path_,
                 printable(name), fmt::join(names, ", "));
  }
  const std::string where = fmt::format("{}: routing trace {}", path_, printable(name));
  Result<RoutingTraceData> data = read_data(name);
  if (!data.ok()) return data.status().with_prefix(where);
  Result<RoutingTrace> trace = RoutingTrace::create(*std::move(data));
  if (!trace.ok()) return trace.status().with_prefix(where);
  return trace;
}

Result<RoutingTraceData> RoutingTraceFile::read_data(const std::string& entry) const {
  const SafetensorsEntry& ids = *file_.find(entry);
  RoutingTraceData data{.layer_count = static_cast<std::size_t>(ids.shape[0]),
                        .token_count = static_cast<std::size_t>(ids.shape[1]),
                        .experts_per_token = static_cast<std::size_t>(ids.shape[2])};
  FM_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, file_.read(entry));
  FM_ASSIGN_OR_RETURN(data.ids, to_ids(bytes, ids.dtype));
  if (file_.find(entry + ".weights") != nullptr) {
    FM_ASSIGN_OR_RETURN(data.weights, file_.read_floats(entry + ".weights"));
  }
  FM_ASSIGN_OR_RETURN(data.num_experts, read_counts(entry + ".num_experts"));
  FM_ASSIGN_OR_RETURN(data.starts, read_counts(entry + ".starts"));
  FM_ASSIGN_OR_RETURN(data.switches, read_counts(entry + ".switches"));
  if (data.starts.empty() && !data.ids.empty()) {
    for (std::size_t t = 0; t < data.token_count; t += kDefaultWindow) data.starts.push_back(t);
  }
  return data;
}

/// Empty where there is no such tensor.
Result<std::vector<std::size_t>> RoutingTraceFile::read_counts(const std::string& name) const {
  std::vector<std::size_t> counts;
  if (file_.find(name) == nullptr) return counts;
  FM_ASSIGN_OR_RETURN(const std::vector<std::int64_t> values, file_.read_integers(name));
  for (const std::int64_t value : values) {
    if (value < 0) return error(StatusCode::kCorrupt, "{}: {}", printable(name), value);
    counts.push_back(static_cast<std::size_t>(value));
  }
  return counts;
}

Result<std::vector<NamedRoutingTrace>> read_routing_traces(const std::string& spec, bool all) {
  // A file whose own name has a colon is still found.
  std::error_code ignored;
  const std::size_t colon =
      std::filesystem::exists(spec, ignored) ? std::string::npos : spec.rfind(':');
  FM_ASSIGN_OR_RETURN(const RoutingTraceFile file, RoutingTraceFile::open(spec.substr(0, colon)));
  std::vector<std::string> names;
  if (colon != std::string::npos) {
    for (std::size_t begin = colon + 1, end = colon; end != std::string::npos; begin = end + 1) {
      end = spec.find(',', begin);
      names.push_back(spec.substr(begin, end == std::string::npos ? end : end - begin));
    }
  } else if (all || file.entries().size() == 1) {
    names.assign(file.entries().begin(), file.entries().end());
  } else {
    std::vector<std::string> known;
    for (const std::string& entry : file.entries()) known.push_back(printable(entry));
    return error(StatusCode::kInvalidArgument,
                 "{}: has {} routing traces; name one as {}:{}. There are {}", spec, known.size(),
                 spec, known.front(), fmt::join(known, ", "));
  }
  std::vector<NamedRoutingTrace> traces;
  for (const std::string& name : names) {
    FM_ASSIGN_OR_RETURN(RoutingTrace trace, file.read(name));
    traces.push_back({name, std::move(trace)});
  }
  return traces;
}

Result<RoutingTraceWriter> RoutingTraceWriter::create(const std::filesystem::path& path,
                                                      const Shape& shape,
                                                      std::span<const std::size_t> num_experts,
                                                      std::span<const std::size_t> starts,
                                                      std::span<const std::size_t> switches) {
  FM_CHECK(num_experts.empty() || num_experts.size() == shape.layer_count);
  const std::string entry = kEntry;
  const std::vector<std::uint64_t> dimensions = {shape.layer_count, shape.token_count,
                                                 shape.experts_per_token};
  std::vector<SafetensorsWriter::Tensor> tensors = {
      {entry, DType::kU16, dimensions},
      {entry + ".starts", DType::kI64, {starts.size()}},
      {entry + ".switches", DType::kI64, {switches.size()}}};
  if (!num_experts.empty()) {
    tensors.push_back({entry + ".num_experts", DType::kI64, {num_experts.size()}});
  }
  if (shape.weights) tensors.push_back({entry + ".weights", DType::kF32, dimensions});
  FM_ASSIGN_OR_RETURN(SafetensorsWriter writer,
                      SafetensorsWriter::create(path, tensors, {{kVersionKey, kVersion}}));
  const auto write = [&](const char* suffix, std::span<const std::size_t> values) {
    const std::vector<std::int64_t> numbers = to_int64(values);
    return writer.write(entry + suffix, 0, std::span(numbers));
  };
  if (!num_experts.empty()) FM_RETURN_IF_ERROR(write(".num_experts", num_experts));
  FM_RETURN_IF_ERROR(write(".starts", starts));
  FM_RETURN_IF_ERROR(write(".switches", switches));
  return RoutingTraceWriter(std::move(writer), shape);
}

Status RoutingTraceWriter::write(std::size_t layer, std::size_t first_token,
                                 std::span<const std::uint16_t> ids,
                                 std::span<const float> weights) {
  FM_CHECK(layer < shape_.layer_count);
  FM_CHECK(weights.size() == (shape_.weights ? ids.size() : 0));
  const std::uint64_t first = (layer * shape_.token_count + first_token) * shape_.experts_per_token;
  FM_RETURN_IF_ERROR(writer_.write(kEntry, first, ids));
  if (!shape_.weights) return Status();
  return writer_.write(std::string(kEntry) + ".weights", first, weights);
}

Status write_routing_trace(const std::filesystem::path& path, const RoutingTrace& trace) {
  const auto num_experts =
      trace.declares_num_experts() ? trace.num_experts() : std::span<const std::size_t>();
  FM_ASSIGN_OR_RETURN(RoutingTraceWriter writer,
                      RoutingTraceWriter::create(path,
                                                 {.layer_count = trace.layer_count(),
                                                  .token_count = trace.token_count(),
                                                  .experts_per_token = trace.experts_per_token(),
                                                  .weights = trace.has_weights()},
                                                 num_experts, trace.starts(), trace.switches()));
  std::vector<std::uint16_t> ids(trace.experts_per_token());
  for (std::size_t l = 0; l < trace.layer_count(); ++l) {
    for (std::size_t t = 0; t < trace.token_count(); ++t) {
      std::ranges::transform(trace.routed(l, t), ids.begin(), [](ExpertId id) { return id.value; });
      FM_RETURN_IF_ERROR(writer.write(
          l, t, ids, trace.has_weights() ? trace.weights(l, t) : std::span<const float>()));
    }
  }
  return writer.finish();
}

}  // namespace flashmoe
