#include "format/safetensors_file.h"

#include <algorithm>
#include <limits>
#include <span>
#include <utility>

#include "format/printable.h"
#include "tensor/float_bits.h"

namespace flashmoe {
namespace {

template <typename Stored>
std::vector<std::int64_t> widen_integers(std::span<const std::byte> bytes) {
  std::vector<std::int64_t> values(bytes.size() / sizeof(Stored));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] =
        static_cast<std::int64_t>(load_unaligned<Stored>(bytes.data() + i * sizeof(Stored)));
  }
  return values;
}

}  // namespace

SafetensorsFile::SafetensorsFile(File file, SafetensorsHeader header)
    : file_(std::move(file)), header_(std::move(header)) {}

Result<SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
  FM_ASSIGN_OR_RETURN(File file, File::open(path, File::Mode::kBuffered));
  FM_ASSIGN_OR_RETURN(SafetensorsHeader header, read_safetensors_header(file));
  return SafetensorsFile(std::move(file), std::move(header));
}

const SafetensorsEntry* SafetensorsFile::find(std::string_view name) const {
  const auto entry = std::find_if(header_.tensors.begin(), header_.tensors.end(),
                                  [&](const SafetensorsEntry& e) { return e.name == name; });
  return entry == header_.tensors.end() ? nullptr : &*entry;
}

Result<std::vector<std::byte>> SafetensorsFile::read(std::string_view name) const {
  const SafetensorsEntry* entry = find(name);
  if (entry == nullptr) {
    return error(StatusCode::kNotFound, "{}: tensor {} is absent", file_.path(), printable(name));
  }
  std::vector<std::byte> bytes(static_cast<std::size_t>(entry->size));
  FM_RETURN_IF_ERROR(file_.read_at(entry->offset, bytes));
  return bytes;
}

Result<std::vector<float>> SafetensorsFile::read_floats(std::string_view name) const {
  FM_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, read(name));
  const DType dtype = find(name)->dtype;
  if (!is_float(dtype)) {
    return error(StatusCode::kInvalidArgument, "{}: tensor {} has dtype {}, not F32, BF16 or F16",
                 file_.path(), printable(name), to_string(dtype));
  }
  std::vector<float> floats(bytes.size() / size_of(dtype));
  widen(dtype, bytes.data(), floats);
  return floats;
}

Result<std::vector<std::int64_t>> SafetensorsFile::read_integers(std::string_view name) const {
  FM_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, read(name));
  switch (const DType dtype = find(name)->dtype) {
    case DType::kU8:
      return widen_integers<std::uint8_t>(bytes);
    case DType::kI8:
      return widen_integers<std::int8_t>(bytes);
    case DType::kU16:
      return widen_integers<std::uint16_t>(bytes);
    case DType::kI16:
      return widen_integers<std::int16_t>(bytes);
    case DType::kU32:
      return widen_integers<std::uint32_t>(bytes);
    case DType::kI32:
      return widen_integers<std::int32_t>(bytes);
    case DType::kI64:
      return widen_integers<std::int64_t>(bytes);
    default:
      return error(StatusCode::kInvalidArgument,
                   "{}: tensor {} has dtype {}, not one of whole numbers up to 2^63", file_.path(),
                   printable(name), to_string(dtype));
  }
}

}  // namespace flashmoe
