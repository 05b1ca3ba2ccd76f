#ifndef FLASHMOE_TESTS_SUPPORT_TEST_FILES_H_
#define FLASHMOE_TESTS_SUPPORT_TEST_FILES_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace flashmoe::testing {

/// The model that ships with the repository.
std::filesystem::path sprout_folder();

/// A file or folder of the golden data in the repository (tests/golden/data).
std::filesystem::path golden_path(const std::string& name);

/// A file or folder that only some machines have beside the repository ($FLASHMOE_SHARED, or
/// ../shared).
std::optional<std::filesystem::path> shared_path(const std::string& name);

/// Tensors of a golden safetensors file, in memory. Aborts on any failure: the file belongs to the
/// test.
class GoldenFile {
 public:
  explicit GoldenFile(const std::filesystem::path& path) : path_(path) {}

  std::vector<float> floats(const std::string& name) const;       // F32
  std::vector<std::int32_t> ints(const std::string& name) const;  // I32, I16, U16, U8 widened
  std::vector<std::uint64_t> shape(const std::string& name) const;

 private:
  std::filesystem::path path_;
};

/// sqrt(mean (a - b)^2 / mean b^2)
double relative_rms(const std::vector<float>& a, const std::vector<float>& b);

}  // namespace flashmoe::testing

#endif  // FLASHMOE_TESTS_SUPPORT_TEST_FILES_H_
