#include "format/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "base/units.h"
#include "format/printable.h"

namespace flashmoe {
namespace {

namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

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

Result<std::uint64_t> SafetensorsWriter::data_size(const Tensor& tensor) {
  std::uint64_t size = size_of(tensor.dtype);
  for (const std::uint64_t dimension : tensor.shape) {
    if (__builtin_mul_overflow(size, dimension, &size)) {
      return error(StatusCode::kInvalidArgument, "tensor {}: its shape overflows",
                   printable(tensor.name));
    }
  }
  return size;
}

Result<SafetensorsWriter> SafetensorsWriter::create(
    const fs::path& path, const std::vector<Tensor>& tensors,
    const std::map<std::string, std::string>& metadata, Order order) {
  SafetensorsWriter writer;
  FM_ASSIGN_OR_RETURN(writer.path_, resolve_target(path));

  std::vector<const Tensor*> in_file_order;
  in_file_order.reserve(tensors.size());
  for (const Tensor& tensor : tensors) in_file_order.push_back(&tensor);
  if (order == Order::kWideFirst) {
    // Behind a padded header every tensor is then aligned to its elements.
    std::stable_sort(
        in_file_order.begin(), in_file_order.end(),
        [](const Tensor* a, const Tensor* b) { return size_of(a->dtype) > size_of(b->dtype); });
  }

  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t end = 0;
  for (const Tensor* tensor : in_file_order) {
    FM_ASSIGN_OR_RETURN(const std::uint64_t size, data_size(*tensor));
    const std::uint64_t begin = end;
    if (__builtin_add_overflow(begin, size, &end) || end > std::uint64_t{1} << 62) {
      return error(StatusCode::kInvalidArgument, "{}: {} of tensors are too many for a file",
                   path.string(), format_size(end));
    }
    const Slot slot{
        .offset = begin, .size = size, .written = 0, .element_size = size_of(tensor->dtype)};
    if (tensor->name == "__metadata__" || !writer.slots_.emplace(tensor->name, slot).second) {
      return error(StatusCode::kInvalidArgument, "{}: tensor name {} is taken", path.string(),
                   printable(tensor->name));
    }
    header[tensor->name] = {{"dtype", to_string(tensor->dtype)},
                            {"shape", tensor->shape},
                            {"data_offsets", {begin, end}}};
  }
  std::string beginning(8, '\0');
  beginning += header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  beginning.append((8 - beginning.size() % 8) % 8, ' ');
  const std::uint64_t header_size = beginning.size() - 8;
  std::memcpy(beginning.data(), &header_size, 8);
  for (auto& [name, slot] : writer.slots_) slot.offset += beginning.size();

  writer.descriptor_ = create_beside(writer.path_, writer.partial_);
  if (writer.descriptor_ < 0) {
    const int error_number = errno;
    writer.partial_.clear();  // nothing of ours to remove
    return writer.failed("create the file", error_number);
  }
  FM_RETURN_IF_ERROR(writer.reserve(beginning.size() + end));
  FM_RETURN_IF_ERROR(writer.write_at(0, std::as_bytes(std::span(beginning))));
  return writer;
}

SafetensorsWriter::SafetensorsWriter(SafetensorsWriter&& other) noexcept
    : path_(std::move(other.path_)),
      partial_(std::exchange(other.partial_, {})),
      descriptor_(std::exchange(other.descriptor_, -1)),
      slots_(std::move(other.slots_)) {}

SafetensorsWriter& SafetensorsWriter::operator=(SafetensorsWriter&& other) noexcept {
  if (this == &other) return *this;
  discard();
  path_ = std::move(other.path_);
  partial_ = std::exchange(other.partial_, {});
  descriptor_ = std::exchange(other.descriptor_, -1);
  slots_ = std::move(other.slots_);
  return *this;
}

SafetensorsWriter::~SafetensorsWriter() { discard(); }

void SafetensorsWriter::discard() noexcept {
  if (descriptor_ >= 0) close(descriptor_);
  descriptor_ = -1;
  if (!partial_.empty()) unlink(partial_.c_str());
  partial_.clear();
}

Status SafetensorsWriter::failed(std::string_view action, int error_number) const {
  std::string_view remedy = "check that the folder exists and that you may write to it";
  if (error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG) {
    remedy = "make room, or write to another disk";
  }
  return error(StatusCode::kIo, "{}: {}: {}; {}", path_.string(), action,
               std::generic_category().message(error_number), remedy);
}

Status SafetensorsWriter::reserve(std::uint64_t size) {
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

Status SafetensorsWriter::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
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
  return Status();
}

Status SafetensorsWriter::write_bytes(std::string_view name, std::size_t element_size,
                                      std::uint64_t first_element,
                                      std::span<const std::byte> bytes) {
  const auto found = slots_.find(name);
  FM_CHECK(found != slots_.end());
  Slot& slot = found->second;
  FM_CHECK(element_size == slot.element_size);
  FM_CHECK(first_element <= slot.size / element_size);
  const std::uint64_t begin = first_element * element_size;
  FM_CHECK(bytes.size() <= slot.size - begin);
  FM_RETURN_IF_ERROR(write_at(slot.offset + begin, bytes));
  start_writeback(descriptor_, slot.offset + begin, bytes.size());
  std::atomic_ref(slot.written).fetch_add(bytes.size(), std::memory_order_relaxed);
  return Status();
}

Status SafetensorsWriter::finish() {
  for (const auto& [name, slot] : slots_) FM_CHECK(slot.written == slot.size);
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
