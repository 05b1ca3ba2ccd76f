#include "support/test_files.h"

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "base/testing/repository.h"
#include "format/safetensors.h"
#include "io/file.h"
#include "tensor/float_bits.h"

namespace flashmoe::testing {
namespace {

struct Loaded {
  SafetensorsEntry entry;
  std::vector<std::byte> bytes;
};

Loaded load(const std::filesystem::path& path, const std::string& name) {
  const File file = File::open(path, File::Mode::kBuffered).value();
  const SafetensorsHeader header = read_safetensors_header(file).value();
  for (const SafetensorsEntry& entry : header.tensors) {
    if (entry.name != name) continue;
    Loaded loaded{entry, std::vector<std::byte>(entry.size)};
    FM_CHECK(file.read_at(entry.offset, loaded.bytes).ok());
    return loaded;
  }
  std::fprintf(stderr, "%s has no tensor %s\n", path.c_str(), name.c_str());
  std::abort();
}

}  // namespace

std::filesystem::path sprout_folder() { return source_folder() / "models" / "sprout-89m-4bit"; }

std::filesystem::path golden_path(const std::string& name) {
  return source_folder() / "tests" / "golden" / "data" / name;
}

std::optional<std::filesystem::path> shared_path(const std::string& name) {
  const char* configured = std::getenv("FLASHMOE_SHARED");
  const std::filesystem::path shared =
      configured != nullptr ? configured : source_folder() / ".." / "shared";
  if (!std::filesystem::exists(shared / name)) return std::nullopt;
  return shared / name;
}

std::vector<float> GoldenFile::floats(const std::string& name) const {
  const Loaded loaded = load(path_, name);
  FM_CHECK(loaded.entry.dtype == DType::kF32);
  std::vector<float> values(loaded.bytes.size() / sizeof(float));
  std::memcpy(values.data(), loaded.bytes.data(), loaded.bytes.size());
  return values;
}

std::vector<std::int32_t> GoldenFile::ints(const std::string& name) const {
  const Loaded loaded = load(path_, name);
  const std::size_t size = size_of(loaded.entry.dtype);
  std::vector<std::int32_t> values(loaded.bytes.size() / size);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::byte* at = loaded.bytes.data() + i * size;
    switch (loaded.entry.dtype) {
      case DType::kI32:
        values[i] = load_unaligned<std::int32_t>(at);
        break;
      case DType::kI16:
        values[i] = load_unaligned<std::int16_t>(at);
        break;
      case DType::kU16:
        values[i] = load_unaligned<std::uint16_t>(at);
        break;
      case DType::kU8:
        values[i] = load_unaligned<std::uint8_t>(at);
        break;
      default:
        FM_CHECK(false);
    }
  }
  return values;
}

std::vector<std::uint64_t> GoldenFile::shape(const std::string& name) const {
  return load(path_, name).entry.shape;
}

double relative_rms(const std::vector<float>& a, const std::vector<float>& b) {
  FM_CHECK(a.size() == b.size());
  double difference = 0;
  double reference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    difference += d * d;
    reference += static_cast<double>(b[i]) * static_cast<double>(b[i]);
  }
  return std::sqrt(difference / reference);
}

}  // namespace flashmoe::testing
