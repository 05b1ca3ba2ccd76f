#include "base/part_name.h"

#include <fmt/format.h>

#include <array>

namespace flashmoe {

std::string PartName::of(std::uint64_t other) const {
  return fmt::format("{}-{:05}-of-{:05}{}", base, other, count, extension);
}

std::optional<PartName> parse_part_name(std::string_view name) {
  constexpr std::string_view kPattern = "-#####-of-#####";
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view stem = name.substr(0, dot);
  if (stem.size() <= kPattern.size()) return std::nullopt;
  const std::size_t begin = stem.size() - kPattern.size();
  std::array<std::uint64_t, 2> numbers{};
  for (std::size_t i = 0; i < kPattern.size(); ++i) {
    const char c = stem[begin + i];
    if (kPattern[i] != '#') {
      if (c != kPattern[i]) return std::nullopt;
      continue;
    }
    if (c < '0' || c > '9') return std::nullopt;
    std::uint64_t& number = numbers[i < kPattern.size() / 2 ? 0 : 1];
    number = 10 * number + static_cast<std::uint64_t>(c - '0');
  }
  if (numbers[0] < 1 || numbers[0] > numbers[1]) return std::nullopt;
  return PartName{std::string(stem.substr(0, begin)), numbers[0], numbers[1],
                  std::string(name.substr(dot))};
}

}  // namespace flashmoe
