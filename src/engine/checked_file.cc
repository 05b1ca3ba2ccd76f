#include "engine/checked_file.h"

#include <fcntl.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>

#include "io/file.h"

namespace flashmoe {
namespace {

/// XXH3, 128 bits, in its canonical order of bytes.
class Checksum {
 public:
  Checksum() : state_(XXH3_createState(), XXH3_freeState) { XXH3_128bits_reset(state_.get()); }
  void add(std::span<const std::byte> bytes) {
    XXH3_128bits_update(state_.get(), bytes.data(), bytes.size());
  }
  XXH128_canonical_t digest() const {
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state_.get()));
    return canonical;
  }

 private:
  std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state_;
};

Status write_all(int descriptor, std::span<const std::byte> bytes,
                 const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      return error(StatusCode::kIo, "{}: writing: {}", path.string(),
                   std::generic_category().message(errno));
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return Status();
}

std::span<const std::byte> bytes_of(const XXH128_canonical_t& digest) {
  return std::as_bytes(std::span(digest.digest));
}

}  // namespace

Status write_checked_file(const std::filesystem::path& path,
                          std::span<const std::span<const std::byte>> parts) {
  std::filesystem::path temporary = path;
  temporary += ".new";
  const int descriptor =
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (descriptor < 0) {
    return error(StatusCode::kIo, "{}: creating: {}", temporary.string(),
                 std::generic_category().message(errno));
  }
  Checksum checksum;
  Status status;
  for (const std::span<const std::byte> part : parts) {
    checksum.add(part);
    if (status.ok()) status = write_all(descriptor, part, temporary);
  }
  if (status.ok()) status = write_all(descriptor, bytes_of(checksum.digest()), temporary);
  if (::close(descriptor) != 0 && status.ok()) {
    status = error(StatusCode::kIo, "{}: closing: {}", temporary.string(),
                   std::generic_category().message(errno));
  }
  if (status.ok() && ::rename(temporary.c_str(), path.c_str()) != 0) {
    status = error(StatusCode::kIo, "{}: renaming: {}", temporary.string(),
                   std::generic_category().message(errno));
  }
  if (!status.ok()) ::unlink(temporary.c_str());
  return status;
}

std::uint64_t checked_file_size(std::uint64_t content_size) {
  return content_size + sizeof(XXH128_canonical_t);
}

Status read_checked_file(const std::filesystem::path& path,
                         std::span<const std::span<std::byte>> parts) {
  FM_ASSIGN_OR_RETURN(const File file, File::open(path, File::Mode::kBuffered));
  std::uint64_t size = 0;
  for (const std::span<std::byte> part : parts) size += part.size();
  if (file.size() != checked_file_size(size)) {
    return error(StatusCode::kCorrupt, "{}: is {} bytes where {} are expected", path.string(),
                 file.size(), checked_file_size(size));
  }
  Checksum checksum;
  std::uint64_t offset = 0;
  for (const std::span<std::byte> part : parts) {
    FM_RETURN_IF_ERROR(file.read_at(offset, part));
    checksum.add(part);
    offset += part.size();
  }
  XXH128_canonical_t expected;
  FM_RETURN_IF_ERROR(file.read_at(offset, std::as_writable_bytes(std::span(expected.digest))));
  const XXH128_canonical_t found = checksum.digest();
  if (std::memcmp(found.digest, expected.digest, sizeof(found.digest)) == 0) return Status();
  return error(StatusCode::kCorrupt, "{}: its checksum is wrong", path.string());
}

}  // namespace flashmoe
