#ifndef FLASHMOE_FORMAT_SAFETENSORS_H_
#define FLASHMOE_FORMAT_SAFETENSORS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "io/file.h"
#include "tensor/dtype.h"

namespace flashmoe {

/// One tensor of a safetensors file, as its header describes it.
struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<std::uint64_t> shape;
  std::uint64_t offset = 0;  // of its first byte from the start of the file; any residue
  std::uint64_t size = 0;    // bytes
};

/// The header of a safetensors file (docs/formats.md). Every entry has been checked: size is the
/// product of shape and dtype, the bytes lie inside the file, and no two entries share a byte or a
/// name.
struct SafetensorsHeader {
  std::vector<SafetensorsEntry> tensors;        // by offset
  std::map<std::string, std::string> metadata;  // "__metadata__"
};

/// The largest header that is read, the limit of the reference implementation too.
inline constexpr std::uint64_t kSafetensorsHeaderSizeMax = 100'000'000;

/// Parses the header of a file of `file_size` bytes that begins with `beginning`, which must hold
/// all of the header. Trusts no byte. `file` is for messages. Errors: kCorrupt, naming file, tensor
/// and field; kUnsupported for an element type that is not known.
Result<SafetensorsHeader> parse_safetensors_header(std::span<const std::byte> beginning,
                                                   std::uint64_t file_size, std::string_view file);

/// Reads and parses the header of `file`, and nothing else of it. Errors: those of
/// parse_safetensors_header, kIo.
Result<SafetensorsHeader> read_safetensors_header(const File& file);

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_SAFETENSORS_H_
