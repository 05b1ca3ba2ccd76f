#include "synthesis/shard_writer.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "format/safetensors_writer.h"
#include "io/page_cache.h"
#include "synthesis/gguf_words.h"
#include "synthesis/random_fill.h"

namespace flashmoe {
namespace {

// What a thread makes and writes at a time, and how many of them between two reports.
constexpr std::uint64_t kPieceSize = std::uint64_t{1} << 19;
constexpr std::size_t kPiecesAtOnce = 32;

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
      const std::uint64_t piece_size = kPieceSize / tensor.fill.unit() * tensor.fill.unit();
      for (std::uint64_t at = 0; at < tensor.size; at += piece_size) {
        pieces.push_back({&tensor, key, at, std::min(piece_size, tensor.size - at)});
      }
    }
  }
  return pieces;
}

template <typename T>
Status write_elements(SafetensorsWriter& file, const SyntheticTensor& tensor, std::uint64_t offset,
                      std::span<const std::byte> bytes) {
  return file.write<T>(tensor.tensor.name, offset / sizeof(T),
                       {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)});
}

/// The bytes of a piece: those that the tensor has to hold, or new ones, in `buffer`.
std::span<const std::byte> piece_bytes(const Piece& piece, std::byte* buffer) {
  const std::span<const std::byte> values = piece.tensor->values;
  if (!values.empty()) return values.subspan(piece.offset, piece.size);
  fill_random(piece.tensor->fill, piece.key, piece.offset, {buffer, piece.size});
  return {buffer, piece.size};
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
  const Put put = [&file](const SyntheticTensor& tensor, std::uint64_t offset,
                          std::span<const std::byte> bytes) {
    switch (size_of(tensor.tensor.dtype)) {
      case sizeof(std::uint64_t):
        return write_elements<std::uint64_t>(file, tensor, offset, bytes);
      case sizeof(std::uint32_t):
        return write_elements<std::uint32_t>(file, tensor, offset, bytes);
      default:
        return write_elements<std::uint16_t>(file, tensor, offset, bytes);
    }
  };
  FM_RETURN_IF_ERROR(make_all(modules, put, on_written));
  FM_RETURN_IF_ERROR(file.finish());
  // What is on disk needs no memory: the cache of 45 GB would displace everybody else's.
  return drop_page_cache(path);
}

Status ShardWriter::write_gguf(const std::filesystem::path& path, const GgufValues& values,
                               std::span<const SyntheticModule> modules,
                               const std::function<bool(std::uint64_t)>& on_written) {
  FM_ASSIGN_OR_RETURN(GgufWriter file, GgufWriter::create(path, values, gguf_tensors(modules)));
  const Put put = [&file](const SyntheticTensor& tensor, std::uint64_t offset,
                          std::span<const std::byte> bytes) {
    return file.write(tensor.tensor.name, offset, bytes);
  };
  FM_RETURN_IF_ERROR(make_all(modules, put, on_written));
  FM_RETURN_IF_ERROR(file.finish());
  return drop_page_cache(path);
}

Status ShardWriter::make_all(std::span<const SyntheticModule> modules, const Put& put,
                             const std::function<bool(std::uint64_t)>& on_written) {
  const std::vector<Piece> pieces = cut(modules, seed_);
  for (std::size_t begin = 0; begin < pieces.size(); begin += kPiecesAtOnce) {
    const std::size_t count = std::min(kPiecesAtOnce, pieces.size() - begin);
    std::mutex mutex;
    Status failure;  // the first of the batch
    threads_->parallel_for(count, [&](std::size_t i) {
      const Piece& piece = pieces[begin + i];
      const Status status =
          put(*piece.tensor, piece.offset, piece_bytes(piece, buffer_.data() + i * kPieceSize));
      const std::lock_guard lock(mutex);
      if (failure.ok()) failure = status;
    });
    FM_RETURN_IF_ERROR(failure);
    std::uint64_t written = 0;
    for (std::size_t i = 0; i < count; ++i) written += pieces[begin + i].size;
    if (!on_written(written)) return error(StatusCode::kCancelled, "stopped");
  }
  return Status();
}

}  // namespace flashmoe
