#include "kernels/cpu/cpu_targets.h"

#include <fmt/ranges.h>
#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

#include <cstdlib>

namespace flashmoe {
namespace {

struct Target {
  std::string_view name;
  const KernelTable& (*kernels)();
  bool (*runs_here)();  // the CPU has the instructions, and the system saves their registers
};

#if defined(__x86_64__)
/// clang 14 does not know "f16c". Its registers are AVX's, which the caller asks about.
bool has_f16c() {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("bmi2") && has_f16c();
}
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
bool has_avx512vnni() { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }
/// With AVX-512 VNNI beside it. Linux gives a process the tiles' 8 KiB of registers on request, and
/// refuses where signal handlers run on stacks too small for them.
bool has_amx() {
#if defined(__linux__)
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  constexpr unsigned kAmxTile = 1u << 24;
  constexpr unsigned kAmxInt8 = 1u << 25;
  if (!has_avx512vnni() || __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  if ((edx & kAmxTile) == 0 || (edx & kAmxInt8) == 0) return false;
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
/// Only compilers newer than ours know "avxvnni".
bool has_avxvnni() {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  constexpr unsigned kAvxVnni = 1u << 4;
  return has_avx2() && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 &&
         (eax & kAvxVnni) != 0;
}
#elif defined(__aarch64__)
bool has_dot_product() {
#if defined(__linux__)
  constexpr unsigned long kAsimdDp = 1ul << 20;  // HWCAP_ASIMDDP
  return (getauxval(AT_HWCAP) & kAsimdDp) != 0;
#elif defined(__APPLE__)
  int value = 0;
  size_t size = sizeof(value);
  return sysctlbyname("hw.optional.arm.FEAT_DotProd", &value, &size, nullptr, 0) == 0 && value != 0;
#else
  return false;
#endif
}
#endif
bool always() { return true; }

constexpr Target kTargets[] = {
#if defined(__x86_64__)
    {"amx", kernels_amx, has_amx},          {"avx512vnni", kernels_avx512vnni, has_avx512vnni},
    {"avx512", kernels_avx512, has_avx512}, {"avxvnni", kernels_avxvnni, has_avxvnni},
    {"avx2", kernels_avx2, has_avx2},
#elif defined(__aarch64__)
    {"neondot", kernels_neondot, has_dot_product},
    {"neon", kernels_neon, always},
#endif
    {"scalar", kernels_scalar, always},
};

constexpr std::string_view kAllNames[] = {"amx",  "avx512vnni", "avx512", "avxvnni",
                                          "avx2", "neondot",    "neon",   "scalar"};

}  // namespace

std::vector<std::string_view> supported_cpu_targets() {
  std::vector<std::string_view> names;
  for (const Target& target : kTargets) {
    if (target.runs_here()) names.push_back(target.name);
  }
  return names;
}

Result<const KernelTable*> find_kernels(std::string_view name) {
  std::string_view source = "CPU target";
  if (name.empty()) {
    if (const char* forced = std::getenv("FLASHMOE_CPU_TARGET"); forced != nullptr) {
      name = forced;
      source = "FLASHMOE_CPU_TARGET";
    }
  }
  for (const Target& target : kTargets) {
    if (!target.runs_here()) continue;
    if (name.empty() || target.name == name) return &target.kernels();
  }
  for (const std::string_view known : kAllNames) {
    if (name != known) continue;
    return error(StatusCode::kUnsupported,
                 "{} \"{}\": not available on this machine, which has: {}", source, name,
                 fmt::join(supported_cpu_targets(), ", "));
  }
  return error(StatusCode::kInvalidArgument, "{} \"{}\": unknown; this machine has: {}", source,
               name, fmt::join(supported_cpu_targets(), ", "));
}

std::size_t linear_scratch_size() {
  const Result<const KernelTable*> kernels = find_kernels("");
  return kernels.ok() ? (*kernels)->linear_scratch_size : 0;
}

}  // namespace flashmoe
