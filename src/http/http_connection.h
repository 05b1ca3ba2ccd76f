#ifndef FLASHMOE_HTTP_HTTP_CONNECTION_H_
#define FLASHMOE_HTTP_HTTP_CONNECTION_H_

#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "http/body_room.h"
#include "http/http_server.h"

namespace flashmoe {

class HttpConnection;

/// What connections have in common. Outlives them.
struct HttpContext {
  HttpServerOptions options;
  HttpServer::Handler handler;
  HttpServer::Refusal refusal;
  HttpServer::Admission admission;
  std::shared_ptr<BodyRoom> small_bodies;
  std::shared_ptr<BodyRoom> large_bodies;
  std::atomic<std::size_t> connection_count{0};
  /// Those that are writing, to be looked at now and then: a timer for each token would cost more
  /// than the token.
  std::set<HttpConnection*> writing;
};

/// One client: reads a request, lets it be answered, reads the next. Everything but what its
/// responders are told happens in the server's thread. Keeps itself alive while an operation is
/// under way or an answer is owed.
class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(boost::asio::ip::tcp::socket socket, std::shared_ptr<HttpContext> context);
  ~HttpConnection();

  void start();
  /// Cuts the client off if it has read nothing for too long.
  void check_progress(std::chrono::steady_clock::time_point now);
  /// Bytes held until the system has taken all of them.
  std::size_t backlog_size() const { return being_written_.size() + backlog_.size(); }

  // From a responder, by any thread.
  void send_from_any_thread(std::uint64_t request, HttpResponse response, bool is_whole);
  void write_from_any_thread(std::uint64_t request, std::string part, bool is_last);
  void on_gone_from_any_thread(std::uint64_t request, std::function<void()> callback);

 private:
  void await_request();
  void read_header();
  void on_header(boost::beast::error_code failure);
  /// Whether the request may be read on; refuses it if not.
  bool is_well_formed();
  void begin_body();
  /// Reads no further before `size` bytes have a place in the room for large bodies.
  void wait_for_large_room(std::size_t size);
  void on_room(BodyLease lease);
  void read_body();
  void on_body(boost::beast::error_code failure);
  void refuse(unsigned status, const std::string& message);
  void refuse(HttpResponse response);
  HttpRequest request_without_body() const;
  std::string too_large_message() const;
  void dispatch();
  /// Notices if the client goes while its answer is being made.
  void watch();
  void on_half_close();
  void send(HttpResponse response, bool is_whole);
  void queue(std::string bytes);
  void queue_part(const std::string& part);
  void end_parts();
  /// Sends more of a response, as long as the system takes it at once.
  void send_more();
  bool is_too_far_behind() const;
  void flush();
  void on_written(boost::beast::error_code failure);
  void finish_response();
  void linger();
  void discard();
  void close();
  void set_timeout(std::chrono::seconds timeout);

  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;

  boost::beast::tcp_stream stream_;
  const std::shared_ptr<HttpContext> context_;
  boost::beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  BodyLease body_lease_;
  std::size_t body_leased_ = 0;    // bytes; a body in chunks gets more as it grows
  std::size_t body_deadline_ = 0;  // bytes that must have come when the time is over
  std::string remote_;
  std::uint64_t request_ = 0;  // counts requests: a responder of an earlier one is not heard
  bool is_answering_ = false;  // a request has been handed on, its response is not complete
  bool has_begun_ = false;     // its response has
  bool is_reading_ = false;
  bool is_head_ = false;  // the request wants headers alone
  bool is_chunked_ = false;
  bool keeps_alive_ = false;
  bool is_closed_ = false;
  bool is_writing_ = false;
  std::chrono::steady_clock::time_point write_begun_;
  std::string being_written_;
  std::string backlog_;
  std::function<void()> on_gone_;
  std::function<std::string()> more_;  // of the response
};

}  // namespace flashmoe

#endif  // FLASHMOE_HTTP_HTTP_CONNECTION_H_
