// The server before there is a model: it answers, and says when to come back.
#include "server/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <string>
#include <thread>

#include "http/testing/bytes_client.h"

namespace flashmoe::server {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// A server whose model is being loaded for as long as a test wants, and then cannot be.
class Loading : public ::testing::Test {
 protected:
  void SetUp() override {
    server_ = Server::create({.http = {.port = 0}}).value();
    thread_ = std::thread([this] {
      status_ = server_->run([this]() -> Result<std::unique_ptr<Engine>> {
        outcome_.get_future().wait();
        return error(StatusCode::kIo, "config.json: cannot be read");
      });
    });
  }
  void TearDown() override {
    if (thread_.joinable()) end_loading();
  }
  void end_loading() {
    outcome_.set_value();
    thread_.join();
  }
  std::string answer(const std::string& request_line, const std::string& headers = "") {
    BytesClient client(server_->port());
    EXPECT_TRUE(client.send(request_line + " HTTP/1.1\r\nHost: localhost\r\n" + headers +
                            "Connection: close\r\nContent-Length: 2\r\n\r\n{}"));
    return client.read_all();
  }

  std::promise<void> outcome_;
  std::unique_ptr<Server> server_;
  Status status_;
  std::thread thread_;
};

TEST_F(Loading, IsToldInTheWordsOfEachDialect) {
  const auto is_unavailable =
      AllOf(StartsWith("HTTP/1.1 503"), HasSubstr("Retry-After: 1"), HasSubstr("being loaded"));
  const std::string health = answer("GET /health");
  EXPECT_THAT(health, is_unavailable);
  EXPECT_THAT(health, HasSubstr(R"("type":"unavailable_error")"));
  EXPECT_THAT(answer("POST /v1/chat/completions"), is_unavailable);
  EXPECT_THAT(answer("POST /v1/messages"),
              AllOf(is_unavailable, HasSubstr(R"("type":"overloaded_error")")));
  EXPECT_THAT(answer("POST /api/chat"), AllOf(is_unavailable, HasSubstr(R"({"error":")")));
}

TEST_F(Loading, ThePageIsThere) {
  EXPECT_THAT(answer("GET /", "Accept: text/html\r\n"),
              AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("<html")));
  EXPECT_THAT(answer("GET /web/main.js"),
              AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("text/javascript"), HasSubstr("ETag:")));
  EXPECT_THAT(answer("GET /web/none.js"), StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(answer("GET /"), HasSubstr("Ollama is running"));
}

TEST_F(Loading, ForeignPagesAreRefused) {
  EXPECT_THAT(answer("GET /", "Origin: http://evil.example\r\n"), StartsWith("HTTP/1.1 403"));
}

TEST_F(Loading, ThatFailsEndsTheServer) {
  end_loading();
  EXPECT_THAT(status_.message(), HasSubstr("config.json"));
}

TEST_F(Loading, EndsBeforeAStoppedServerDoes) {
  server_->stop();
  end_loading();
  EXPECT_FALSE(status_.ok());
}

TEST(Server, TellsOfAPortThatIsTaken) {
  const std::unique_ptr<Server> first = Server::create({.http = {.port = 0}}).value();
  const Result<std::unique_ptr<Server>> second = Server::create({.http = {.port = first->port()}});
  EXPECT_THAT(second.status().message(), HasSubstr("--port"));
}

}  // namespace
}  // namespace flashmoe::server
