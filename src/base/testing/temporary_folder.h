#ifndef FLASHMOE_BASE_TESTING_TEMPORARY_FOLDER_H_
#define FLASHMOE_BASE_TESTING_TEMPORARY_FOLDER_H_

#include <filesystem>
#include <string_view>

namespace flashmoe {

/// An empty folder that no other test has, removed with all it holds at the end. It lies in the
/// working folder: for ctest that is the build folder, on a real disk where direct I/O works, as
/// /tmp often is not.
class TemporaryFolder {
 public:
  TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

  /// Writes `contents` to the file `name`, makes the folders it lies in, and returns its path.
  std::filesystem::path write(std::string_view name, std::string_view contents) const;

 private:
  std::filesystem::path path_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_BASE_TESTING_TEMPORARY_FOLDER_H_
