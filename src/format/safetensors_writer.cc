#include "format/safetensors_writer.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/check.h"
#include "base/units.h"
#include "format/printable.h"

namespace flashmoe {
namespace {

namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

}  // namespace

Result<std::uint64_t> SafetensorsWriter::data_size(const Tensor& tensor) {
  std::uint64_t size = size_of(tensor.dtype);
  for (const std::uint64_t dimension : tensor.shape) {
    if (__builtin_mul_overflow(size, dimension, &size)) {
      return error(StatusCode::kInvalidArgument, "tensor {}: its shape overflows",
                   printable(tensor.name));
    }
  }
  return size;
}

Result<SafetensorsWriter> SafetensorsWriter::create(
    const fs::path& path, const std::vector<Tensor>& tensors,
    const std::map<std::string, std::string>& metadata, Order order) {
  std::vector<const Tensor*> in_file_order;
  in_file_order.reserve(tensors.size());
  for (const Tensor& tensor : tensors) in_file_order.push_back(&tensor);
  if (order == Order::kWideFirst) {
    // Behind a padded header every tensor is then aligned to its elements.
    std::stable_sort(
        in_file_order.begin(), in_file_order.end(),
        [](const Tensor* a, const Tensor* b) { return size_of(a->dtype) > size_of(b->dtype); });
  }

  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  Slots slots;
  std::uint64_t end = 0;
  for (const Tensor* tensor : in_file_order) {
    FM_ASSIGN_OR_RETURN(const std::uint64_t size, data_size(*tensor));
    const std::uint64_t begin = end;
    if (__builtin_add_overflow(begin, size, &end) || end > std::uint64_t{1} << 62) {
      return error(StatusCode::kInvalidArgument, "{}: {} of tensors are too many for a file",
                   path.string(), format_size(end));
    }
    const Slot slot{
        .offset = begin, .size = size, .written = 0, .element_size = size_of(tensor->dtype)};
    if (tensor->name == "__metadata__" || !slots.emplace(tensor->name, slot).second) {
      return error(StatusCode::kInvalidArgument, "{}: tensor name {} is taken", path.string(),
                   printable(tensor->name));
    }
    header[tensor->name] = {{"dtype", to_string(tensor->dtype)},
                            {"shape", tensor->shape},
                            {"data_offsets", {begin, end}}};
  }
  std::string beginning(8, '\0');
  beginning += header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  beginning.append((8 - beginning.size() % 8) % 8, ' ');
  const std::uint64_t header_size = beginning.size() - 8;
  std::memcpy(beginning.data(), &header_size, 8);
  for (auto& [name, slot] : slots) slot.offset += beginning.size();
  FM_ASSIGN_OR_RETURN(PartialFile file, PartialFile::create(path, beginning.size() + end));
  FM_RETURN_IF_ERROR(file.write_at(0, std::as_bytes(std::span(beginning))));
  return SafetensorsWriter(std::move(file), std::move(slots));
}

Status SafetensorsWriter::write_bytes(std::string_view name, std::size_t element_size,
                                      std::uint64_t first_element,
                                      std::span<const std::byte> bytes) {
  const auto found = slots_.find(name);
  FM_CHECK(found != slots_.end());
  Slot& slot = found->second;
  FM_CHECK(element_size == slot.element_size);
  FM_CHECK(first_element <= slot.size / element_size);
  const std::uint64_t begin = first_element * element_size;
  FM_CHECK(bytes.size() <= slot.size - begin);
  FM_RETURN_IF_ERROR(file_.write_at(slot.offset + begin, bytes));
  std::atomic_ref(slot.written).fetch_add(bytes.size(), std::memory_order_relaxed);
  return Status();
}

Status SafetensorsWriter::finish() {
  for (const auto& [name, slot] : slots_) FM_CHECK(slot.written == slot.size);
  return file_.finish();
}

}  // namespace flashmoe
