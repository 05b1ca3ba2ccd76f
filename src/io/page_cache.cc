#include "io/page_cache.h"

#include <fcntl.h>

#include "io/file.h"

namespace flashmoe {

Status drop_page_cache(const std::filesystem::path& path) {
  FM_ASSIGN_OR_RETURN(const File file, File::open(path, File::Mode::kBuffered));
#ifdef POSIX_FADV_DONTNEED
  posix_fadvise(file.descriptor(), 0, 0, POSIX_FADV_DONTNEED);
#endif
  return Status();
}

}  // namespace flashmoe
