#include "io/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "base/aligned_buffer.h"
#include "base/check.h"
#include "base/counts.h"
#include "base/file_limit.h"
#include "base/model_download.h"
#include "io/read_operation.h"

namespace flashmoe {
namespace {

#if defined(__linux__)
// The alignment that direct reads of `descriptor` (opened with O_DIRECT) need, or 0 where they do
// not work.
std::size_t probe_direct_alignment(int descriptor) {
#ifdef STATX_DIOALIGN
  struct statx info;
  if (statx(descriptor, "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) == 0 &&
      (info.stx_mask & STATX_DIOALIGN) != 0) {
    const std::size_t alignment = std::max(info.stx_dio_mem_align, info.stx_dio_offset_align);
    const bool is_power_of_two = alignment != 0 && (alignment & (alignment - 1)) == 0;
    return is_power_of_two && alignment <= File::kDirectAlignmentMax ? alignment : 0;
  }
#endif
  // An older kernel or a file system that does not say: 4096 suits every common disk. Try it.
  auto buffer = AlignedBuffer::allocate(File::kDirectAlignmentMax);
  if (!buffer.ok()) return 0;
  const ssize_t got = pread(descriptor, buffer->data(), buffer->size(), 0);
  return got >= 0 ? File::kDirectAlignmentMax : 0;
}
#endif

std::string remedy_for(int reason) {
  if (reason == EMFILE) {
    const FileLimit limit = read_file_limit();
    return fmt::format("; a model has all its weight files open, and this process may have {}: {}",
                       counted(limit.soft, "file"),
                       limit.soft < limit.hard
                           ? fmt::format("raise that with `ulimit -n` (up to {})", limit.hard)
                           : "raise that hard limit, which `ulimit -n 4096` does in a shell that "
                             "has not lowered it, LimitNOFILE= for systemd, --ulimit nofile=4096 "
                             "for Docker");
  }
  if (reason == ENFILE)
    return "; the whole system has too many: close programs, or raise fs.file-max";
  return "";
}

}  // namespace

Result<File> File::open(const std::filesystem::path& path, Mode mode) {
  FM_RETURN_IF_ERROR(check_downloaded(path));
  const std::string name = path.string();
  const auto failed = [&name] {
    const int reason = errno;
    const auto code =
        reason == ENOENT || reason == ENOTDIR ? StatusCode::kNotFound : StatusCode::kIo;
    return error(code, "{}: cannot open: {}{}", name, std::strerror(reason), remedy_for(reason));
  };
  // Before opening: a FIFO would block there.
  struct stat info;
  if (stat(name.c_str(), &info) != 0) return failed();
  if (!S_ISREG(info.st_mode)) {
    return error(StatusCode::kInvalidArgument, "{}: {}, not a regular file", name,
                 S_ISDIR(info.st_mode) ? "a folder" : "a device, pipe or socket");
  }

  int descriptor = -1;
  std::size_t direct_alignment = 1;
#if defined(__linux__)
  if (mode == Mode::kDirect) {
    descriptor = ::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
    const std::size_t alignment = descriptor >= 0 ? probe_direct_alignment(descriptor) : 0;
    if (alignment != 0) {
      direct_alignment = alignment;
    } else if (descriptor >= 0) {
      close(descriptor);
      descriptor = -1;
    }
  }
#endif
  if (descriptor < 0) {
    descriptor = ::open(name.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return failed();
    if (mode == Mode::kDirect) {
#if defined(__APPLE__)
      (void)fcntl(descriptor, F_NOCACHE, 1);
#elif defined(POSIX_FADV_RANDOM)
      // Read-ahead would fetch megabytes that nobody wants around every expert.
      (void)posix_fadvise(descriptor, 0, 0, POSIX_FADV_RANDOM);
#endif
    }
  }
  // Takes the descriptor at once, so that every way out closes it.
  File file(name, descriptor, 0, direct_alignment);
  if (fstat(descriptor, &info) != 0) return failed();
  file.size_ = static_cast<std::uint64_t>(info.st_size);
  return file;
}

File::File(std::string path, int descriptor, std::uint64_t size, std::size_t direct_alignment)
    : path_(std::move(path)),
      descriptor_(descriptor),
      size_(size),
      direct_alignment_(direct_alignment) {}

File::File(File&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      size_(other.size_),
      direct_alignment_(other.direct_alignment_) {}

File& File::operator=(File&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(size_, other.size_);
  std::swap(direct_alignment_, other.direct_alignment_);
  return *this;
}

File::~File() {
  if (descriptor_ >= 0) close(descriptor_);
}

Status File::read_at(std::uint64_t offset, std::span<std::byte> destination) const {
  FM_CHECK(direct_alignment_ == 1);
  ReadOperation operation({.file = this,
                           .offset = offset,
                           .destination = destination.data(),
                           .size = destination.size()});
  operation.run();
  return operation.status();
}

}  // namespace flashmoe
