#ifndef FLASHMOE_IO_PROCESS_IO_H_
#define FLASHMOE_IO_PROCESS_IO_H_

#include <cstdint>
#include <filesystem>
#include <optional>

namespace flashmoe {

/// Bytes that this process had fetched from storage so far, by the kernel's own count: read_bytes
/// of /proc/self/io. What comes from the page cache is not in it; page faults of the program's own
/// code are. Nothing where the system does not tell.
std::optional<std::uint64_t> storage_bytes_read(const std::filesystem::path& root = "/");

}  // namespace flashmoe

#endif  // FLASHMOE_IO_PROCESS_IO_H_
