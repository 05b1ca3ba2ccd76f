#ifndef FLASHMOE_ENGINE_CHECKED_FILE_H_
#define FLASHMOE_ENGINE_CHECKED_FILE_H_

#include <cstddef>
#include <filesystem>
#include <span>
#include <vector>

#include "base/result.h"

namespace flashmoe {

/// Writes `parts`, one after another, and their checksum behind them, to `path`, which appears
/// whole or not at all; only the user may read it. Errors: kIo, after which there is no such file.
Status write_checked_file(const std::filesystem::path& path,
                          std::span<const std::span<const std::byte>> parts);

/// The size that such a file has.
std::uint64_t checked_file_size(std::uint64_t content_size);

/// Reads such a file into `parts`, which are as large as what was written. Errors: kIo; kCorrupt if
/// its size or checksum is another.
Status read_checked_file(const std::filesystem::path& path,
                         std::span<const std::span<std::byte>> parts);

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_CHECKED_FILE_H_
