#include "http/http_server.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "http/testing/bytes_client.h"

namespace flashmoe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class Serving : public ::testing::Test {
 protected:
  void serve(HttpServerOptions options, HttpServer::Handler handler) {
    options.port = 0;
    server_ = HttpServer::create(
                  options, std::move(handler),
                  [](const HttpRequest& request, unsigned status, const std::string& message) {
                    return HttpResponse{.status = status, .body = request.path + ": " + message};
                  },
                  admission_)
                  .value();
    thread_ = std::thread([this] { server_->run(); });
  }
  void TearDown() override { stop(); }
  /// For tests whose handlers use what is local to them, and may be called to the end.
  void stop() {
    if (!thread_.joinable()) return;
    server_->stop();
    thread_.join();
  }
  std::uint16_t port() const { return server_->port(); }

  HttpServer::Admission admission_;
  std::unique_ptr<HttpServer> server_;
  std::thread thread_;
};

void echo(HttpRequest request, const std::shared_ptr<Responder>& responder) {
  responder->send(
      {.body = request.method + " " + request.path + " [" + request.query + "] " + request.body,
       .headers = {{"X-Seen", std::string(request.header("x-TEST").value_or("-"))}}});
}

TEST_F(Serving, AnswersSeveralRequestsOfOneConnection) {
  serve({}, echo);
  BytesClient client(port());
  client.send("GET /a%20b?c=%20d HTTP/1.1\r\nHost: x\r\nX-Test: 1\r\n\r\n");
  std::string answer = client.read_until("] ");
  EXPECT_THAT(answer, HasSubstr("GET /a b [c=%20d] "));
  EXPECT_THAT(answer, HasSubstr("X-Seen: 1"));
  client.send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody");
  EXPECT_THAT(client.read_until("body"), HasSubstr("POST /x [] body"));
  client.send("HEAD /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  answer = client.read_all();
  EXPECT_THAT(answer, HasSubstr("Content-Length: 11"));
  EXPECT_THAT(answer, ::testing::EndsWith("\r\n\r\n"));
}

TEST_F(Serving, TakesPipelinedRequestsInOrder) {
  serve({}, echo);
  BytesClient client(port());
  client.send(
      "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string answers = client.read_all();
  EXPECT_LT(answers.find("/1"), answers.find("/2"));
  EXPECT_NE(answers.find("/2"), std::string::npos);
}

TEST_F(Serving, SaysContinueToThoseWhoAsk) {
  serve({}, echo);
  BytesClient client(port());
  client.send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_THAT(client.read_until("\r\n\r\n"), StartsWith("HTTP/1.1 100 Continue"));
  client.send("body");
  EXPECT_THAT(client.read_until("body"), HasSubstr("POST /x [] body"));
}

TEST_F(Serving, StreamsPartsAsTheyCome) {
  std::promise<std::shared_ptr<Responder>> asked;
  serve({}, [&](const HttpRequest&, const std::shared_ptr<Responder>& responder) {
    responder->begin({.content_type = "text/event-stream", .body = "first"});
    asked.set_value(responder);
  });
  BytesClient client(port());
  client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(client.read_until("first\r\n"), HasSubstr("Transfer-Encoding: chunked"));
  std::shared_ptr<Responder> responder = asked.get_future().get();
  responder->write("second");
  EXPECT_THAT(client.read_until("second\r\n"), "6\r\nsecond\r\n");
  responder->end();
  EXPECT_EQ(client.read_all(), "0\r\n\r\n");
}

TEST_F(Serving, StreamsToHttp10UntilTheConnectionEnds) {
  serve({}, [](const HttpRequest&, const std::shared_ptr<Responder>& responder) {
    responder->begin({.body = "a"});
    responder->write("b");
    responder->end();
  });
  BytesClient client(port());
  client.send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_THAT(client.read_all(), ::testing::EndsWith("\r\n\r\nab"));
}

TEST_F(Serving, RefusesWhatIsTooLargeOrNoHttp) {
  serve({.bodies = {.size_max = 1000}, .header_size_max = 2000}, echo);
  BytesClient large(port());
  large.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n");
  // The client sends on; it can read why it should not.
  large.send(std::string(2'000'000, 'x'));
  EXPECT_THAT(large.read_all(), StartsWith("HTTP/1.1 413"));
  BytesClient chunked(port());
  chunked.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n" +
               std::string(2048, 'x') + "\r\n");
  EXPECT_THAT(chunked.read_all(), StartsWith("HTTP/1.1 413"));
  BytesClient headers(port());
  headers.send("GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + std::string(5000, 'x') + "\r\n\r\n");
  EXPECT_THAT(headers.read_all(), StartsWith("HTTP/1.1 431"));
  for (const char* garbage :
       {"\x16\x03\x01\x02\x01 hello\r\n\r\n", "GET\r\n\r\n", "\r\n\r\nx\r\n\r\n"}) {
    BytesClient client(port());
    client.send(garbage);
    EXPECT_THAT(client.read_all(), StartsWith("HTTP/1.1 400")) << garbage;
  }
}

TEST_F(Serving, AnswersForHandlersThatDoNot) {
  serve({}, [](const HttpRequest& request, const std::shared_ptr<Responder>&) {
    if (request.path == "/throw") throw std::runtime_error("thrown");
  });
  BytesClient silent(port());
  silent.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(silent.read_all(), StartsWith("HTTP/1.1 500"));
  BytesClient thrown(port());
  thrown.send("GET /throw HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(thrown.read_all(), HasSubstr("thrown"));
}

TEST_F(Serving, NoticesThatAClientHasGone) {
  std::promise<void> gone;
  std::shared_ptr<Responder> kept;
  serve({}, [&](const HttpRequest&, const std::shared_ptr<Responder>& responder) {
    responder->begin({.body = "first"});
    responder->on_gone([&] { gone.set_value(); });
    kept = responder;
  });
  BytesClient client(port());
  client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  client.read_until("first");
  client.leave();
  EXPECT_EQ(gone.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
  kept->write("to nobody");
  kept.reset();
}

TEST_F(Serving, AsksForTheRestOfAResponseAsFastAsItIsRead) {
  constexpr int kParts = 200;
  std::atomic<int> asked = 0;
  serve({.backlog_max = 1u << 16},
        [&](const HttpRequest&, const std::shared_ptr<Responder>& responder) {
          responder->send({.body = "first", .more = [&asked] {
                             return asked++ < kParts ? std::string(1u << 18, 'x') : std::string();
                           }});
        });
  for (const char* version : {"1.1", "1.0"}) {
    asked = 0;
    BytesClient client(port());
    client.send(std::string("GET / HTTP/") + version + "\r\nHost: x\r\nConnection: close\r\n\r\n");
    std::string all = client.read_until("first");
    EXPECT_THAT(all, HasSubstr(" 200 "));
    EXPECT_LT(asked, kParts) << "all of it is in memory before it is read";
    all += client.read_all();
    EXPECT_EQ(std::ranges::count(all, 'x'), kParts << 18);
    EXPECT_EQ(asked, kParts + 1);
  }
  BytesClient leaving(port());
  asked = 0;
  leaving.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  leaving.read_until("first");
  leaving.leave();
  BytesClient next(port());
  next.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(next.read_until("first"), HasSubstr(" 200 "));
  stop();
}

TEST_F(Serving, CutsOffAClientThatDoesNotRead) {
  std::promise<void> gone;
  std::shared_ptr<Responder> kept;
  serve({.backlog_max = 1u << 20},
        [&](const HttpRequest&, const std::shared_ptr<Responder>& responder) {
          responder->begin({});
          responder->on_gone([&] { gone.set_value(); });
          kept = responder;
          for (int i = 0; i < 64; ++i) responder->write(std::string(1u << 20, 'x'));
        });
  BytesClient client(port());
  client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(gone.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
  kept.reset();
}

TEST_F(Serving, EndsAStreamWhoseLastPartIsLarge) {
  constexpr std::size_t kSize = std::size_t{32} << 20;  // more than the system takes at once
  serve({.backlog_max = 1u << 16, .backlogs_max = 1u << 16},
        [&](const HttpRequest&, const std::shared_ptr<Responder>& responder) {
          responder->begin({});
          responder->write(std::string(kSize, 'x'));
          responder->end();
        });
  BytesClient others[2] = {BytesClient(port()), BytesClient(port())};
  for (BytesClient& client : others) {
    client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  }
  for (BytesClient& client : others) {
    const std::string all = client.read_all();
    EXPECT_EQ(static_cast<std::size_t>(std::ranges::count(all, 'x')), kSize);
    EXPECT_THAT(all, ::testing::EndsWith("\r\n0\r\n\r\n"));
  }
}

TEST_F(Serving, CutsOffThoseWhoKeepTheOthersFromMemory) {
  constexpr std::size_t kPart = 1u << 20;
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<Responder>> streams;
  std::map<std::string, std::promise<void>> gone;
  serve({.backlog_max = 64 * kPart, .backlogs_max = 4 * kPart},
        [&](const HttpRequest& request, const std::shared_ptr<Responder>& responder) {
          const std::lock_guard lock(mutex);
          responder->on_gone([&, path = request.path] { gone[path].set_value(); });
          streams[request.path] = responder;
          responder->begin({.body = "first"});
        });
  const auto open = [&](BytesClient& client, const std::string& path) {
    gone[path];
    client.send("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n");
    client.read_until("first");
    const std::lock_guard lock(mutex);
    return streams[path];
  };
  const auto write = [&](Responder& stream, std::size_t parts) {
    for (std::size_t i = 0; i < parts; ++i) stream.write(std::string(kPart, 'x'));
  };
  // More than the system takes for a client that does not read, which is some MiB.
  constexpr std::size_t kMuch = 32;
  BytesClient alone(port());
  write(*open(alone, "/alone"), kMuch);
  BytesClient greedy(port());
  write(*open(greedy, "/greedy"), kMuch);
  EXPECT_EQ(gone["/greedy"].get_future().wait_for(std::chrono::seconds(20)),
            std::future_status::ready);
  // The first, who was there alone, is above its part of what there is for both.
  BytesClient modest(port());
  open(modest, "/modest")->write("second");
  EXPECT_THAT(modest.read_until("second"), HasSubstr("second"));
  EXPECT_EQ(gone["/alone"].get_future().wait_for(std::chrono::seconds(0)),
            std::future_status::timeout);
  stop();
}

TEST_F(Serving, ServesOthersWhileAThousandConnectionsAreIdle) {
  serve({}, echo);
  std::vector<std::unique_ptr<BytesClient>> idle;
  for (int i = 0; i < 1000; ++i) idle.push_back(std::make_unique<BytesClient>(port()));
  BytesClient client(port());
  client.send("GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(client.read_all(), HasSubstr("GET /x"));
}

TEST_F(Serving, LeavesConnectionsBeyondItsNumber) {
  serve({.connections_max = 2}, echo);
  BytesClient first(port());
  BytesClient second(port());
  first.send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\n");
  second.send("GET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(first.read_until("] "), HasSubstr("/1"));
  EXPECT_THAT(second.read_until("] "), HasSubstr("/2"));
  BytesClient third(port());
  third.send("GET /3 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(third.read_all(), "");
}

TEST_F(Serving, ReadsTargetsOfWhatAProxyIsSent) {
  serve({}, [](const HttpRequest& request, const std::shared_ptr<Responder>& responder) {
    responder->send({.body = fmt::format("{} [{}] {} end", request.path, request.query,
                                         request.header("host").value_or("none"))});
  });
  BytesClient client(port());
  for (const auto& [target, seen] : std::vector<std::pair<std::string, std::string>>{
           {"http://a.example:80/b%20c?d=e", "/b c [d=e] a.example:80 end"},
           {"HTTPS://a.example", "/ [] a.example end"},
           {"http://a.example?x", "/ [x] a.example end"},
           {"/plain", "/plain [] x end"},
           {"http:/no-authority", "http:/no-authority [] x end"}}) {
    client.send("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(client.read_until(" end"), HasSubstr(seen)) << target;
  }
}

TEST_F(Serving, WantsOneHost) {
  serve({}, echo);
  const auto answer = [&](const std::string& request) {
    BytesClient client(port());
    client.send(request);
    return client.read_all();
  };
  const std::string last = "Connection: close\r\n\r\n";
  EXPECT_THAT(answer("GET /x HTTP/1.1\r\n" + last),
              AllOf(StartsWith("HTTP/1.1 400"), HasSubstr("/x: the request has no Host")));
  EXPECT_THAT(answer("GET /x HTTP/1.1\r\nHost: a\r\nHost: a\r\n" + last),
              AllOf(StartsWith("HTTP/1.1 400"), HasSubstr("several Host")));
  EXPECT_THAT(answer("GET /x HTTP/1.0\r\nHost: a\r\nHost: b\r\n" + last),
              StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(answer("GET http://a/x HTTP/1.1\r\n" + last), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(answer("GET /x HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.1 200"));
  for (const char* empty : {"Host:\r\n", "Host: \t\r\n"}) {
    EXPECT_THAT(answer(std::string("GET /x HTTP/1.1\r\n") + empty + last),
                AllOf(StartsWith("HTTP/1.1 400"), HasSubstr("/x: the Host header is empty")));
    EXPECT_THAT(answer(std::string("GET http://a/x HTTP/1.1\r\n") + empty + last),
                StartsWith("HTTP/1.1 200"));
  }
  EXPECT_THAT(answer("GET /x HTTP/1.1\r\nHost: a\r\n" + last), StartsWith("HTTP/1.1 200"));
}

TEST_F(Serving, TakesBodiesInNoCodingButChunks) {
  serve({}, echo);
  const auto answer = [&](const std::string& version, const std::string& headers) {
    BytesClient client(port());
    // What another reader takes for the body is no second request.
    client.send("POST /x HTTP/" + version + "\r\nHost: x\r\n" + headers +
                "\r\n4\r\nbody\r\n0\r\n\r\n");
    const std::string all = client.read_until("\r\n\r\n");
    return all.substr(0, all.find("\r\n"));
  };
  const auto coded = [&](const std::string& codings) {
    return answer("1.1", "Transfer-Encoding: " + codings + "\r\n");
  };
  for (const char* fine : {"chunked", "Chunked", " ,chunked, "}) {
    EXPECT_THAT(coded(fine), HasSubstr(" 200 ")) << fine;
  }
  for (const char* unknown :
       {"gzip, chunked", "gzip", "identity", "chunked;a=b", "x,y , chunked"}) {
    EXPECT_THAT(coded(unknown), HasSubstr(" 501 ")) << unknown;
  }
  for (const char* wrong : {"chunked, gzip", "chunked, chunked", "gzip, chunked, gzip", "", ","}) {
    EXPECT_THAT(coded(wrong), HasSubstr(" 400 ")) << wrong;
  }
  EXPECT_THAT(answer("1.1", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"),
              HasSubstr(" 501 "));
  EXPECT_THAT(answer("1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n"),
              HasSubstr(" 400 "));
  EXPECT_THAT(answer("1.0", "Transfer-Encoding: chunked\r\n"), HasSubstr(" 400 "));
}

TEST_F(Serving, TakesBodiesOnlyAsTheyAre) {
  serve({}, echo);
  for (const char* encoding : {"gzip", "br", "gzip, identity", "zstd"}) {
    BytesClient client(port());
    client.send(std::string("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n") +
                "Expect: 100-continue\r\nContent-Encoding: " + encoding + "\r\n\r\n");
    EXPECT_THAT(client.read_all(), AllOf(StartsWith("HTTP/1.1 415"), HasSubstr(encoding),
                                         HasSubstr("Accept-Encoding: identity")));
  }
  BytesClient client(port());
  client.send(
      "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Encoding: Identity\r\n\r\nbody");
  EXPECT_THAT(client.read_until("body"), StartsWith("HTTP/1.1 200"));
}

TEST_F(Serving, AnswersAClientThatSendsNoMore) {
  std::promise<std::shared_ptr<Responder>> asked;
  serve({}, [&](const HttpRequest&, const std::shared_ptr<Responder>& responder) {
    asked.set_value(responder);
  });
  BytesClient client(port());
  client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
  client.send_no_more();
  // The answer comes after the server has seen the end.
  std::string answer = client.read_until("100 Continue\r\n\r\n");
  std::shared_ptr<Responder> responder = asked.get_future().get();
  responder->send({.body = "answer"});
  responder.reset();
  answer += client.read_all();
  EXPECT_THAT(answer, AllOf(StartsWith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"),
                            ::testing::EndsWith("answer")));
}

TEST_F(Serving, StreamsToAClientThatSendsNoMore) {
  std::promise<std::shared_ptr<Responder>> asked;
  serve({}, [&](const HttpRequest&, const std::shared_ptr<Responder>& responder) {
    responder->begin({.body = "first"});
    asked.set_value(responder);
  });
  BytesClient client(port());
  client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
  EXPECT_THAT(client.read_until("first\r\n"), HasSubstr("chunked"));
  client.send_no_more();
  EXPECT_EQ(client.read_until("0"), "0");  // of a size that is yet to come
  std::shared_ptr<Responder> responder = asked.get_future().get();
  responder->write("second");
  responder->end();
  EXPECT_EQ(client.read_all(), "6\r\nsecond\r\n0\r\n\r\n");
}

TEST_F(Serving, NoticesThatAClientHasGoneBeforeItsAnswer) {
  std::promise<void> gone;
  std::promise<void> asked;
  std::shared_ptr<Responder> kept;
  serve({}, [&](const HttpRequest&, const std::shared_ptr<Responder>& responder) {
    responder->on_gone([&] { gone.set_value(); });
    kept = responder;
    asked.set_value();
  });
  BytesClient client(port());
  client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
  asked.get_future().wait();
  client.leave();
  EXPECT_EQ(gone.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
  kept.reset();
}

/// Keeps what it is asked, as a handler that works in another thread does.
class Keeping {
 public:
  void operator()(HttpRequest request, std::shared_ptr<Responder> responder) {
    const std::lock_guard lock(mutex_);
    kept_.emplace_back(std::move(request), std::move(responder));
    changed_.notify_all();
  }
  void wait_for(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return kept_.size() >= count; });
  }
  std::size_t count() {
    const std::lock_guard lock(mutex_);
    return kept_.size();
  }
  /// Lets the body go, and answers.
  void answer(std::size_t index) {
    std::pair<HttpRequest, std::shared_ptr<Responder>> taken;
    {
      const std::lock_guard lock(mutex_);
      taken = std::move(kept_[index]);
    }
    const std::string body = std::move(taken.first.body);
    taken.first.body_lease.reset();
    taken.second->send({.body = fmt::format("{} bytes.", body.size())});
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::pair<HttpRequest, std::shared_ptr<Responder>>> kept_;
};

std::string post_of(std::size_t size) {
  return fmt::format("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{}", size,
                     std::string(size, 'x'));
}

TEST_F(Serving, ReadsLargeBodiesAsThereIsRoomAndSmallOnesBeside) {
  Keeping keeping;
  serve({.bodies = {.size_max = 1000, .small_size_max = 10, .small_room = 100, .large_room = 1500}},
        std::ref(keeping));
  BytesClient first(port());
  first.send(post_of(1000));
  keeping.wait_for(1);
  BytesClient second(port());
  second.send(post_of(900));
  BytesClient chunked(port());
  chunked.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n100\r\n" +
               std::string(256, 'x') + "\r\n0\r\n\r\n");
  BytesClient small(port());
  small.send(post_of(10));
  keeping.wait_for(2);
  EXPECT_EQ(keeping.count(), 2u);
  keeping.answer(1);
  EXPECT_THAT(small.read_until("bytes."), HasSubstr("\r\n10 bytes."));
  keeping.answer(0);
  EXPECT_THAT(first.read_until("bytes."), HasSubstr("\r\n1000 bytes."));
  keeping.wait_for(3);
  keeping.answer(2);
  EXPECT_THAT(second.read_until("bytes."), HasSubstr("\r\n900 bytes."));
  keeping.wait_for(4);
  keeping.answer(3);
  EXPECT_THAT(chunked.read_until("bytes."), HasSubstr("\r\n256 bytes."));
}

TEST_F(Serving, RefusesABodyThatWaitsTooLongForRoom) {
  Keeping keeping;
  serve({.bodies = {.size_max = 1000, .small_size_max = 10, .large_room = 1000},
         .room_timeout = std::chrono::seconds(1)},
        std::ref(keeping));
  BytesClient first(port());
  first.send(post_of(1000));
  keeping.wait_for(1);
  BytesClient second(port());
  second.send(post_of(1000));
  EXPECT_THAT(second.read_all(), AllOf(StartsWith("HTTP/1.1 503"), HasSubstr("Retry-After: 1")));
  keeping.answer(0);
  EXPECT_THAT(first.read_until("bytes."), HasSubstr("1000 bytes."));
}

TEST_F(Serving, AsksBeforeItReadsALargeBody) {
  admission_ = [](const HttpRequest& request) -> std::optional<HttpResponse> {
    if (request.path == "/good") return std::nullopt;
    return HttpResponse{.status = 404, .body = "nothing at " + request.path};
  };
  serve({.bodies = {.size_max = 1000, .small_size_max = 10}}, echo);
  BytesClient refused(port());
  refused.send("POST /bad HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n");
  EXPECT_THAT(refused.read_all(), AllOf(StartsWith("HTTP/1.1 404"), HasSubstr("nothing at /bad")));
  BytesClient large(port());
  large.send("POST /good HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" +
             std::string(1000, 'x'));
  EXPECT_THAT(large.read_until("xxx"), StartsWith("HTTP/1.1 200"));
  BytesClient small(port());
  small.send("POST /bad HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody");
  EXPECT_THAT(small.read_until("body"), StartsWith("HTTP/1.1 200"));
}

TEST_F(Serving, EndsAClientThatBeginsARequestAndStalls) {
  // Between requests it may be silent for as long as a test would take.
  serve({.idle_timeout = std::chrono::seconds(600), .read_timeout = std::chrono::seconds(1)}, echo);
  BytesClient header(port());
  header.send("GET / HT");
  EXPECT_EQ(header.read_all(), "");
  BytesClient body(port());
  body.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbo");
  EXPECT_EQ(body.read_all(), "");
  BytesClient large(port());
  large.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 40000000\r\n\r\nbo");
  EXPECT_EQ(large.read_all(), "");
}

TEST_F(Serving, EndsAClientThatBeginsNoRequest) {
  serve({.idle_timeout = std::chrono::seconds(1), .read_timeout = std::chrono::seconds(600)}, echo);
  BytesClient client(port());
  EXPECT_EQ(client.read_all(), "");
}

TEST(HttpServer, SaysWhatIsWrongWithAnAddress) {
  const auto nothing = [](const HttpRequest&, const std::shared_ptr<Responder>&) {};
  const auto refusal = [](const HttpRequest&, unsigned, const std::string&) {
    return HttpResponse{};
  };
  HttpServerOptions options{.host = "nowhere.example", .port = 0};
  EXPECT_EQ(HttpServer::create(options, nothing, refusal).status().code(),
            StatusCode::kInvalidArgument);
  options.host = "127.0.0.1";
  const auto first = HttpServer::create(options, nothing, refusal);
  options.port = (*first)->port();
  const Status taken = HttpServer::create(options, nothing, refusal).status();
  EXPECT_EQ(taken.code(), StatusCode::kIo);
  EXPECT_THAT(taken.message(), HasSubstr("--port"));
}

}  // namespace
}  // namespace flashmoe
