#ifndef FLASHMOE_FORMAT_PARTIAL_FILE_H_
#define FLASHMOE_FORMAT_PARTIAL_FILE_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "base/result.h"

namespace flashmoe {

/// A file that grows beside its final place under another name, and takes its name only when it is
/// complete and on disk: nobody ever sees half a file, and a failure leaves none behind. Move-only.
/// Threads: write_at() may be called by several at a time, anything else by one.
class PartialFile {
 public:
  /// The file that `path` leads to, through symbolic links: replacing it must not replace a link,
  /// and must not put a file in the place of a device such as /dev/null. An existing regular file
  /// stays until finish(). `size`: of all of it, reserved where the file system can promise that.
  /// Errors: kInvalidArgument if `path` is something else; kIo, naming the remedy.
  static Result<PartialFile> create(const std::filesystem::path& path, std::uint64_t size);

  PartialFile(PartialFile&& other) noexcept;
  PartialFile& operator=(PartialFile&& other) noexcept;
  /// Removes the unfinished file, if finish() did not succeed.
  ~PartialFile();

  /// Errors: kIo.
  Status write_at(std::uint64_t offset, std::span<const std::byte> bytes);

  /// Flushes to disk and gives the file its name. Errors: kIo; the file is then removed.
  Status finish();

 private:
  PartialFile() = default;
  Status reserve(std::uint64_t size);
  Status failed(std::string_view action, int error_number) const;
  void discard() noexcept;

  std::filesystem::path path_;     // the final one
  std::filesystem::path partial_;  // the one being written; empty once renamed or removed
  int descriptor_ = -1;
};

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_PARTIAL_FILE_H_
