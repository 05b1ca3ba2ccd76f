#include "synthesis/shard_writer.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "format/safetensors_writer.h"
#include "io/page_cache.h"
#include "synthesis/random_fill.h"

namespace flashmoe {
namespace {

// What a thread makes and writes at a time, and how many of them between two reports.
constexpr std::uint64_t kPieceSize = std::uint64_t{1} << 19;
constexpr std::size_t kPiecesAtOnce = 32;
static_assert(kPieceSize % kFillUnit == 0);

struct Piece {
  const SyntheticTensor* tensor = nullptr;
  std::uint64_t key = 0;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};

std::vector<Piece> cut(std::span<const SyntheticModule> modules, std::uint64_t seed) {
  std::vector<Piece> pieces;
  for (const SyntheticModule& module : modules) {
    const std::uint64_t key = stream_key(seed, module.path);
    for (const SyntheticTensor& tensor : module.tensors) {
      for (std::uint64_t at = 0; at < tensor.size; at += kPieceSize) {
        pieces.push_back({&tensor, key, at, std::min(kPieceSize, tensor.size - at)});
      }
    }
  }
  return pieces;
}

template <typename T>
Status write_elements(SafetensorsWriter& file, const Piece& piece, const std::byte* bytes) {
  return file.write<T>(piece.tensor->tensor.name, piece.offset / sizeof(T),
                       {reinterpret_cast<const T*>(bytes), piece.size / sizeof(T)});
}

Status make_and_write(SafetensorsWriter& file, const Piece& piece, std::byte* buffer) {
  const std::span<const std::int64_t> values = piece.tensor->values;
  if (!values.empty()) {
    return write_elements<std::int64_t>(
        file, piece, reinterpret_cast<const std::byte*>(values.data()) + piece.offset);
  }
  fill_random(piece.tensor->fill, piece.key, piece.offset, {buffer, piece.size});
  return piece.tensor->tensor.dtype == DType::kU32
             ? write_elements<std::uint32_t>(file, piece, buffer)
             : write_elements<std::uint16_t>(file, piece, buffer);
}

}  // namespace

Result<ShardWriter> ShardWriter::create(ThreadPool& threads, std::uint64_t seed) {
  FM_ASSIGN_OR_RETURN(AlignedBuffer buffer, AlignedBuffer::allocate(kPiecesAtOnce * kPieceSize));
  return ShardWriter(threads, seed, std::move(buffer));
}

Status ShardWriter::write(const std::filesystem::path& path,
                          std::span<const SyntheticModule> modules,
                          const std::function<bool(std::uint64_t)>& on_written) {
  std::vector<SafetensorsWriter::Tensor> tensors;
  for (const SyntheticModule& module : modules) {
    for (const SyntheticTensor& tensor : module.tensors) tensors.push_back(tensor.tensor);
  }
  FM_ASSIGN_OR_RETURN(SafetensorsWriter file,
                      SafetensorsWriter::create(path, tensors, {{"format", "mlx"}},
                                                SafetensorsWriter::Order::kAsGiven));
  const std::vector<Piece> pieces = cut(modules, seed_);
  for (std::size_t begin = 0; begin < pieces.size(); begin += kPiecesAtOnce) {
    const std::size_t count = std::min(kPiecesAtOnce, pieces.size() - begin);
    std::mutex mutex;
    Status failure;  // the first of the batch
    threads_->parallel_for(count, [&](std::size_t i) {
      const Status status =
          make_and_write(file, pieces[begin + i], buffer_.data() + i * kPieceSize);
      const std::lock_guard lock(mutex);
      if (failure.ok()) failure = status;
    });
    FM_RETURN_IF_ERROR(failure);
    std::uint64_t written = 0;
    for (std::size_t i = 0; i < count; ++i) written += pieces[begin + i].size;
    if (!on_written(written)) return error(StatusCode::kCancelled, "stopped");
  }
  FM_RETURN_IF_ERROR(file.finish());
  // What is on disk needs no memory: the cache of 45 GB would displace everybody else's.
  return drop_page_cache(path);
}

}  // namespace flashmoe
