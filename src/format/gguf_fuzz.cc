// Any bytes as a GGUF file: an error, or a header whose tensors and values keep what the interface
// promises, and a config or an error of it.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "format/gguf.h"
#include "format/gguf_config.h"

namespace {

void read_values(const flashmoe::GgufMetadata& metadata) {
  for (const auto& [key, value] : metadata.values()) {
    static_cast<void>(metadata.uint(key));
    static_cast<void>(metadata.number(key));
    static_cast<void>(metadata.boolean(key));
    static_cast<void>(metadata.string(key));
    static_cast<void>(metadata.uints(key));
    static_cast<void>(metadata.numbers(key));
    const auto texts = metadata.strings(key);
    if (texts.ok()) FM_CHECK(texts->size() == value.count);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto header =
      flashmoe::parse_gguf_header(std::as_bytes(std::span(data, size)), size, "fuzz");
  if (!header.ok()) {
    FM_CHECK(!header.status().message().empty());
    return 0;
  }
  FM_CHECK(header->has_value());  // all bytes are there
  read_values((*header)->metadata);
  std::uint64_t end = 0;
  flashmoe::ModelPackage::Tensors tensors;
  for (const flashmoe::GgufTensor& tensor : (*header)->tensors) {
    FM_CHECK(tensor.offset >= end);
    end = tensor.offset + tensor.size;
    FM_CHECK(end <= size);
    FM_CHECK(tensor.shape.back() % tensor.type->block == 0);
    tensors[tensor.name] = {.shape = tensor.shape, .size = tensor.size, .ggml_type = tensor.type};
  }
  static_cast<void>(flashmoe::read_gguf_config((*header)->metadata, tensors, {}));
  static_cast<void>(flashmoe::read_gguf_generation_config((*header)->metadata));
  return 0;
}
