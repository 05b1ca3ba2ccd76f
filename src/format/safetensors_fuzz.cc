// Any bytes as a safetensors file: an error or a header whose entries keep what the interface
// promises.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "format/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto header =
      flashmoe::parse_safetensors_header(std::as_bytes(std::span(data, size)), size, "fuzz");
  if (!header.ok()) {
    FM_CHECK(!header.status().message().empty());
    return 0;
  }
  std::uint64_t end = 8;
  for (const flashmoe::SafetensorsEntry& entry : header->tensors) {
    std::uint64_t entry_size = flashmoe::size_of(entry.dtype);
    for (const std::uint64_t dimension : entry.shape) entry_size *= dimension;
    FM_CHECK(entry.size == entry_size);
    if (entry.size == 0) continue;
    FM_CHECK(entry.offset >= end);
    end = entry.offset + entry.size;
    FM_CHECK(end <= size);
  }
  return 0;
}
