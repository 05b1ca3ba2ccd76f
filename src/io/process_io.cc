#include "io/process_io.h"

#include <fstream>
#include <string>

namespace flashmoe {

std::optional<std::uint64_t> storage_bytes_read(const std::filesystem::path& root) {
  std::ifstream file(root / "proc/self/io");
  std::string name;
  std::uint64_t value = 0;
  while (file >> name >> value) {
    if (name == "read_bytes:") return value;
  }
  return std::nullopt;
}

}  // namespace flashmoe
