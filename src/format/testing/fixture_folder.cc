#include "format/testing/fixture_folder.h"

#include <stdlib.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <system_error>

#include "base/check.h"

namespace flashmoe {

FixtureFolder::FixtureFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "flashmoe_test_XXXXXX").string();
  FM_CHECK(mkdtemp(name.data()) != nullptr);
  path_ = name;
}

FixtureFolder::~FixtureFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::filesystem::path FixtureFolder::write(std::string_view name, std::string_view contents) const {
  std::filesystem::path path = path_ / name;
  std::ofstream out(path, std::ios::binary);
  out.write(contents.data(), static_cast<std::streamsize>(contents.size()));
  out.close();
  FM_CHECK(out.good());
  return path;
}

WithoutRoot::WithoutRoot() : was_root_(geteuid() == 0) {
  constexpr uid_t kNobody = 65534;
  if (was_root_) FM_CHECK(seteuid(kNobody) == 0);
}

WithoutRoot::~WithoutRoot() {
  if (was_root_) FM_CHECK(seteuid(0) == 0);
}

std::string safetensors_bytes(std::string_view header, std::size_t data_size) {
  const std::uint64_t header_size = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &header_size, 8);
  bytes += header;
  bytes.append(data_size, '\0');
  return bytes;
}

}  // namespace flashmoe
