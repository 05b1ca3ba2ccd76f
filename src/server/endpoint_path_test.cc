#include "server/endpoint_path.h"

#include <gtest/gtest.h>

namespace flashmoe::server {
namespace {

TEST(EndpointPath, IsTheSameHoweverClientsSpellIt) {
  for (const char* path : {"/v1/chat/completions", "/v1//chat/completions", "/v1/chat/completions/",
                           "//v1/chat//completions//", "/chat/completions", "/chat/completions/",
                           "/v1/v1/chat/completions"}) {
    EXPECT_EQ(endpoint_path(path), "/v1/chat/completions") << path;
  }
  EXPECT_EQ(endpoint_path("/responses"), "/v1/responses");
  EXPECT_EQ(endpoint_path("/messages/count_tokens"), "/v1/messages/count_tokens");
  EXPECT_EQ(endpoint_path("/models/org/name"), "/v1/models/org/name");
  EXPECT_EQ(endpoint_path("/v1/health"), "/health");
  EXPECT_EQ(endpoint_path("/api//chat/"), "/api/chat");
}

TEST(EndpointPath, LeavesWhatIsNoEndpointAsItIs) {
  for (const char* path : {"/", "/v1", "/v10/models", "/nothing", "/v1/nothing", "/modelsx", "*"}) {
    EXPECT_EQ(endpoint_path(path), path);
  }
  EXPECT_EQ(endpoint_path("///"), "/");
  EXPECT_EQ(endpoint_path(""), "");
}

}  // namespace
}  // namespace flashmoe::server
