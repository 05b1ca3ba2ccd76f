#ifndef FLASHMOE_BASE_PART_NAME_H_
#define FLASHMOE_BASE_PART_NAME_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace flashmoe {

/// The name of one of the files that a model's weights are split into, as tools for GGUF and for
/// safetensors call them: "BASE-00002-of-00003.gguf".
struct PartName {
  std::string base;
  std::uint64_t index = 0;  // from 1
  std::uint64_t count = 0;
  std::string extension;  // with its dot

  /// The name of another part.
  std::string of(std::uint64_t other) const;
};

/// Nothing where `name` is none of a part: without numbers of five digits before the extension, or
/// with ones that count past the end.
std::optional<PartName> parse_part_name(std::string_view name);

}  // namespace flashmoe

#endif  // FLASHMOE_BASE_PART_NAME_H_
