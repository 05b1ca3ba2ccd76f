#include "format/testing/golden_data.h"

#include <cstdlib>
#include <system_error>

#include "base/testing/repository.h"

namespace flashmoe {

std::optional<std::filesystem::path> find_golden(std::string_view name) {
  const char* shared = std::getenv("FLASHMOE_SHARED");
  const std::filesystem::path collection =
      shared != nullptr ? std::filesystem::path(shared) : source_folder() / ".." / "shared";
  std::error_code ignored;
  for (const auto& root : {source_folder() / "tests/golden/data", collection / "golden"}) {
    if (std::filesystem::exists(root / name, ignored)) return root / name;
  }
  return std::nullopt;
}

std::filesystem::path shipped_model() { return source_folder() / "models" / "sprout-89m-4bit"; }

}  // namespace flashmoe
