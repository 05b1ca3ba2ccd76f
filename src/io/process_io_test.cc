#include "io/process_io.h"

#include <gtest/gtest.h>

#include "base/testing/temporary_folder.h"
#include "io/page_cache.h"
#include "io/testing/temporary_file.h"

namespace flashmoe {
namespace {

TEST(ProcessIo, FindsTheKernelsCount) {
  const TemporaryFolder root;
  EXPECT_EQ(storage_bytes_read(root.path()), std::nullopt);
  root.write("proc/self/io", "rchar: 7\nwchar: 8\nread_bytes: 4096\nwrite_bytes: 1\n");
  EXPECT_EQ(storage_bytes_read(root.path()), 4096u);
  root.write("proc/self/io", "rchar: 7\n");
  EXPECT_EQ(storage_bytes_read(root.path()), std::nullopt);
}

TEST(PageCache, NamesTheFileThatIsAbsent) {
  EXPECT_EQ(drop_page_cache("/nonexistent").code(), StatusCode::kNotFound);
  EXPECT_TRUE(drop_page_cache(TemporaryFile(10000, 1).path()).ok());
}

}  // namespace
}  // namespace flashmoe
