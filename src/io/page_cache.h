#ifndef FLASHMOE_IO_PAGE_CACHE_H_
#define FLASHMOE_IO_PAGE_CACHE_H_

#include <filesystem>

#include "base/result.h"

namespace flashmoe {

/// Asks the system to forget what it holds of the file `path` in memory; what is not yet on disk
/// stays. A wish: pages that others map are kept, and a system without such a call (macOS) keeps
/// all. Errors: those of File::open.
Status drop_page_cache(const std::filesystem::path& path);

}  // namespace flashmoe

#endif  // FLASHMOE_IO_PAGE_CACHE_H_
