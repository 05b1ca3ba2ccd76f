#include "http/http_connection.h"

#include <fmt/format.h>

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

#include "base/units.h"

namespace flashmoe {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;

/// How long a client that was refused may go on sending, at a time.
constexpr std::chrono::seconds kLingerTimeout{2};

/// Of a body: what a client must send within the time for reading.
constexpr std::size_t kTimedBodyPart = std::size_t{1} << 20;

/// What a body of unknown length has a place for before it counts as a large one.
constexpr std::size_t kUnknownBodyPart = std::size_t{64} << 10;

constexpr const char* kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

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

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = std::min(text.find_first_not_of(" \t"), text.size());
  return text.substr(begin, text.find_last_not_of(" \t") + 1 - begin);
}

/// Of a target "http://host:port/path?query" the authority, which is left out of it. Proxies are
/// sent such targets, and a server must read them too: what they name goes before any Host header.
std::string_view take_authority(std::string_view& target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!beast::iequals({target.data(), std::min(target.size(), scheme.size())},
                        {scheme.data(), scheme.size()})) {
      continue;
    }
    const std::string_view rest = target.substr(scheme.size());
    const std::size_t end = std::min(rest.find_first_of("/?"), rest.size());
    target = end == rest.size() ? "/" : rest.substr(end);
    return rest.substr(0, end);
  }
  return {};
}

/// What is wrong with the codings that a body was sent in: a status, and why. A body whose end we
/// see elsewhere than what stands before us would be read as two requests (RFC 9112, 6).
std::optional<std::pair<unsigned, const char*>> wrong_transfer_coding(
    const http::request<http::string_body>& read) {
  using Wrong = std::pair<unsigned, const char*>;
  const auto [begin, end] = read.equal_range(http::field::transfer_encoding);
  if (begin == end) return std::nullopt;
  if (read.version() < 11) return Wrong(400, "HTTP/1.0 has no Transfer-Encoding");
  bool has_others = false;
  bool is_chunked = false;
  for (auto field = begin; field != end; ++field) {
    std::string_view codings(field->value().data(), field->value().size());
    while (!codings.empty()) {
      const std::size_t comma = std::min(codings.find(','), codings.size());
      const std::string_view coding = trimmed(codings.substr(0, comma));
      codings.remove_prefix(std::min(comma + 1, codings.size()));
      if (coding.empty()) continue;  // as lists may have
      if (is_chunked) return Wrong(400, "Transfer-Encoding: chunked comes last, and once");
      is_chunked = beast::iequals({coding.data(), coding.size()}, "chunked");
      has_others |= !is_chunked;
    }
  }
  if (has_others) return Wrong(501, "Transfer-Encoding: chunked alone is understood");
  if (!is_chunked) return Wrong(400, "Transfer-Encoding: names no coding");
  return std::nullopt;
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
                      HttpRequest head, HttpServer::Refusal refusal)
      : connection_(std::move(connection)),
        request_(request),
        head_(std::move(head)),
        refusal_(std::move(refusal)) {}
  ~ConnectionResponder() override {
    if (!has_begun_) send(refusal_(head_, 500, "the request was not answered"));
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
  const HttpRequest head_;
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

void HttpConnection::start() { await_request(); }

void HttpConnection::set_timeout(std::chrono::seconds timeout) { stream_.expires_after(timeout); }

/// Waits for a request's first bytes, which may take long, unless they are here already.
void HttpConnection::await_request() {
  is_reading_ = true;
  if (buffer_.size() > 0) return read_header();
  set_timeout(context_->options.idle_timeout);
  stream_.async_read_some(buffer_.prepare(4u << 10),
                          [self = shared_from_this()](beast::error_code failure, std::size_t size) {
                            if (failure) return self->close();
                            self->buffer_.commit(size);
                            self->read_header();
                          });
}

void HttpConnection::read_header() {
  parser_.emplace();
  parser_->eager(true);
  parser_->body_limit(context_->options.bodies.size_max);
  parser_->header_limit(static_cast<std::uint32_t>(context_->options.header_size_max));
  set_timeout(context_->options.read_timeout);
  http::async_read_header(stream_, buffer_, *parser_,
                          [self = shared_from_this()](beast::error_code failure, std::size_t) {
                            self->on_header(failure);
                          });
}

void HttpConnection::on_header(beast::error_code failure) {
  if (failure == http::error::header_limit) return refuse(431, "the headers are too large");
  if (failure == http::error::body_limit) return refuse(413, too_large_message());
  if (failure == http::error::end_of_stream || is_of_the_network(failure)) return close();
  if (failure) return refuse(400, "not an HTTP request: " + failure.message());
  if (is_well_formed()) begin_body();
}

bool HttpConnection::is_well_formed() {
  const http::request<http::string_body>& read = parser_->get();
  const std::size_t hosts = read.count(http::field::host);
  std::string_view target(read.target().data(), read.target().size());
  // Two could be read as different ones by us and by what stands between the client and us.
  if (hosts > 1) {
    refuse(400, "the request has several Host headers");
  } else if (hosts == 0 && read.version() >= 11) {
    refuse(400, "the request has no Host header");
  } else if (hosts == 1 && read[http::field::host].empty() && take_authority(target).empty()) {
    refuse(400, "the Host header is empty");
  } else if (const auto wrong = wrong_transfer_coding(read)) {
    refuse(wrong->first, wrong->second);
  } else if (const auto encoding = read[http::field::content_encoding];
             !encoding.empty() && !beast::iequals(encoding, "identity")) {
    HttpResponse response = context_->refusal(
        request_without_body(), 415,
        fmt::format("Content-Encoding: {}: bodies are read as they are; send it unencoded",
                    std::string_view(encoding.data(), encoding.size())));
    response.headers.emplace_back("Accept-Encoding", "identity");
    refuse(std::move(response));
  } else {
    return true;
  }
  return false;
}

void HttpConnection::begin_body() {
  const BodyLimits& limits = context_->options.bodies;
  body_deadline_ = kTimedBodyPart;
  if (parser_->is_done()) return dispatch();
  const auto length = parser_->content_length();
  if (length && *length > limits.small_size_max) return wait_for_large_room(*length);
  body_leased_ = length ? *length : std::min(kUnknownBodyPart, limits.small_size_max);
  context_->small_bodies->acquire(
      body_leased_, std::chrono::steady_clock::now(),
      [self = shared_from_this()](BodyLease lease) { self->on_room(std::move(lease)); });
}

void HttpConnection::wait_for_large_room(std::size_t size) {
  if (context_->admission) {
    if (auto response = context_->admission(request_without_body())) {
      return refuse(std::move(*response));
    }
  }
  body_leased_ = size;
  context_->large_bodies->acquire(
      size, std::chrono::steady_clock::now(),
      [self = shared_from_this()](BodyLease lease) { self->on_room(std::move(lease)); });
}

void HttpConnection::on_room(BodyLease lease) {
  if (is_closed_) return;
  if (lease == nullptr) {
    HttpResponse response = context_->refusal(
        request_without_body(), 503,
        "other large requests are being read, and there is no memory for one more; come back soon");
    response.headers.emplace_back("Retry-After", "1");
    return refuse(std::move(response));
  }
  body_lease_ = std::move(lease);
  if (parser_->get().body().empty() &&
      beast::iequals(parser_->get()[http::field::expect], "100-continue")) {
    // Nothing else is being written: the request before has been answered.
    queue(kContinue);
  }
  set_timeout(context_->options.read_timeout);
  read_body();
}

void HttpConnection::read_body() {
  http::async_read_some(stream_, buffer_, *parser_,
                        [self = shared_from_this()](beast::error_code failure, std::size_t) {
                          self->on_body(failure);
                        });
}

void HttpConnection::on_body(beast::error_code failure) {
  if (failure == http::error::body_limit) return refuse(413, too_large_message());
  if (is_of_the_network(failure)) return close();
  if (failure) return refuse(400, "not an HTTP request: " + failure.message());
  if (parser_->is_done()) return dispatch();
  const std::size_t size = parser_->get().body().size();
  if (size >= body_leased_ && !parser_->content_length()) {
    return wait_for_large_room(context_->options.bodies.size_max);
  }
  if (size >= body_deadline_) {
    body_deadline_ = size + kTimedBodyPart;
    set_timeout(context_->options.read_timeout);
  }
  read_body();
}

std::string HttpConnection::too_large_message() const {
  return fmt::format("the body is larger than the {} that this server takes",
                     format_size(context_->options.bodies.size_max));
}

void HttpConnection::refuse(unsigned status, const std::string& message) {
  refuse(context_->refusal(request_without_body(), status, message));
}

void HttpConnection::refuse(HttpResponse response) {
  is_reading_ = false;
  ++request_;
  is_answering_ = true;
  has_begun_ = false;
  is_head_ = false;
  keeps_alive_ = false;
  // What has come of the body is of no use any more.
  parser_.reset();
  body_lease_.reset();
  send(std::move(response), /*is_whole=*/true);
}

HttpRequest HttpConnection::request_without_body() const {
  const http::request<http::string_body>& read = parser_->get();
  HttpRequest request;
  request.method = std::string(read.method_string());
  std::string_view target(read.target().data(), read.target().size());
  const std::string_view authority = take_authority(target);
  const std::size_t question = std::min(target.find('?'), target.size());
  request.path = question == 0 ? "/" : percent_decoded(target.substr(0, question));
  if (question < target.size()) request.query = target.substr(question + 1);
  for (const auto& field : read) {
    const bool is_replaced = field.name() == http::field::host && !authority.empty();
    request.headers.emplace_back(std::string(field.name_string()),
                                 is_replaced ? std::string(authority) : std::string(field.value()));
  }
  request.remote = remote_;
  return request;
}

void HttpConnection::dispatch() {
  is_reading_ = false;
  stream_.expires_never();
  http::request<http::string_body>& read = parser_->get();
  is_answering_ = true;
  has_begun_ = false;
  is_head_ = read.method() == http::verb::head;
  is_chunked_ = read.version() >= 11;
  keeps_alive_ = read.keep_alive();
  on_gone_ = nullptr;
  HttpRequest request = request_without_body();
  const auto responder = std::make_shared<ConnectionResponder>(shared_from_this(), ++request_,
                                                               request, context_->refusal);
  request.body = std::move(read.body());
  request.body_lease = std::move(body_lease_);
  watch();
  try {
    context_->handler(std::move(request), responder);
  } catch (const std::exception& failure) {
    responder->send(context_->refusal(request_without_body(), 500, failure.what()));
  }
}

void HttpConnection::watch() {
  stream_.socket().async_wait(
      tcp::socket::wait_read,
      [self = shared_from_this(), request = request_](beast::error_code failure) {
        if (self->is_closed_ || self->request_ != request || !self->is_answering_) return;
        if (failure) return self->close();
        char next = 0;
        self->stream_.socket().receive(asio::buffer(&next, 1), tcp::socket::message_peek, failure);
        // Bytes of a next request say nothing of whether the client stays.
        if (!failure || failure == asio::error::would_block) return;
        failure == asio::error::eof ? self->on_half_close() : self->close();
      });
}

/// The client sends no more. Either it waits for its answer, or it has gone: TCP does not say
/// which, but answers bytes to one that has gone with a reset. So it is sent some that mean nothing
/// to HTTP/1.1: before the response that it is to be continued, within it a zero before the size of
/// the next chunk.
void HttpConnection::on_half_close() {
  if (is_chunked_ && !has_begun_) queue(kContinue);
  if (is_chunked_ && has_begun_ && !is_head_) queue("0");
  if (is_closed_) return;
  stream_.socket().async_wait(tcp::socket::wait_error,
                              [self = shared_from_this(), request = request_](beast::error_code) {
                                if (self->request_ == request && self->is_answering_) self->close();
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
  asio::dispatch(stream_.get_executor(),
                 [self = shared_from_this(), request, part = std::move(part), is_last] {
                   if (self->request_ != request || !self->is_answering_) return;
                   self->queue_part(part);
                   if (is_last && !self->is_closed_) self->end_parts();
                 });
}

void HttpConnection::queue_part(const std::string& part) {
  if (part.empty() || is_head_) return;
  queue(is_chunked_ ? beast::buffers_to_string(http::make_chunk(asio::buffer(part))) : part);
}

void HttpConnection::end_parts() {
  if (is_chunked_ && !is_head_ && !is_closed_) {
    // A response that is whole is nobody's backlog, however large its last part.
    backlog_ += beast::buffers_to_string(http::make_chunk_last());
    flush();
  }
  finish_response();
}

void HttpConnection::send_more() {
  while (more_ && !is_writing_ && !is_closed_) {
    const std::string part = is_head_ ? std::string() : more_();
    if (!part.empty()) {
      queue_part(part);
      continue;
    }
    more_ = nullptr;
    end_parts();
  }
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
  has_begun_ = true;
  more_ = std::move(response.more);
  is_whole = is_whole && !more_;
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
  send_more();
}

void HttpConnection::queue(std::string bytes) {
  if (is_closed_) return;
  if (backlog_.empty()) {
    backlog_ = std::move(bytes);
  } else {
    backlog_ += bytes;
  }
  // One response may be as large as it is; what may not pile up is what a client lets wait.
  if (is_writing_ && is_too_far_behind()) return close();
  flush();
}

bool HttpConnection::is_too_far_behind() const {
  const HttpServerOptions& options = context_->options;
  if (backlog_.size() > options.backlog_max) return true;
  const std::set<HttpConnection*>& writing = context_->writing;
  if (writing.size() < 2 || backlog_size() <= options.backlogs_max / writing.size()) return false;
  std::size_t total = 0;
  for (const HttpConnection* connection : writing) total += connection->backlog_size();
  return total > options.backlogs_max;
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
  being_written_ = {};
  context_->writing.erase(this);
  if (failure) return close();
  if (is_closed_) return;
  if (!backlog_.empty()) return flush();
  if (more_) return send_more();
  if (is_answering_) return stream_.expires_never();
  if (is_reading_) return;  // that was "100 Continue"
  // The response is with the system; the next request may come.
  if (!keeps_alive_) return linger();
  await_request();
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
  more_ = nullptr;
  if (is_answering_ && on_gone_) std::exchange(on_gone_, nullptr)();
}

}  // namespace flashmoe
