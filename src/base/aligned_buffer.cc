#include "base/aligned_buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/units.h"

namespace flashmoe {
namespace {

std::size_t page_size() {
  static const auto size = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

std::size_t round_up(std::size_t value, std::size_t unit) {
  return (value + unit - 1) / unit * unit;
}

void unmap(std::byte* begin, std::byte* end) {
  if (begin < end) FM_CHECK(munmap(begin, static_cast<std::size_t>(end - begin)) == 0);
}

}  // namespace

Result<AlignedBuffer> AlignedBuffer::allocate(std::size_t size) {
  if (size == 0) return AlignedBuffer();
  const std::size_t page = page_size();
  const std::size_t alignment =
      size >= kHugePageSize && kHugePageSize > page ? kHugePageSize : page;
  if (size > std::numeric_limits<std::size_t>::max() - alignment - 2 * page) {
    return error(StatusCode::kIo, "cannot allocate {} of memory: larger than addresses reach",
                 format_size(size));
  }
  // Room to align the start, and the guard page; what lies outside goes back below. The guard also
  // keeps the kernel from merging two buffers into one entry of smaps, which huge_page_bytes reads.
  const std::size_t used = round_up(size, page);
  const std::size_t reserved = used + (alignment - page) + page;
  void* const mapping = mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) {
    return error(StatusCode::kIo, "cannot allocate {} of memory: {}", format_size(size),
                 std::strerror(errno));
  }
  auto* const begin = static_cast<std::byte*>(mapping);
  const std::size_t misalignment = reinterpret_cast<std::uintptr_t>(begin) % alignment;
  auto* const data = begin + (misalignment == 0 ? 0 : alignment - misalignment);
  unmap(begin, data);
  unmap(data + used + page, begin + reserved);
  if (mprotect(data, used, PROT_READ | PROT_WRITE) != 0) {
    const int reason = errno;
    unmap(data, data + used + page);
    return error(StatusCode::kIo, "cannot allocate {} of memory: {}", format_size(size),
                 std::strerror(reason));
  }
#ifdef MADV_HUGEPAGE
  // A refusal (a kernel without huge pages) leaves small pages: slower, not wrong, and
  // huge_page_bytes() tells.
  if (alignment == kHugePageSize) (void)madvise(data, used, MADV_HUGEPAGE);
#endif
  return AlignedBuffer(data, size);
}

AlignedBuffer::AlignedBuffer(AlignedBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

AlignedBuffer& AlignedBuffer::operator=(AlignedBuffer&& other) noexcept {
  if (this != &other) {
    release();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

AlignedBuffer::~AlignedBuffer() { release(); }

void AlignedBuffer::release() {
  if (data_ != nullptr) unmap(data_, data_ + round_up(size_, page_size()) + page_size());
  data_ = nullptr;
  size_ = 0;
}

void AlignedBuffer::discard(std::size_t offset, std::size_t size) {
  FM_CHECK(offset <= size_);
  FM_CHECK(size <= size_ - offset);
  const std::size_t page = page_size();
  const std::size_t begin = round_up(offset, page);
  const std::size_t end = (offset + size) / page * page;
  if (begin >= end) return;
#if defined(__linux__)
  FM_CHECK(madvise(data_ + begin, end - begin, MADV_DONTNEED) == 0);
#else
  // Elsewhere MADV_DONTNEED is a hint that keeps the memory; fresh pages in its place do not.
  FM_CHECK(mmap(data_ + begin, end - begin, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
#endif
}

std::uint64_t AlignedBuffer::huge_page_bytes() const {
  if (data_ == nullptr) return 0;
  const auto buffer_begin = reinterpret_cast<std::uintptr_t>(data_);
  const auto buffer_end = buffer_begin + round_up(size_, page_size());
  // smaps: a line "7f00-7f40 rw-p ..." per mapping, then its "Name:   123 kB" lines.
  std::ifstream smaps("/proc/self/smaps");
  std::string line;
  bool ours = false;
  std::uint64_t huge_bytes = 0;
  while (std::getline(smaps, line)) {
    std::uintptr_t begin = 0, end = 0;
    std::uint64_t kib = 0;
    if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " ", &begin, &end) == 2) {
      ours = begin >= buffer_begin && end <= buffer_end;
    } else if (ours && std::sscanf(line.c_str(), "AnonHugePages: %" SCNu64, &kib) == 1) {
      huge_bytes += kib * 1024;
    }
  }
  return huge_bytes;
}

}  // namespace flashmoe
