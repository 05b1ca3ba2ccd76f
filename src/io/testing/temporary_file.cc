#include "io/testing/temporary_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "base/check.h"

namespace flashmoe {

TemporaryFile::TemporaryFile(std::size_t size, std::uint64_t seed) : contents_(size) {
  std::mt19937_64 random(seed);
  for (std::size_t at = 0; at < size; at += sizeof(std::uint64_t)) {
    const std::uint64_t bytes = random();
    std::memcpy(contents_.data() + at, &bytes, std::min(sizeof(bytes), size - at));
  }
  path_ = folder_.write("file", {reinterpret_cast<const char*>(contents_.data()), size});
  // To the disk now: direct reads would have to write it back first, which a test of byte counts
  // would see.
  const int descriptor = open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  FM_CHECK(descriptor >= 0);
  FM_CHECK(fsync(descriptor) == 0);
  FM_CHECK(close(descriptor) == 0);
}

void TemporaryFile::truncate(std::size_t size) const { std::filesystem::resize_file(path_, size); }

}  // namespace flashmoe
