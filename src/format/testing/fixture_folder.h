#ifndef FLASHMOE_FORMAT_TESTING_FIXTURE_FOLDER_H_
#define FLASHMOE_FORMAT_TESTING_FIXTURE_FOLDER_H_

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace flashmoe {

/// An empty folder under the system's temporary one, removed with all it holds at the end.
class FixtureFolder {
 public:
  FixtureFolder();
  FixtureFolder(const FixtureFolder&) = delete;
  FixtureFolder& operator=(const FixtureFolder&) = delete;
  ~FixtureFolder();

  const std::filesystem::path& path() const { return path_; }

  /// Writes `contents` to the file `name` and returns its path.
  std::filesystem::path write(std::string_view name, std::string_view contents) const;

 private:
  std::filesystem::path path_;
};

/// While alive, a root user is nobody: root may read and write anything, which would hide a missing
/// permission from a test.
class WithoutRoot {
 public:
  WithoutRoot();
  WithoutRoot(const WithoutRoot&) = delete;
  WithoutRoot& operator=(const WithoutRoot&) = delete;
  ~WithoutRoot();

 private:
  bool was_root_ = false;
};

/// The bytes of a safetensors file with this header, right or wrong, and `data_size` zero bytes.
std::string safetensors_bytes(std::string_view header, std::size_t data_size);

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_TESTING_FIXTURE_FOLDER_H_
