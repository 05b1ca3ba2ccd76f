#ifndef FLASHMOE_BASE_COUNTS_H_
#define FLASHMOE_BASE_COUNTS_H_

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace flashmoe {

/// "1 trace", "2 traces": for nouns whose plural is an s.
inline std::string counted(std::uint64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

}  // namespace flashmoe

#endif  // FLASHMOE_BASE_COUNTS_H_
