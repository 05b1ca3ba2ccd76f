#include "experts/routing_recorder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "experts/routing_trace_file.h"

namespace flashmoe {
namespace {

// Tokens that are sorted by layer at a time: few enough to fit beside a running model, many enough
// that the trace is written in pieces of some size.
constexpr std::size_t kSortedTokens = 256;

/// Positioned reads until all is there; false with errno set.
bool read_all(int descriptor, std::uint64_t offset, std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = pread(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count == 0) errno = EIO;
    if (count <= 0) return false;
    offset += static_cast<std::uint64_t>(count);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return true;
}

}  // namespace

Result<std::unique_ptr<RoutingRecorder>> RoutingRecorder::create(RoutingRecorderOptions options) {
  std::error_code ignored;
  if (std::filesystem::exists(options.path, ignored) &&
      !std::filesystem::is_regular_file(options.path, ignored)) {
    return error(StatusCode::kInvalidArgument,
                 "{}: exists and is not a regular file; give another name to record to",
                 options.path.string());
  }
  std::string name = options.path.string() + ".recording-XXXXXX";
  const int descriptor = mkstemp(name.data());
  if (descriptor < 0) {
    return error(
        StatusCode::kIo,
        "{}: record routing: {}; check that the folder exists and that you may write to it",
        options.path.string(), std::generic_category().message(errno));
  }
  // Nameless from the start: nothing is left whatever ends the process.
  unlink(name.c_str());
  fcntl(descriptor, F_SETFD, FD_CLOEXEC);
  return std::unique_ptr<RoutingRecorder>(new RoutingRecorder(std::move(options), descriptor));
}

RoutingRecorder::RoutingRecorder(RoutingRecorderOptions options, int spool)
    : options_(std::move(options)), spool_(spool) {}

RoutingRecorder::~RoutingRecorder() {
  if (spool_ >= 0) close(spool_);
}

Status RoutingRecorder::failed(std::string_view action, int error_number) const {
  return error(StatusCode::kIo, "{}: {}: {}; make room, or record to another disk",
               options_.path.string(), action, std::generic_category().message(error_number));
}

void RoutingRecorder::begin_step(std::size_t rows, std::span<const std::size_t> starts) {
  rows_ = rows;
  step_starts_.assign(starts.begin(), starts.end());
  ids_.clear();
  weights_.clear();
}

void RoutingRecorder::record(std::size_t layer, std::span<const std::uint16_t> ids,
                             std::span<const float> weights) {
  const std::size_t count = rows_ * options_.experts_per_token;
  FM_CHECK(ids_.size() == layer * count);
  FM_CHECK(ids.size() == count);
  FM_CHECK(weights.size() == count);
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  weights_.insert(weights_.end(), weights.begin(), weights.end());
  if (layer + 1 == options_.num_experts.size()) commit();
}

void RoutingRecorder::commit() {
  spool(std::as_bytes(std::span(ids_)));
  spool(std::as_bytes(std::span(weights_)));
  if (!status_.ok()) return;
  for (const std::size_t row : step_starts_) starts_.push_back(token_count_ + row);
  // Tokens of a pass that failed are missing: what follows them continues nothing.
  if (token_count_ == 0 && (starts_.empty() || starts_.front() != 0))
    starts_.insert(starts_.begin(), 0);
  step_rows_.push_back(static_cast<std::uint32_t>(rows_));
  token_count_ += rows_;
}

void RoutingRecorder::spool(std::span<const std::byte> bytes) {
  while (status_.ok() && !bytes.empty()) {
    const ssize_t count = write(spool_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      status_ = failed("record routing", count == 0 ? ENOSPC : errno);
      return;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

Status RoutingRecorder::finish() {
  FM_CHECK(spool_ >= 0);
  Status status = status_;
  if (status.ok() && token_count_ > 0) status = write_trace();
  close(std::exchange(spool_, -1));
  return status;
}

Status RoutingRecorder::write_trace() const {
  const std::size_t layer_count = options_.num_experts.size();
  const std::size_t k = options_.experts_per_token;
  FM_ASSIGN_OR_RETURN(RoutingTraceWriter writer,
                      RoutingTraceWriter::create(options_.path,
                                                 {.layer_count = layer_count,
                                                  .token_count = token_count_,
                                                  .experts_per_token = k,
                                                  .weights = true},
                                                 options_.num_experts, starts_, {}));
  std::vector<std::vector<std::uint16_t>> ids(layer_count);
  std::vector<std::vector<float>> weights(layer_count);
  std::vector<std::uint16_t> step_ids;
  std::vector<float> step_weights;
  std::uint64_t offset = 0;
  std::size_t written = 0;
  std::size_t sorted = 0;  // tokens in ids and weights
  for (std::size_t step = 0; step < step_rows_.size(); ++step) {
    const std::size_t count = step_rows_[step] * k;
    step_ids.resize(layer_count * count);
    step_weights.resize(layer_count * count);
    for (const std::span<std::byte> bytes : {std::as_writable_bytes(std::span(step_ids)),
                                             std::as_writable_bytes(std::span(step_weights))}) {
      if (!read_all(spool_, offset, bytes)) return failed("sort the recording", errno);
      offset += bytes.size();
    }
    for (std::size_t l = 0; l < layer_count; ++l) {
      const auto part = static_cast<std::ptrdiff_t>(l * count);
      ids[l].insert(ids[l].end(), step_ids.begin() + part,
                    step_ids.begin() + part + static_cast<std::ptrdiff_t>(count));
      weights[l].insert(weights[l].end(), step_weights.begin() + part,
                        step_weights.begin() + part + static_cast<std::ptrdiff_t>(count));
    }
    sorted += step_rows_[step];
    if (sorted < kSortedTokens && step + 1 < step_rows_.size()) continue;
    for (std::size_t l = 0; l < layer_count; ++l) {
      FM_RETURN_IF_ERROR(writer.write(l, written, ids[l], weights[l]));
      ids[l].clear();
      weights[l].clear();
    }
    written += std::exchange(sorted, 0);
  }
  return writer.finish();
}

}  // namespace flashmoe
