#include "server/web_assets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace flashmoe::server {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using ::testing::StartsWith;

std::optional<HttpResponse> get(const std::string& path, HttpHeaders headers = {}) {
  return web_response({.method = "GET", .path = path, .headers = std::move(headers)});
}

TEST(WebAssets, ThePageIsForBrowsersAlone) {
  const auto page = get("/", {{"Accept", "text/html,*/*"}});
  ASSERT_TRUE(page);
  EXPECT_THAT(page->body, StartsWith("<!doctype html>"));
  EXPECT_THAT(page->headers, Contains(Pair("Content-Security-Policy", kWebPagePolicy)));
  EXPECT_FALSE(get("/"));
  EXPECT_FALSE(get("/web/../server.cc"));
}

TEST(WebAssets, EveryFileThatThePageNamesIsThere) {
  const std::string page = get("/web/index.html")->body;
  std::size_t count = 0;
  for (std::size_t at = page.find("\"/web/"); at != std::string::npos; ++count) {
    const std::string path = page.substr(at + 1, page.find('"', at + 1) - at - 1);
    EXPECT_TRUE(get(path)) << path;
    at = page.find("\"/web/", at + 1);
  }
  EXPECT_GE(count, 4u);
}

TEST(WebAssets, ScriptsImportWhatIsThere) {
  for (const WebAsset& asset : web_assets()) {
    if (asset.path == "/web/libraries.js") continue;
    for (std::size_t at = asset.body.find("from \"./"); at != std::string_view::npos;
         at = asset.body.find("from \"./", at + 1)) {
      const std::size_t begin = at + std::string_view("from \"./").size();
      const std::string path =
          "/web/" + std::string(asset.body.substr(begin, asset.body.find('"', begin) - begin));
      EXPECT_TRUE(get(path)) << asset.path << " imports " << path;
    }
  }
}

TEST(WebAssets, NothingIsFetchedFromElsewhere) {
  for (const WebAsset& asset : web_assets()) {
    if (asset.path == "/web/libraries.js") continue;  // has links in its comments
    EXPECT_EQ(asset.body.find("src=\"http"), std::string_view::npos) << asset.path;
    EXPECT_EQ(asset.body.find("url(http"), std::string_view::npos) << asset.path;
    EXPECT_EQ(asset.body.find("innerHTML"), std::string_view::npos) << asset.path;
  }
}

TEST(WebAssets, ABrowserThatHasAFileIsToldThatItHolds) {
  for (const WebAsset& asset : web_assets()) {
    const std::string path(asset.path);
    const auto known = get(path, {{"If-None-Match", std::string(asset.etag)}});
    ASSERT_TRUE(known);
    EXPECT_EQ(known->status, 304u);
    EXPECT_THAT(known->body, IsEmpty());
    const auto changed = get(path, {{"If-None-Match", "\"0000\""}});
    EXPECT_EQ(changed->status, 200u);
    EXPECT_EQ(changed->body, asset.body);
  }
}

TEST(WebAssets, MarkdownHasBothItsLibrariesOrNone) {
  const std::string libraries = get("/web/libraries.js")->body;
  const bool has_any = !libraries.empty();
  EXPECT_EQ(libraries.find("DOMPurify") != std::string::npos, has_any);
  EXPECT_EQ(libraries.find("markedjs/marked") != std::string::npos, has_any);
  EXPECT_EQ(libraries.find("sourceMappingURL"), std::string::npos);
}

TEST(WebAssets, BytesAreThoseOfTheFiles) {
  // Text beyond ASCII comes through the embedding, and comes as UTF-8.
  const auto page = get("/web/index.html");
  EXPECT_THAT(page->body, HasSubstr("☰"));
  EXPECT_THAT(page->content_type, HasSubstr("utf-8"));
  EXPECT_THAT(page->body, Not(HasSubstr(std::string_view("\0", 1))));
}

}  // namespace
}  // namespace flashmoe::server
