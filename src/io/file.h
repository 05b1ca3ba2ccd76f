#ifndef FLASHMOE_IO_FILE_H_
#define FLASHMOE_IO_FILE_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "base/result.h"

namespace flashmoe {

/// A regular file open for reading. Move-only; the descriptor closes with it. Thread-safe:
/// positioned reads only.
class File {
 public:
  enum class Mode : std::uint8_t {
    kBuffered,  // through the page cache, with read-ahead
    kDirect,    // past the page cache where the file system allows it; else through it, without
                // read-ahead
  };

  /// No file's direct_alignment() is larger: where a device asks for more, reads go through the
  /// page cache.
  static constexpr std::size_t kDirectAlignmentMax = 4096;

  /// Errors: kNotFound if it does not exist; kInvalidArgument if it is not a regular file; kIo for
  /// anything else.
  static Result<File> open(const std::filesystem::path& path, Mode mode);

  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();

  const std::string& path() const { return path_; }
  int descriptor() const { return descriptor_; }

  /// Bytes, when it was opened.
  std::uint64_t size() const { return size_; }

  /// What offsets, sizes and addresses of reads must be multiples of (a power of two, at most
  /// kDirectAlignmentMax); 1 where reads need no alignment, which on Linux means that they go
  /// through the page cache.
  std::size_t direct_alignment() const { return direct_alignment_; }

  /// Reads exactly `destination.size()` bytes at `offset`, now, in this thread; any alignment (File
  /// must be kBuffered). Errors: kIo, or kCorrupt if the file ends before, naming path, offset and
  /// how far it came.
  Status read_at(std::uint64_t offset, std::span<std::byte> destination) const;

 private:
  File(std::string path, int descriptor, std::uint64_t size, std::size_t direct_alignment);

  std::string path_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
  std::size_t direct_alignment_ = 1;
};

}  // namespace flashmoe

#endif  // FLASHMOE_IO_FILE_H_
