#ifndef FLASHMOE_BASE_BUDGET_TEXT_H_
#define FLASHMOE_BASE_BUDGET_TEXT_H_

#include <fmt/format.h>

#include <cstdint>
#include <string>

namespace flashmoe {

/// "2687 MiB", "44.3 GiB": a budget that is enough, as people type it. Rounded up to what is
/// shown, so that parse_size() of it is not below `bytes`.
inline std::string budget_text(std::uint64_t bytes) {
  constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
  constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;
  if (bytes <= 10 * kGiB) return fmt::format("{} MiB", bytes / kMiB + (bytes % kMiB != 0 ? 1 : 0));
  const std::uint64_t part = bytes % kGiB;  // in tenths, so that nothing overflows
  const std::uint64_t tenths = bytes / kGiB * 10 + (part * 10 + kGiB - 1) / kGiB;
  return fmt::format("{}.{} GiB", tenths / 10, tenths % 10);
}

}  // namespace flashmoe

#endif  // FLASHMOE_BASE_BUDGET_TEXT_H_
