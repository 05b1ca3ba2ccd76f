#include "server/access.h"

#include <gtest/gtest.h>

namespace flashmoe::server {
namespace {

unsigned status(const AccessRules& rules, HttpHeaders headers, bool needs_key = true) {
  const HttpRequest request{.method = "GET", .path = "/", .headers = std::move(headers)};
  const auto refused = check_access(rules, request, needs_key);
  return refused ? refused->status : 200;
}

TEST(Access, IsByNamesThatAreOurs) {
  const AccessRules rules{.allowed_hosts = {"my-box.local"}};
  for (const char* host : {"127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]:80",
                           "192.168.1.7:8080", "my-box.local:8080", "x.localhost:1",
                           "host.docker.internal:8080", "host.containers.internal"}) {
    EXPECT_EQ(status(rules, {{"Host", host}}), 200u) << host;
  }
  for (const char* host :
       {"evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "my-box.local.evil",
        "127.0.0.1x", "[::1", "[::1].evil.example", "[::1]x:80", "localhost:abc", "localhost:80:80",
        "host.docker.internal.evil", "docker.internal"}) {
    EXPECT_EQ(status(rules, {{"Host", host}}), 403u) << host;
  }
}

TEST(Access, IsForPagesOfTheServerAndThoseItWasTold) {
  const AccessRules rules{.cors_origins = {"https://chat.example"}};
  const auto with_origin = [&](const char* origin) {
    return status(rules, {{"Host", "127.0.0.1:8080"}, {"Origin", origin}});
  };
  EXPECT_EQ(with_origin("http://127.0.0.1:8080"), 200u);
  EXPECT_EQ(with_origin("https://chat.example"), 200u);
  EXPECT_EQ(with_origin("http://127.0.0.1:8081"), 403u);
  EXPECT_EQ(with_origin("https://chat.example.evil"), 403u);
  EXPECT_EQ(with_origin("null"), 403u);
}

TEST(Access, LetsOllamasDefaultOriginsAskInItsDialect) {
  const auto answered = [](const char* path, const char* origin) {
    const HttpRequest request{.method = "POST",
                              .path = path,
                              .headers = {{"Host", "127.0.0.1:8080"}, {"Origin", origin}}};
    const bool may_ask = !check_access({}, request, false).has_value();
    EXPECT_EQ(!cors_headers({}, request).empty(), may_ask) << path << " " << origin;
    return may_ask;
  };
  for (const char* origin : {"http://localhost", "https://localhost:3000", "http://127.0.0.1:5173",
                             "http://0.0.0.0:80", "app://obsidian.md", "tauri://localhost",
                             "vscode-webview://1b2c", "vscode-file://vscode-app", "file://"}) {
    EXPECT_TRUE(answered("/api/chat", origin)) << origin;
    EXPECT_FALSE(answered("/v1/chat/completions", origin)) << origin;
    EXPECT_FALSE(answered("/apiary", origin)) << origin;
  }
  for (const char* origin :
       {"null", "", "localhost", "http://localhost.evil", "http://localhost:80.evil",
        "http://evil:80", "ftp://localhost", "https://127.0.0.1.evil", "http://localhost@evil",
        "http://localhost:8080@evil", "appx://x", "chrome-extension://x"}) {
    EXPECT_FALSE(answered("/api/chat", origin)) << origin;
  }
}

TEST(Access, LetsOriginsReadThatItWasTold) {
  const AccessRules rules{.cors_origins = {"https://chat.example"}};
  const HttpRequest good{.headers = {{"Origin", "https://chat.example"}}};
  const HttpRequest bad{.headers = {{"Origin", "https://evil.example"}}};
  EXPECT_FALSE(cors_headers(rules, good).empty());
  EXPECT_TRUE(cors_headers(rules, bad).empty());
  EXPECT_TRUE(cors_headers({}, good).empty());
}

TEST(Access, NeedsAKeyWhereThereIsOne) {
  const AccessRules rules{.api_keys = {"alpha", "beta"}};
  EXPECT_EQ(status(rules, {}), 401u);
  EXPECT_EQ(status(rules, {}, /*needs_key=*/false), 200u);
  EXPECT_EQ(status(rules, {{"authorization", "bearer beta"}}), 200u);
  EXPECT_EQ(status(rules, {{"X-Api-Key", "alpha"}}), 200u);
  EXPECT_EQ(status(rules, {{"X-Api-Key", "none"}, {"Authorization", "Bearer beta"}}), 200u);
  for (const char* wrong :
       {"Bearer alph", "Bearer alphaalpha", "Bearer ", "alpha", "Basic alpha"}) {
    EXPECT_EQ(status(rules, {{"Authorization", wrong}}), 401u) << wrong;
  }
}

TEST(Access, ComparesWholeTexts) {
  EXPECT_TRUE(equal_in_constant_time("key", "key"));
  for (const char* other : {"", "ke", "kex", "keykey", "Key"}) {
    EXPECT_FALSE(equal_in_constant_time(other, "key")) << other;
    EXPECT_FALSE(equal_in_constant_time("key", other)) << other;
  }
}

}  // namespace
}  // namespace flashmoe::server
