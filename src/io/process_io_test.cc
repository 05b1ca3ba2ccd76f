#include "io/process_io.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "io/page_cache.h"
#include "io/testing/temporary_file.h"

namespace flashmoe {
namespace {

namespace fs = std::filesystem;

TEST(ProcessIo, FindsTheKernelsCount) {
  const fs::path root = fs::path(::testing::TempDir()) / "flashmoe_process_io";
  fs::create_directories(root / "proc/self");
  std::ofstream(root / "proc/self/io") << "rchar: 7\nwchar: 8\nread_bytes: 4096\nwrite_bytes: 1\n";
  EXPECT_EQ(storage_bytes_read(root), 4096u);
  std::ofstream(root / "proc/self/io") << "rchar: 7\n";
  EXPECT_EQ(storage_bytes_read(root), std::nullopt);
  fs::remove_all(root);
  EXPECT_EQ(storage_bytes_read(root), std::nullopt);
}

TEST(PageCache, NamesTheFileThatIsAbsent) {
  EXPECT_EQ(drop_page_cache("/nonexistent").code(), StatusCode::kNotFound);
  EXPECT_TRUE(drop_page_cache(TemporaryFile(10000, 1).path()).ok());
}

}  // namespace
}  // namespace flashmoe
