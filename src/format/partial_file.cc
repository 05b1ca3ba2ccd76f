#include "format/partial_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include "base/units.h"

namespace flashmoe {
namespace {

namespace fs = std::filesystem;

/// The file that `path` leads to, through symbolic links: replacing it must not replace a link, and
/// must not put a file in the place of a device such as /dev/null.
Result<fs::path> resolve_target(const fs::path& path) {
  std::error_code failure;
  const fs::file_status status = fs::status(path, failure);
  if (status.type() == fs::file_type::not_found) return path;
  if (failure) {
    return error(StatusCode::kIo, "{}: look at the file: {}", path.string(), failure.message());
  }
  if (!fs::is_regular_file(status)) {
    return error(StatusCode::kInvalidArgument,
                 "{}: exists and is not a regular file; give another name to write to",
                 path.string());
  }
  const fs::path target = fs::canonical(path, failure);
  if (failure) {
    return error(StatusCode::kIo, "{}: look at the file: {}", path.string(), failure.message());
  }
  return target;
}

/// A new file beside `path`; its name in `partial`. Negative, with errno, if it cannot be made.
int create_beside(const fs::path& path, fs::path& partial) {
  constexpr int kAttempts = 100;  // names are taken only by leftovers of killed processes
  for (int i = 0; i < kAttempts; ++i) {
    partial = fmt::format("{}.partial-{}-{}", path.string(), getpid(), i);
    const int descriptor =
        open(partial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);  // minus the umask
    if (descriptor >= 0 || errno != EEXIST) return descriptor;
  }
  return -1;
}

/// Lets the disk begin with what was written while the rest is made, so that finish() waits for the
/// last of it only, and memory does not fill with pages on their way to the disk.
void start_writeback(int descriptor, std::uint64_t offset, std::size_t size) {
#ifdef SYNC_FILE_RANGE_WRITE
  constexpr std::size_t kWorthACall = std::size_t{64} << 10;
  if (size < kWorthACall) return;
  // A hint: what it cannot do, or fails at, is left to fsync.
  sync_file_range(descriptor, static_cast<off_t>(offset), static_cast<off_t>(size),
                  SYNC_FILE_RANGE_WRITE);
#else
  static_cast<void>(descriptor);
  static_cast<void>(offset);
  static_cast<void>(size);
#endif
}

}  // namespace

Result<PartialFile> PartialFile::create(const fs::path& path, std::uint64_t size) {
  PartialFile file;
  FM_ASSIGN_OR_RETURN(file.path_, resolve_target(path));
  file.descriptor_ = create_beside(file.path_, file.partial_);
  if (file.descriptor_ < 0) {
    const int error_number = errno;
    file.partial_.clear();  // nothing of ours to remove
    return file.failed("create the file", error_number);
  }
  FM_RETURN_IF_ERROR(file.reserve(size));
  return file;
}

PartialFile::PartialFile(PartialFile&& other) noexcept
    : path_(std::move(other.path_)),
      partial_(std::exchange(other.partial_, {})),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

PartialFile& PartialFile::operator=(PartialFile&& other) noexcept {
  if (this == &other) return *this;
  discard();
  path_ = std::move(other.path_);
  partial_ = std::exchange(other.partial_, {});
  descriptor_ = std::exchange(other.descriptor_, -1);
  return *this;
}

PartialFile::~PartialFile() { discard(); }

void PartialFile::discard() noexcept {
  if (descriptor_ >= 0) close(descriptor_);
  descriptor_ = -1;
  if (!partial_.empty()) unlink(partial_.c_str());
  partial_.clear();
}

Status PartialFile::failed(std::string_view action, int error_number) const {
  std::string_view remedy = "check that the folder exists and that you may write to it";
  if (error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG) {
    remedy = "make room, or write to another disk";
  }
  return error(StatusCode::kIo, "{}: {}: {}; {}", path_.string(), action,
               std::generic_category().message(error_number), remedy);
}

Status PartialFile::reserve(std::uint64_t size) {
#if defined(__APPLE__)
  (void)size;  // no such call: a full disk shows while writing
  return Status();
#else
  int result = 0;
  do {
    result = posix_fallocate(descriptor_, 0, static_cast<off_t>(size));
  } while (result == EINTR);
  // A file system without the call says EOPNOTSUPP or EINVAL: a full disk then shows while writing.
  if (result == 0 || result == EOPNOTSUPP || result == EINVAL) return Status();
  return failed(fmt::format("reserve {}", format_size(size)), result);
#endif
}

Status PartialFile::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  const std::uint64_t begin = offset;
  const std::size_t size = bytes.size();
  while (!bytes.empty()) {
    const ssize_t count =
        pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      return failed(fmt::format("write {} bytes at {}", bytes.size(), offset),
                    count == 0 ? ENOSPC : errno);
    }
    offset += static_cast<std::uint64_t>(count);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  start_writeback(descriptor_, begin, size);
  return Status();
}

Status PartialFile::finish() {
  if (fsync(descriptor_) != 0) {
    const int error_number = errno;
    discard();
    return failed("flush to disk", error_number);
  }
  const int closed = close(std::exchange(descriptor_, -1));
  if (closed != 0 || rename(partial_.c_str(), path_.c_str()) != 0) {
    const int error_number = errno;
    discard();
    return failed("put the finished file in its place", error_number);
  }
  partial_.clear();
  // The name is in the folder, which has to reach the disk as well. Some file systems cannot.
  const fs::path folder = path_.has_parent_path() ? path_.parent_path() : fs::path(".");
  const int folder_descriptor = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_descriptor >= 0) {
    fsync(folder_descriptor);
    close(folder_descriptor);
  }
  return Status();
}

}  // namespace flashmoe
