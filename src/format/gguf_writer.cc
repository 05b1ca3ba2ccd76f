#include "format/gguf_writer.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <type_traits>

#include "base/check.h"
#include "format/gguf.h"
#include "format/printable.h"

namespace flashmoe {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF files are little-endian");

constexpr std::uint32_t kVersionWritten = 3;
constexpr std::uint64_t kAlignmentWritten = 32;  // what files without general.alignment have

template <typename Number>
void append_number(std::string& bytes, Number value) {
  static_assert(std::is_trivially_copyable_v<Number>);
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void append_string(std::string& bytes, std::string_view text) {
  append_number<std::uint64_t>(bytes, text.size());
  bytes += text;
}

void append_type(std::string& bytes, GgufType type) {
  append_number(bytes, static_cast<std::uint32_t>(type));
}

void append_array(std::string& bytes, GgufType type, std::size_t count) {
  append_type(bytes, GgufType::kArray);
  append_type(bytes, type);
  append_number<std::uint64_t>(bytes, count);
}

std::uint64_t aligned(std::uint64_t size) {
  return (size + kAlignmentWritten - 1) / kAlignmentWritten * kAlignmentWritten;
}

}  // namespace

void GgufValues::text(std::string_view key, std::string_view value) {
  append_string(bytes_, key);
  append_type(bytes_, GgufType::kString);
  append_string(bytes_, value);
  ++count_;
}

void GgufValues::u32(std::string_view key, std::uint32_t value) {
  append_string(bytes_, key);
  append_type(bytes_, GgufType::kU32);
  append_number(bytes_, value);
  ++count_;
}

void GgufValues::f32(std::string_view key, float value) {
  append_string(bytes_, key);
  append_type(bytes_, GgufType::kF32);
  append_number(bytes_, value);
  ++count_;
}

void GgufValues::boolean(std::string_view key, bool value) {
  append_string(bytes_, key);
  append_type(bytes_, GgufType::kBool);
  append_number<std::uint8_t>(bytes_, value ? 1 : 0);
  ++count_;
}

void GgufValues::texts(std::string_view key, std::span<const std::string> values) {
  append_string(bytes_, key);
  append_array(bytes_, GgufType::kString, values.size());
  for (const std::string& value : values) append_string(bytes_, value);
  ++count_;
}

void GgufValues::u32s(std::string_view key, std::span<const std::uint32_t> values) {
  append_string(bytes_, key);
  append_array(bytes_, GgufType::kU32, values.size());
  for (const std::uint32_t value : values) append_number(bytes_, value);
  ++count_;
}

void GgufValues::i32s(std::string_view key, std::span<const std::int32_t> values) {
  append_string(bytes_, key);
  append_array(bytes_, GgufType::kI32, values.size());
  for (const std::int32_t value : values) append_number(bytes_, value);
  ++count_;
}

void GgufValues::booleans(std::string_view key, const std::vector<bool>& values) {
  append_string(bytes_, key);
  append_array(bytes_, GgufType::kBool, values.size());
  for (const bool value : values) append_number<std::uint8_t>(bytes_, value ? 1 : 0);
  ++count_;
}

Result<std::uint64_t> GgufWriter::data_size(const Tensor& tensor) {
  FM_CHECK(tensor.type != nullptr);
  FM_CHECK(!tensor.shape.empty());
  FM_CHECK(tensor.shape.back() % tensor.type->block == 0);
  std::uint64_t size = tensor.shape.back() / tensor.type->block;
  bool overflows = __builtin_mul_overflow(size, tensor.type->block_size, &size);
  for (std::size_t i = 0; i + 1 < tensor.shape.size(); ++i) {
    overflows = __builtin_mul_overflow(size, tensor.shape[i], &size) || overflows;
  }
  if (!overflows) return size;
  return error(StatusCode::kInvalidArgument, "tensor {}: its shape overflows",
               printable(tensor.name));
}

Result<GgufWriter::Slots> GgufWriter::place(std::span<const Tensor> tensors,
                                            std::uint64_t header_size, std::uint64_t* end) {
  Slots slots;
  *end = header_size;
  for (const Tensor& tensor : tensors) {
    FM_ASSIGN_OR_RETURN(const std::uint64_t size, data_size(tensor));
    const std::uint64_t begin = aligned(*end);
    if (__builtin_add_overflow(begin, size, end) || *end > std::uint64_t{1} << 62) {
      return error(StatusCode::kInvalidArgument, "tensors are too many for a file");
    }
    if (!slots.emplace(tensor.name, Slot{.offset = begin, .size = size}).second) {
      return error(StatusCode::kInvalidArgument, "tensor name {} is taken", printable(tensor.name));
    }
  }
  // Readers want the last tensor's padding, too.
  *end = aligned(*end);
  return slots;
}

Result<std::string> GgufWriter::header(const GgufValues& values, std::span<const Tensor> tensors,
                                       std::uint64_t* size) {
  std::uint64_t ignored = 0;
  FM_ASSIGN_OR_RETURN(const Slots slots, place(tensors, 0, &ignored));
  std::string bytes = "GGUF";
  append_number(bytes, kVersionWritten);
  append_number<std::uint64_t>(bytes, tensors.size());
  append_number<std::uint64_t>(bytes, values.count());
  bytes += values.bytes();
  for (const Tensor& tensor : tensors) {
    append_string(bytes, tensor.name);
    append_number(bytes, static_cast<std::uint32_t>(tensor.shape.size()));
    std::for_each(tensor.shape.rbegin(), tensor.shape.rend(),
                  [&](std::uint64_t dimension) { append_number(bytes, dimension); });
    append_number(bytes, tensor.type->id);
    append_number(bytes, slots.find(tensor.name)->second.offset);
  }
  bytes.resize(aligned(bytes.size()));
  FM_RETURN_IF_ERROR(place(tensors, bytes.size(), size).status());
  return bytes;
}

Result<GgufWriter> GgufWriter::create(const std::filesystem::path& path, const GgufValues& values,
                                      std::span<const Tensor> tensors) {
  std::uint64_t size = 0;
  FM_ASSIGN_OR_RETURN(const std::string beginning, header(values, tensors, &size));
  FM_ASSIGN_OR_RETURN(Slots slots, place(tensors, beginning.size(), &size));
  FM_ASSIGN_OR_RETURN(PartialFile file, PartialFile::create(path, size));
  FM_RETURN_IF_ERROR(file.write_at(0, std::as_bytes(std::span(beginning))));
  // Gaps between tensors stay zeros; of the last one the file has to have its end.
  if (size > beginning.size()) {
    constexpr std::byte kZero{0};
    FM_RETURN_IF_ERROR(file.write_at(size - 1, {&kZero, 1}));
  }
  return GgufWriter(std::move(file), std::move(slots));
}

Status GgufWriter::write(std::string_view name, std::uint64_t offset,
                         std::span<const std::byte> bytes) {
  const auto found = slots_.find(name);
  FM_CHECK(found != slots_.end());
  Slot& slot = found->second;
  FM_CHECK(offset <= slot.size);
  FM_CHECK(bytes.size() <= slot.size - offset);
  FM_RETURN_IF_ERROR(file_.write_at(slot.offset + offset, bytes));
  std::atomic_ref(slot.written).fetch_add(bytes.size(), std::memory_order_relaxed);
  return Status();
}

Status GgufWriter::finish() {
  for (const auto& [name, slot] : slots_) FM_CHECK(slot.written == slot.size);
  return file_.finish();
}

}  // namespace flashmoe
