#include "format/testing/safetensors_bytes.h"

#include <cstdint>
#include <cstring>

namespace flashmoe {

std::string safetensors_bytes(std::string_view header, std::size_t data_size) {
  const std::uint64_t header_size = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &header_size, 8);
  bytes += header;
  bytes.append(data_size, '\0');
  return bytes;
}

}  // namespace flashmoe
