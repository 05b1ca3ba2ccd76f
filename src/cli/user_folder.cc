#include "cli/user_folder.h"

#include <cstdlib>

namespace flashmoe::cli {
namespace {

std::optional<std::filesystem::path> absolute_path_in(const char* variable) {
  const char* const value = std::getenv(variable);
  if (value == nullptr || value[0] != '/') return std::nullopt;
  return value;
}

}  // namespace

std::optional<std::filesystem::path> user_folder(const char* variable,
                                                 const std::filesystem::path& below_home) {
  if (const auto folder = absolute_path_in(variable)) return folder;
  if (const auto home = absolute_path_in("HOME")) return *home / below_home;
  return std::nullopt;
}

}  // namespace flashmoe::cli
