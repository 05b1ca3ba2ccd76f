#include "base/testing/temporary_folder.h"

#include <stdlib.h>

#include <fstream>
#include <string>
#include <system_error>

#include "base/check.h"

namespace flashmoe {

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::current_path() / "flashmoe_test_XXXXXX").string();
  FM_CHECK(mkdtemp(name.data()) != nullptr);
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::filesystem::path TemporaryFolder::write(std::string_view name,
                                             std::string_view contents) const {
  std::filesystem::path path = path_ / name;
  std::filesystem::create_directories(path.parent_path());
  std::ofstream out(path, std::ios::binary);
  out.write(contents.data(), static_cast<std::streamsize>(contents.size()));
  out.close();
  FM_CHECK(out.good());
  return path;
}

}  // namespace flashmoe
