#ifndef FLASHMOE_BASE_UNITS_H_
#define FLASHMOE_BASE_UNITS_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace flashmoe {

/// Bytes from what a user writes: a number, decimals allowed, and a unit in any case, with or
/// without a space. KB, MB, GB, TB are powers of 1000; KiB, MiB, GiB, TiB powers of 1024. A bare
/// letter, as in 512M, means the power of 1024, as in Docker and systemd; no unit, or B, means
/// bytes. Parts of a byte are dropped. Errors: kInvalidArgument, with an example; also for a number
/// above 0 and below 2^20 without a unit, which would be bytes and is a slip.
Result<std::uint64_t> parse_size(std::string_view text);

/// "512 B", "11.3 GiB": one decimal, powers of 1024.
std::string format_size(std::uint64_t bytes);

/// "45 us", "12.3 ms", "1.23 s", "2 min 05 s".
std::string format_seconds(double seconds);

/// "1.42 GB/s": powers of 1000, as disks and memory are sold.
std::string format_rate(double bytes_per_second);

/// a / b, and 0 where nothing was counted yet: shares and rates of what is not negative.
inline double ratio(double a, double b) { return b > 0 ? a / b : 0; }

}  // namespace flashmoe

#endif  // FLASHMOE_BASE_UNITS_H_
