#ifndef FLASHMOE_BASE_ALIGNED_BUFFER_H_
#define FLASHMOE_BASE_ALIGNED_BUFFER_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"

namespace flashmoe {

/// Zero-filled memory straight from the operating system, for weights and caches. Pages take real
/// memory when first touched, and go back when the buffer does. Move-only.
///
/// Aligned to a page (at least 4096 bytes); from kHugePageSize on to kHugePageSize, with huge pages
/// asked for: streaming weights through 4 KiB pages costs a third of the memory bandwidth. A guard
/// page behind it turns an overrun into a fault at once.
class AlignedBuffer {
 public:
  static constexpr std::size_t kHugePageSize = std::size_t{2} << 20;

  /// An empty buffer: no memory, size 0.
  AlignedBuffer() = default;
  AlignedBuffer(AlignedBuffer&& other) noexcept;
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept;
  ~AlignedBuffer();

  /// Errors: kIo, naming the size, if the system refuses the mapping.
  static Result<AlignedBuffer> allocate(std::size_t size);

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::span<std::byte> bytes() { return {data_, size_}; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }

  /// Returns the memory to the system now; the buffer is empty afterwards.
  void release();

  /// Returns the memory of the whole pages within [offset, offset + size) to the system; the
  /// addresses stay, and read as zeros until they are written again. Of a huge page that lies there
  /// only in part, the system splits the rest into small pages.
  void discard(std::size_t offset, std::size_t size);

  /// Bytes of the buffer that huge pages back at this moment: whole ones, of what was touched so
  /// far. Reads /proc/self/smaps, which takes milliseconds: for reports, not for loops. 0 where the
  /// system does not tell.
  std::uint64_t huge_page_bytes() const;

 private:
  AlignedBuffer(std::byte* data, std::size_t size) : data_(data), size_(size) {}

  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_BASE_ALIGNED_BUFFER_H_
