#include "io/testing/temporary_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>

#include "base/check.h"

namespace flashmoe {

TemporaryFile::TemporaryFile(std::size_t size, std::uint64_t seed) : contents_(size) {
  std::mt19937_64 random(seed);
  for (std::size_t at = 0; at < size; at += sizeof(std::uint64_t)) {
    const std::uint64_t bytes = random();
    std::memcpy(contents_.data() + at, &bytes, std::min(sizeof(bytes), size - at));
  }
  std::string name = (std::filesystem::current_path() / "flashmoe_test_XXXXXX").string();
  const int descriptor = mkstemp(name.data());
  FM_CHECK(descriptor >= 0);
  path_ = name;
  for (std::size_t done = 0; done < size;) {
    const ssize_t put = write(descriptor, contents_.data() + done, size - done);
    FM_CHECK(put > 0);
    done += static_cast<std::size_t>(put);
  }
  // To the disk now: direct reads would have to write it back first, which a test of byte counts
  // would see.
  FM_CHECK(fsync(descriptor) == 0);
  FM_CHECK(close(descriptor) == 0);
}

TemporaryFile::~TemporaryFile() {
  std::error_code ignored;
  std::filesystem::remove(path_, ignored);
}

void TemporaryFile::truncate(std::size_t size) const { std::filesystem::resize_file(path_, size); }

}  // namespace flashmoe
