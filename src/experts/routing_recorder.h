#ifndef FLASHMOE_EXPERTS_ROUTING_RECORDER_H_
#define FLASHMOE_EXPERTS_ROUTING_RECORDER_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace flashmoe {

struct RoutingRecorderOptions {
  std::filesystem::path path;
  std::vector<std::size_t> num_experts;  // of each layer with routed experts
  std::size_t experts_per_token = 0;
};

/// Writes a routing trace while a model runs. How many tokens will come is not known before the
/// end, and a trace is stored layer by layer: so steps go to a nameless file beside the final one,
/// and finish() sorts them into it. Memory is needed for one step only. Not thread-safe.
class RoutingRecorder {
 public:
  /// Errors, before a long run rather than after it: kInvalidArgument if `path` exists and is not a
  /// regular file; kIo if nothing can be written beside it.
  static Result<std::unique_ptr<RoutingRecorder>> create(RoutingRecorderOptions options);
  /// Without finish() no trace is left behind.
  ~RoutingRecorder();
  RoutingRecorder(const RoutingRecorder&) = delete;
  RoutingRecorder& operator=(const RoutingRecorder&) = delete;

  /// A forward pass begins, of `rows` tokens; `starts`: those rows that do not continue the
  /// sequence of the row before. A pass of which record() did not hear every layer is forgotten.
  void begin_step(std::size_t rows, std::span<const std::size_t> starts);

  /// What the routers of `layer` (counted among those with routed experts) chose in this pass: ids
  /// and weights [rows, k]. Layers come in order. Failures show in finish().
  void record(std::size_t layer, std::span<const std::uint16_t> ids,
              std::span<const float> weights);

  /// Writes the trace of all complete passes, and ends the recording. Without any there is no file.
  /// Errors: kIo, also of record().
  Status finish();

 private:
  RoutingRecorder(RoutingRecorderOptions options, int spool);
  void commit();
  void spool(std::span<const std::byte> bytes);
  Status write_trace() const;
  Status failed(std::string_view action, int error_number) const;

  RoutingRecorderOptions options_;
  int spool_ = -1;
  Status status_;  // the first failure of spool()

  // The pass that is being recorded: [layer, row, rank].
  std::vector<std::uint16_t> ids_;
  std::vector<float> weights_;
  std::vector<std::size_t> step_starts_;
  std::size_t rows_ = 0;

  std::vector<std::uint32_t> step_rows_;  // of every pass in the spool
  std::vector<std::size_t> starts_;
  std::size_t token_count_ = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_ROUTING_RECORDER_H_
