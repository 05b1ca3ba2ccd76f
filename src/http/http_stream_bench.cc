// CPU that the server's thread takes for a part of a streamed answer, beside what the system takes
// for the same: a thread that is woken, and sends. The argument is the time between parts in
// microseconds; waking a core that has slept is most of a slow stream's cost.
#include <arpa/inet.h>
#include <benchmark/benchmark.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <ctime>
#include <future>
#include <string>
#include <thread>

#include "http/http_server.h"

namespace flashmoe {
namespace {

constexpr std::size_t kPartSize = 250;  // about a token's JSON

double cpu_seconds(std::thread& thread) {
  clockid_t clock{};
  timespec time{};
  pthread_getcpuclockid(thread.native_handle(), &clock);
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

int connect_to(std::uint16_t port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof(address));
  return socket;
}

/// A client that reads whatever comes, until the connection ends.
void read_all(int socket) {
  char buffer[4096];
  while (::recv(socket, buffer, sizeof(buffer), 0) > 0) {
  }
  ::close(socket);
}

void report(benchmark::State& state, double seconds) {
  state.counters["cpu_us_per_part"] = 1e6 * seconds / static_cast<double>(state.iterations());
}

void BM_HttpStream(benchmark::State& state) {
  std::promise<std::shared_ptr<Responder>> asked;
  const auto server = HttpServer::create(
                          {.port = 0},
                          [&](const HttpRequest&, std::shared_ptr<Responder> responder) {
                            asked.set_value(std::move(responder));
                          },
                          [](const HttpRequest&, unsigned status, const std::string&) {
                            return HttpResponse{.status = status};
                          })
                          .value();
  std::thread serving([&] { server->run(); });
  const int socket = connect_to(server->port());
  constexpr std::string_view kRequest = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
  ::send(socket, kRequest.data(), kRequest.size(), 0);
  std::thread client([socket] { read_all(socket); });
  std::shared_ptr<Responder> responder = asked.get_future().get();
  responder->begin({.content_type = "text/event-stream"});
  const double before = cpu_seconds(serving);
  for (auto _ : state) {
    std::this_thread::sleep_for(std::chrono::microseconds(state.range(0)));
    responder->write(std::string(kPartSize, 'x'));
  }
  report(state, cpu_seconds(serving) - before);
  responder->end();
  responder = nullptr;
  server->stop();
  serving.join();
  ::shutdown(socket, SHUT_RDWR);
  client.join();
}
BENCHMARK(BM_HttpStream)->Arg(100)->Arg(1000)->Arg(10'000)->Unit(benchmark::kMicrosecond);

void BM_WakeAndSend(benchmark::State& state) {
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ::bind(listener, reinterpret_cast<sockaddr*>(&address), size);
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  ::listen(listener, 1);
  const int socket = connect_to(ntohs(address.sin_port));
  const int peer = ::accept(listener, nullptr, nullptr);
  const int on = 1;
  ::setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  const int event = ::eventfd(0, EFD_NONBLOCK | EFD_SEMAPHORE);
  const int poll = ::epoll_create1(0);
  epoll_event wanted{};
  wanted.events = EPOLLIN;
  ::epoll_ctl(poll, EPOLL_CTL_ADD, event, &wanted);
  std::thread client([socket] { read_all(socket); });
  std::thread sending([&] {
    const std::string part(kPartSize, 'x');
    std::uint64_t count = 0;
    while (true) {
      epoll_event ready{};
      ::epoll_wait(poll, &ready, 1, -1);
      if (::read(event, &count, sizeof(count)) < 0) continue;
      if (::send(peer, part.data(), part.size(), MSG_NOSIGNAL) < 0) return;
    }
  });
  const std::uint64_t one = 1;
  const auto wake = [&] { return ::write(event, &one, sizeof(one)) > 0; };
  const double before = cpu_seconds(sending);
  for (auto _ : state) {
    std::this_thread::sleep_for(std::chrono::microseconds(state.range(0)));
    benchmark::DoNotOptimize(wake());
  }
  report(state, cpu_seconds(sending) - before);
  ::shutdown(peer, SHUT_RDWR);
  wake();
  sending.join();
  client.join();
  for (const int descriptor : {listener, peer, event, poll}) ::close(descriptor);
}
BENCHMARK(BM_WakeAndSend)->Arg(100)->Arg(1000)->Arg(10'000)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace flashmoe

BENCHMARK_MAIN();
