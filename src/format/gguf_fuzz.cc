// Any bytes as a GGUF file: an error, or a header whose tensors and values keep what the interface
// promises, and a config or an error of it.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "base/check.h"
#include "format/gguf.h"
#include "format/gguf_config.h"
#include "format/gguf_keys.h"

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

/// What the package's reader takes for metadata; none where that is no list of floats.
std::vector<float> rope_freqs_of(const flashmoe::GgufHeader& header, const std::uint8_t* data) {
  for (const flashmoe::GgufTensor& tensor : header.tensors) {
    if (tensor.name != flashmoe::kRopeFreqsTensor) continue;
    if (tensor.type->dtype != flashmoe::DType::kF32 || tensor.shape.size() != 1) return {};
    std::vector<float> values(tensor.size / sizeof(float));
    std::memcpy(values.data(), data + tensor.offset, tensor.size);
    return values;
  }
  return {};
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
  static_cast<void>(
      flashmoe::read_gguf_config((*header)->metadata, tensors, rope_freqs_of(**header, data)));
  static_cast<void>(flashmoe::read_gguf_generation_config((*header)->metadata));
  return 0;
}
