#include "io/disk_probe.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <random>
#include <system_error>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "io/file.h"

namespace flashmoe {
namespace {

// `path`, or the largest regular file in it if it is a folder.
Result<std::filesystem::path> find_file(const std::filesystem::path& path) {
  std::error_code failure;
  if (!std::filesystem::is_directory(path, failure)) return path;
  std::filesystem::path largest;
  std::uintmax_t size_max = 0;
  std::filesystem::directory_iterator entries(path, failure);
  const std::filesystem::directory_iterator end;
  while (!failure && entries != end) {
    std::error_code ignored;
    if (entries->is_regular_file(ignored)) {
      const std::uintmax_t size = entries->file_size(ignored);
      if (!ignored && size > size_max) {
        size_max = size;
        largest = entries->path();
      }
    }
    entries.increment(failure);
  }
  if (failure) {
    return error(StatusCode::kIo, "{}: cannot list: {}", path.string(), failure.message());
  }
  if (largest.empty()) {
    return error(StatusCode::kNotFound, "{}: no file in this folder to read", path.string());
  }
  return largest;
}

}  // namespace

Status probe_io_uring() {
  return make_read_queue({.backend = IoBackend::kIoUring, .depth = 1}).status();
}

Result<DirectIoProbe> probe_direct_io(const std::filesystem::path& path) {
  FM_ASSIGN_OR_RETURN(const std::filesystem::path file_path, find_file(path));
  FM_ASSIGN_OR_RETURN(const File file, File::open(file_path, File::Mode::kDirect));
  DirectIoProbe probe{.path = file.path(), .alignment = 0, .remedy = ""};
  if (file.direct_alignment() == 1) {
    probe.remedy =
        "the file system refuses direct reads, so they go through the page cache, which a "
        "container counts as our memory; put the model on a local disk (ext4, xfs, btrfs)";
    return probe;
  }
  // What the file system says is one thing, what it does another.
  FM_ASSIGN_OR_RETURN(AlignedBuffer buffer, AlignedBuffer::allocate(File::kDirectAlignmentMax));
  FM_ASSIGN_OR_RETURN(const auto queue,
                      make_read_queue({.backend = IoBackend::kPread, .depth = 1}));
  const ReadRequest request{.file = &file,
                            .destination = buffer.data(),
                            .size = std::min<std::uint64_t>(file.size(), buffer.size()),
                            .padded = true};
  FM_RETURN_IF_ERROR(queue->submit({&request, 1}));
  ReadCompletion completion;
  queue->poll({&completion, 1}, true);
  FM_RETURN_IF_ERROR(completion.status);
  probe.alignment = file.direct_alignment();
  return probe;
}

Result<ReadSpeed> measure_read_speed(const std::filesystem::path& path,
                                     const ReadSpeedOptions& options) {
  FM_ASSIGN_OR_RETURN(const std::filesystem::path file_path, find_file(path));
  FM_ASSIGN_OR_RETURN(const File file, File::open(file_path, File::Mode::kDirect));
  const std::uint64_t unit = File::kDirectAlignmentMax;
  const std::uint64_t wanted_size = (options.read_size + unit - 1) / unit * unit;
  const std::uint64_t read_size = std::min(wanted_size, file.size() / unit * unit);
  if (read_size == 0) {
    return error(StatusCode::kInvalidArgument, "{}: {} bytes are too few to measure a disk by",
                 file.path(), file.size());
  }
  FM_ASSIGN_OR_RETURN(AlignedBuffer memory, AlignedBuffer::allocate(options.depth * read_size));
  // After the memory that its reads write to: whatever ends this function, it goes first, and waits
  // for them.
  FM_ASSIGN_OR_RETURN(const auto queue,
                      make_read_queue({.backend = options.backend, .depth = options.depth}));

  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  const auto elapsed = [begin] {
    return std::chrono::duration<double>(Clock::now() - begin).count();
  };
  std::mt19937_64 random(options.seed);
  const std::uint64_t place_count = (file.size() - read_size) / unit + 1;
  const auto start_read = [&](std::uint64_t place) {
    const ReadRequest request{.file = &file,
                              .offset = random() % place_count * unit,
                              .destination = memory.data() + place * read_size,
                              .size = read_size,
                              .tag = place,
                              .padded = true};
    return queue->submit({&request, 1});
  };
  for (std::uint64_t place = 0; place < options.depth; ++place) {
    FM_RETURN_IF_ERROR(start_read(place));
  }
  std::array<ReadCompletion, 1> completion;
  while (queue->poll(completion, true) > 0) {
    FM_RETURN_IF_ERROR(completion[0].status);
    if (elapsed() < options.seconds_max) FM_RETURN_IF_ERROR(start_read(completion[0].tag));
  }
  const std::uint64_t bytes_read = queue->statistics().bytes_read;
  return ReadSpeed{.path = file.path(),
                   .bytes_per_second = static_cast<double>(bytes_read) / std::max(elapsed(), 1e-9),
                   .bytes_read = bytes_read,
                   .read_size = read_size,
                   .is_direct = file.direct_alignment() > 1,
                   .backend = queue->backend()};
}

}  // namespace flashmoe
