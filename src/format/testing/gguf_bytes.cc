#include "format/testing/gguf_bytes.h"

#include <utility>

namespace flashmoe {
namespace {

std::string type_bytes(GgufType type) { return bytes_of(static_cast<std::uint32_t>(type)); }

std::string array_of(GgufType type, std::size_t count) {
  return type_bytes(GgufType::kArray) + type_bytes(type) + bytes_of(std::uint64_t{count});
}

std::string tensor_info(std::string_view name, const std::vector<std::uint64_t>& dims,
                        std::uint32_t type) {
  std::string info = gguf_string(name) + bytes_of(static_cast<std::uint32_t>(dims.size()));
  for (const std::uint64_t dim : dims) info += bytes_of(dim);
  return info + bytes_of(type);
}

}  // namespace

std::string gguf_string(std::string_view text) {
  return bytes_of(std::uint64_t{text.size()}) + std::string(text);
}

GgufBytes& GgufBytes::raw(std::string_view key, std::string_view type_and_value) {
  values_ += gguf_string(key);
  values_ += type_and_value;
  ++value_count_;
  return *this;
}

GgufBytes& GgufBytes::value(std::string_view key, const GgufValue& value) {
  std::string head = value.is_array ? array_of(value.type, value.count) : type_bytes(value.type);
  head.append(reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size());
  return raw(key, head);
}

GgufBytes& GgufBytes::text(std::string_view key, std::string_view value) {
  return raw(key, type_bytes(GgufType::kString) + gguf_string(value));
}

GgufBytes& GgufBytes::u32(std::string_view key, std::uint32_t value) {
  return raw(key, type_bytes(GgufType::kU32) + bytes_of(value));
}

GgufBytes& GgufBytes::f32(std::string_view key, float value) {
  return raw(key, type_bytes(GgufType::kF32) + bytes_of(value));
}

GgufBytes& GgufBytes::boolean(std::string_view key, bool value) {
  return raw(key, type_bytes(GgufType::kBool) + bytes_of(static_cast<std::uint8_t>(value)));
}

GgufBytes& GgufBytes::texts(std::string_view key, const std::vector<std::string>& values) {
  std::string all = array_of(GgufType::kString, values.size());
  for (const std::string& value : values) all += gguf_string(value);
  return raw(key, all);
}

GgufBytes& GgufBytes::i32s(std::string_view key, const std::vector<std::int32_t>& values) {
  std::string all = array_of(GgufType::kI32, values.size());
  for (const std::int32_t value : values) all += bytes_of(value);
  return raw(key, all);
}

GgufBytes& GgufBytes::f32s(std::string_view key, const std::vector<float>& values) {
  std::string all = array_of(GgufType::kF32, values.size());
  for (const float value : values) all += bytes_of(value);
  return raw(key, all);
}

GgufBytes& GgufBytes::tensor(std::string_view name, const std::vector<std::uint64_t>& dims,
                             std::uint32_t type, std::string data) {
  tensors_.push_back({tensor_info(name, dims, type), std::move(data)});
  return *this;
}

GgufBytes& GgufBytes::tensor_at(std::string_view name, const std::vector<std::uint64_t>& dims,
                                std::uint32_t type, std::uint64_t offset) {
  tensors_.push_back({tensor_info(name, dims, type), "", true, offset});
  return *this;
}

std::string GgufBytes::bytes(std::uint32_t version, std::uint64_t alignment) const {
  const auto pad = [&](std::string& text) {
    text.resize((text.size() + alignment - 1) / alignment * alignment);
  };
  std::string header = "GGUF" + bytes_of(version) + bytes_of(std::uint64_t{tensors_.size()}) +
                       bytes_of(value_count_) + values_;
  std::string data;
  for (const Tensor& tensor : tensors_) {
    pad(data);
    header += tensor.info;
    header += bytes_of(tensor.has_offset ? tensor.offset : std::uint64_t{data.size()});
    data += tensor.data;
  }
  if (!tensors_.empty()) pad(header);
  return header + data;
}

}  // namespace flashmoe
