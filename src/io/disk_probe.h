#ifndef FLASHMOE_IO_DISK_PROBE_H_
#define FLASHMOE_IO_DISK_PROBE_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include "base/result.h"
#include "io/read_queue.h"

namespace flashmoe {

/// Success if reads can go through io_uring here; else kUnsupported, with the reason and the
/// remedy.
Status probe_io_uring();

/// How reads past the page cache go for one file.
struct DirectIoProbe {
  std::string path;           // the file that was tried
  std::size_t alignment = 0;  // what direct reads must be multiples of; 0 if there are none here
  std::string remedy;         // empty if they work
};

/// Opens `path` for direct reads and makes one; for a folder, of the largest file in it. Errors:
/// those of File::open; kNotFound if the folder has no file that is not empty; kIo.
Result<DirectIoProbe> probe_direct_io(const std::filesystem::path& path);

struct ReadSpeedOptions {
  double seconds_max = 1;
  IoBackend backend = IoBackend::kAuto;
  std::size_t depth = 4;
  /// Of each read; rounded up to whole pages, less if the file is smaller.
  std::uint64_t read_size = std::uint64_t{2} << 20;
  std::uint64_t seed = 0;
};

struct ReadSpeed {
  std::string path;
  double bytes_per_second = 0;
  std::uint64_t bytes_read = 0;
  std::uint64_t read_size = 0;  // of each read
  /// False if the reads went through the page cache: the speed may then be that of memory.
  bool is_direct = false;
  IoBackend backend = IoBackend::kPread;
};

/// Reads pieces (of an expert's size, say) at random places of `path` (for a folder: its largest
/// file) for at most `seconds_max`, past the page cache where that works. Takes depth * read_size
/// bytes of memory. Errors: those of probe_direct_io and make_read_queue; a failed read.
Result<ReadSpeed> measure_read_speed(const std::filesystem::path& path,
                                     const ReadSpeedOptions& options);

}  // namespace flashmoe

#endif  // FLASHMOE_IO_DISK_PROBE_H_
