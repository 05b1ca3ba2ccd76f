#include "http/http_connection.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/http/chunk_encode.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <boost/beast/http/write.hpp>
#include <cctype>
#include <exception>
#include <sstream>
#include <utility>

namespace flashmoe {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;

/// How long a client that was refused may go on sending, at a time.
constexpr std::chrono::seconds kLingerTimeout{2};

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const int lower = std::tolower(static_cast<unsigned char>(c));
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

std::string percent_decoded(std::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 &&
        hex_digit(text[i + 2]) >= 0) {
      decoded += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
      i += 2;
    } else {
      decoded += text[i];
    }
  }
  return decoded;
}

/// A failure that leaves nobody to be answered.
bool is_of_the_network(const beast::error_code& failure) {
  return failure && (failure == beast::error::timeout ||
                     failure.category() == asio::error::get_system_category() ||
                     failure.category() == asio::error::get_misc_category());
}

/// What a handler is given to answer with. Several threads may let go of it.
class ConnectionResponder : public Responder {
 public:
  ConnectionResponder(std::shared_ptr<HttpConnection> connection, std::uint64_t request,
                      HttpServer::Refusal refusal)
      : connection_(std::move(connection)), request_(request), refusal_(std::move(refusal)) {}
  ~ConnectionResponder() override {
    if (!has_begun_) send(refusal_(500, "the request was not answered"));
    if (!has_ended_) end();
  }

  void send(HttpResponse response) override {
    if (has_begun_.exchange(true)) return;
    has_ended_ = true;
    connection_->send_from_any_thread(request_, std::move(response), /*is_whole=*/true);
  }
  void begin(HttpResponse response) override {
    if (has_begun_.exchange(true)) return;
    connection_->send_from_any_thread(request_, std::move(response), /*is_whole=*/false);
  }
  void write(std::string part) override {
    connection_->write_from_any_thread(request_, std::move(part), /*is_last=*/false);
  }
  void end() override {
    if (has_ended_.exchange(true)) return;
    connection_->write_from_any_thread(request_, {}, /*is_last=*/true);
  }
  void on_gone(std::function<void()> callback) override {
    connection_->on_gone_from_any_thread(request_, std::move(callback));
  }

 private:
  const std::shared_ptr<HttpConnection> connection_;
  const std::uint64_t request_;
  const HttpServer::Refusal refusal_;
  std::atomic<bool> has_begun_{false};
  std::atomic<bool> has_ended_{false};
};

}  // namespace

std::optional<std::string_view> HttpRequest::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (beast::iequals({key.data(), key.size()}, {name.data(), name.size()})) return value;
  }
  return std::nullopt;
}

HttpConnection::HttpConnection(tcp::socket socket, std::shared_ptr<HttpContext> context)
    : stream_(std::move(socket)), context_(std::move(context)) {
  ++context_->connection_count;
  beast::error_code ignored;
  const tcp::endpoint peer = stream_.socket().remote_endpoint(ignored);
  remote_ = peer.address().to_string(ignored);
  // Tokens are small and each is wanted at once.
  stream_.socket().set_option(tcp::no_delay(true), ignored);
  stream_.socket().non_blocking(true, ignored);
}

HttpConnection::~HttpConnection() { --context_->connection_count; }

void HttpConnection::start() { read_header(); }

void HttpConnection::set_timeout(std::chrono::seconds timeout) { stream_.expires_after(timeout); }

void HttpConnection::read_header() {
  is_reading_ = true;
  parser_.emplace();
  parser_->body_limit(context_->options.body_size_max);
  parser_->header_limit(static_cast<std::uint32_t>(context_->options.header_size_max));
  set_timeout(context_->options.idle_timeout);
  http::async_read_header(stream_, buffer_, *parser_,
                          [self = shared_from_this()](beast::error_code failure, std::size_t) {
                            self->on_header(failure);
                          });
}

void HttpConnection::on_header(beast::error_code failure) {
  if (failure == http::error::header_limit) return refuse(431, "the headers are too large");
  if (failure == http::error::body_limit) {
    return refuse(413, "the body is larger than this server takes");
  }
  if (failure == http::error::end_of_stream || is_of_the_network(failure)) return close();
  if (failure) return refuse(400, "not an HTTP request: " + failure.message());
  if (beast::iequals(parser_->get()[http::field::expect], "100-continue")) {
    // Nothing else is being written: the request before has been answered.
    queue("HTTP/1.1 100 Continue\r\n\r\n");
  }
  read_body();
}

void HttpConnection::read_body() {
  const auto length = parser_->content_length();
  const std::uint64_t size = length ? *length : context_->options.body_size_max;
  set_timeout(context_->options.read_timeout * (1 + static_cast<int>(size >> 20)));
  http::async_read(stream_, buffer_, *parser_,
                   [self = shared_from_this()](beast::error_code failure, std::size_t) {
                     self->on_body(failure);
                   });
}

void HttpConnection::on_body(beast::error_code failure) {
  if (failure == http::error::body_limit) {
    return refuse(413, "the body is larger than this server takes");
  }
  if (is_of_the_network(failure)) return close();
  if (failure) return refuse(400, "not an HTTP request: " + failure.message());
  dispatch();
}

void HttpConnection::refuse(unsigned status, const std::string& message) {
  is_reading_ = false;
  ++request_;
  is_answering_ = true;
  is_head_ = false;
  keeps_alive_ = false;
  send(context_->refusal(status, message), /*is_whole=*/true);
}

void HttpConnection::dispatch() {
  is_reading_ = false;
  stream_.expires_never();
  const http::request<http::string_body>& read = parser_->get();
  is_answering_ = true;
  is_head_ = read.method() == http::verb::head;
  is_chunked_ = read.version() >= 11;
  keeps_alive_ = read.keep_alive();
  on_gone_ = nullptr;
  HttpRequest request;
  request.method = std::string(read.method_string());
  const std::string_view target(read.target().data(), read.target().size());
  const std::size_t question = std::min(target.find('?'), target.size());
  request.path = percent_decoded(target.substr(0, question));
  if (question < target.size()) request.query = target.substr(question + 1);
  for (const auto& field : read) {
    request.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  }
  request.remote = remote_;
  request.body = std::move(parser_->get().body());
  const auto responder =
      std::make_shared<ConnectionResponder>(shared_from_this(), ++request_, context_->refusal);
  watch();
  try {
    context_->handler(std::move(request), responder);
  } catch (const std::exception& failure) {
    responder->send(context_->refusal(500, failure.what()));
  }
}

void HttpConnection::watch() {
  stream_.socket().async_wait(
      tcp::socket::wait_read,
      [self = shared_from_this(), request = request_](beast::error_code failure) {
        if (self->is_closed_ || self->request_ != request || !self->is_answering_) return;
        beast::error_code ignored;
        // Bytes of a next request say nothing of whether the client stays.
        if (!failure && self->stream_.socket().available(ignored) > 0) return;
        self->close();
      });
}

void HttpConnection::send_from_any_thread(std::uint64_t request, HttpResponse response,
                                          bool is_whole) {
  asio::dispatch(stream_.get_executor(), [self = shared_from_this(), request,
                                          response = std::move(response), is_whole]() mutable {
    if (self->request_ != request || !self->is_answering_) return;
    self->send(std::move(response), is_whole);
  });
}

void HttpConnection::write_from_any_thread(std::uint64_t request, std::string part, bool is_last) {
  asio::dispatch(stream_.get_executor(), [self = shared_from_this(), request,
                                          part = std::move(part), is_last] {
    if (self->request_ != request || !self->is_answering_) return;
    if (!part.empty() && !self->is_head_) {
      self->queue(self->is_chunked_ ? beast::buffers_to_string(http::make_chunk(asio::buffer(part)))
                                    : part);
    }
    if (is_last && !self->is_closed_) {
      if (self->is_chunked_ && !self->is_head_) {
        self->queue(beast::buffers_to_string(http::make_chunk_last()));
      }
      self->finish_response();
    }
  });
}

void HttpConnection::on_gone_from_any_thread(std::uint64_t request,
                                             std::function<void()> callback) {
  asio::dispatch(stream_.get_executor(),
                 [self = shared_from_this(), request, callback = std::move(callback)]() mutable {
                   if (self->request_ != request) return;
                   if (self->is_closed_) return callback();
                   if (self->is_answering_) self->on_gone_ = std::move(callback);
                 });
}

void HttpConnection::send(HttpResponse response, bool is_whole) {
  http::response<http::empty_body> header(static_cast<http::status>(response.status), 11);
  header.set(http::field::content_type, response.content_type);
  for (const auto& [name, value] : response.headers) header.insert(name, value);
  if (is_whole) {
    header.content_length(response.body.size());
  } else if (is_chunked_) {
    header.chunked(true);
  } else {
    keeps_alive_ = false;  // HTTP/1.0 sees the end of a body by the end of the connection
  }
  header.keep_alive(keeps_alive_);
  std::ostringstream text;
  text << header.base();
  std::string bytes = std::move(text).str();
  if (!response.body.empty() && !is_head_) {
    bytes += is_whole || !is_chunked_
                 ? response.body
                 : beast::buffers_to_string(http::make_chunk(asio::buffer(response.body)));
  }
  queue(std::move(bytes));
  if (is_whole) finish_response();
}

void HttpConnection::queue(std::string bytes) {
  if (is_closed_) return;
  if (backlog_.empty()) {
    backlog_ = std::move(bytes);
  } else {
    backlog_ += bytes;
  }
  // One response may be as large as it is; what may not pile up is what a client lets wait.
  if (is_writing_ && backlog_.size() > context_->options.backlog_max) return close();
  flush();
}

void HttpConnection::flush() {
  if (is_writing_ || backlog_.empty()) return;
  // The system nearly always has room for a token, and then there is nothing to wait for.
  beast::error_code failure;
  const std::size_t sent = stream_.socket().write_some(asio::buffer(backlog_), failure);
  if (failure && failure != asio::error::would_block) return close();
  backlog_.erase(0, sent);
  if (backlog_.empty()) return;
  is_writing_ = true;
  being_written_.clear();
  being_written_.swap(backlog_);
  write_begun_ = std::chrono::steady_clock::now();
  context_->writing.insert(this);
  asio::async_write(stream_.socket(), asio::buffer(being_written_),
                    [self = shared_from_this()](beast::error_code failure, std::size_t) {
                      self->on_written(failure);
                    });
}

void HttpConnection::check_progress(std::chrono::steady_clock::time_point now) {
  if (now - write_begun_ > context_->options.write_timeout) close();
}

void HttpConnection::on_written(beast::error_code failure) {
  is_writing_ = false;
  context_->writing.erase(this);
  if (failure) return close();
  if (is_closed_) return;
  if (!backlog_.empty()) return flush();
  if (is_answering_) return stream_.expires_never();
  if (is_reading_) return;  // that was "100 Continue"
  // The response is with the system; the next request may come.
  if (!keeps_alive_) return linger();
  read_header();
}

void HttpConnection::finish_response() {
  is_answering_ = false;
  on_gone_ = nullptr;
  if (!is_writing_ && !is_closed_) on_written({});
}

/// Ends the connection such that a client that is still sending can read the answer: a socket that
/// is closed with bytes unread resets the connection, and takes the answer with it.
void HttpConnection::linger() {
  beast::error_code ignored;
  stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
  buffer_.clear();
  set_timeout(kLingerTimeout);
  discard();
}

void HttpConnection::discard() {
  stream_.async_read_some(buffer_.prepare(64u << 10),
                          [self = shared_from_this()](beast::error_code failure, std::size_t) {
                            failure ? self->close() : self->discard();
                          });
}

void HttpConnection::close() {
  if (is_closed_) return;
  is_closed_ = true;
  beast::error_code ignored;
  stream_.socket().shutdown(tcp::socket::shutdown_both, ignored);
  stream_.close();
  backlog_.clear();
  if (is_answering_ && on_gone_) std::exchange(on_gone_, nullptr)();
}

}  // namespace flashmoe
