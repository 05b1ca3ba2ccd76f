#ifndef FLASHMOE_IO_TESTING_TEMPORARY_FILE_H_
#define FLASHMOE_IO_TESTING_TEMPORARY_FILE_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace flashmoe {

/// A file of `size` seeded random bytes in the working folder (for ctest that is the build folder,
/// on a real disk where direct I/O works, as /tmp often is not). Removed at the end.
class TemporaryFile {
 public:
  TemporaryFile(std::size_t size, std::uint64_t seed);
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile();

  const std::filesystem::path& path() const { return path_; }
  std::span<const std::byte> contents() const { return contents_; }

  /// Cuts the file on disk to `size` bytes; contents() stay.
  void truncate(std::size_t size) const;

 private:
  std::filesystem::path path_;
  std::vector<std::byte> contents_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_IO_TESTING_TEMPORARY_FILE_H_
