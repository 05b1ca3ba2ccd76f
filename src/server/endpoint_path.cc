#include "server/endpoint_path.h"

#include <algorithm>

namespace flashmoe::server {
namespace {

constexpr std::string_view kVersion = "/v1";
/// First segments of the paths below /v1, and of those that have no version.
constexpr std::string_view kVersioned[] = {"chat",   "completions", "responses", "messages",
                                           "models", "embeddings",  "cache"};
constexpr std::string_view kUnversioned[] = {
    "health", "props", "metrics", "tokenize", "detokenize", "tokenizer_info", "apply-template"};

/// Each slash once, none at the end.
std::string without_spare_slashes(std::string_view path) {
  std::string out;
  for (const char c : path) {
    if (c != '/' || !out.ends_with('/')) out += c;
  }
  if (out.size() > 1 && out.ends_with('/')) out.pop_back();
  return out;
}

bool begins_with_version(std::string_view path) {
  return path.starts_with(kVersion) && (path.size() == kVersion.size() || path[3] == '/');
}

}  // namespace

std::string endpoint_path(std::string_view path) {
  std::string tidy = without_spare_slashes(path);
  std::string_view rest = tidy;
  while (begins_with_version(rest)) rest.remove_prefix(kVersion.size());
  if (!rest.starts_with('/')) return tidy;
  const std::string_view first = rest.substr(1, rest.find('/', 1) - 1);
  if (std::ranges::find(kVersioned, first) != std::end(kVersioned)) {
    return std::string(kVersion).append(rest);
  }
  if (std::ranges::find(kUnversioned, first) != std::end(kUnversioned)) return std::string(rest);
  return tidy;
}

}  // namespace flashmoe::server
