#ifndef FLASHMOE_IO_TESTING_TEMPORARY_FILE_H_
#define FLASHMOE_IO_TESTING_TEMPORARY_FILE_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "base/testing/temporary_folder.h"

namespace flashmoe {

/// A file of `size` seeded random bytes in a TemporaryFolder, so on a real disk. Removed at the
/// end.
class TemporaryFile {
 public:
  TemporaryFile(std::size_t size, std::uint64_t seed);

  const std::filesystem::path& path() const { return path_; }
  std::span<const std::byte> contents() const { return contents_; }

  /// Cuts the file on disk to `size` bytes; contents() stay.
  void truncate(std::size_t size) const;

 private:
  TemporaryFolder folder_;
  std::filesystem::path path_;
  std::vector<std::byte> contents_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_IO_TESTING_TEMPORARY_FILE_H_
