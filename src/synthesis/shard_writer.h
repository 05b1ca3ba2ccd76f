#ifndef FLASHMOE_SYNTHESIS_SHARD_WRITER_H_
#define FLASHMOE_SYNTHESIS_SHARD_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <utility>

#include "base/aligned_buffer.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "format/gguf_writer.h"
#include "synthesis/module_list.h"

namespace flashmoe {

/// Makes and writes random weights, in pieces that the threads take in turns, through one small
/// buffer. Not thread-safe.
class ShardWriter {
 public:
  /// `threads` must outlive the writer.
  static Result<ShardWriter> create(ThreadPool& threads, std::uint64_t seed);

  /// Writes the file `path` with these modules, in their order. `on_written` hears the bytes
  /// written since its last call; false stops. Errors: those of SafetensorsWriter; kCancelled.
  Status write(const std::filesystem::path& path, std::span<const SyntheticModule> modules,
               const std::function<bool(std::uint64_t)>& on_written);
  /// The same as a GGUF file with this metadata. Errors: those of GgufWriter; kCancelled.
  Status write_gguf(const std::filesystem::path& path, const GgufValues& values,
                    std::span<const SyntheticModule> modules,
                    const std::function<bool(std::uint64_t)>& on_written);

 private:
  /// Puts bytes of a tensor where they belong, from byte `offset` of its data on.
  using Put = std::function<Status(const SyntheticTensor& tensor, std::uint64_t offset,
                                   std::span<const std::byte> bytes)>;

  Status make_all(std::span<const SyntheticModule> modules, const Put& put,
                  const std::function<bool(std::uint64_t)>& on_written);

  ShardWriter(ThreadPool& threads, std::uint64_t seed, AlignedBuffer buffer)
      : threads_(&threads), seed_(seed), buffer_(std::move(buffer)) {}

  ThreadPool* threads_;
  std::uint64_t seed_;
  AlignedBuffer buffer_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_SYNTHESIS_SHARD_WRITER_H_
