#ifndef FLASHMOE_SERVER_RESPONSE_STORE_H_
#define FLASHMOE_SERVER_RESPONSE_STORE_H_

#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/api_error.h"
#include "server/fields.h"

namespace flashmoe::server {

/// Responses that clients may go on from or come back to, as OpenAI's API keeps them; here in
/// memory, at most `bytes_max` of them: those used longest ago go first, and never before those
/// that go on from them. Any thread may call it.
class ResponseStore {
 public:
  explicit ResponseStore(std::uint64_t bytes_max) : bytes_max_(bytes_max) {}

  struct Response {
    std::string id;
    std::string previous_id;  // of the response that it goes on from; empty: there is none
    Json messages;            // what it adds to the conversation: its input and its output
    Json input;               // the items of its input, each with an id, for those who list them
    Json whole;               // as its client was told
  };

  /// Keeps a response, unless it alone would be too large.
  void put(const Response& response);

  /// The messages of a whole conversation, up to and with the output of this response. Errors: 404
  /// if it, or one that it goes on from, is not kept.
  ApiResult<Json> conversation(const std::string& id);
  /// JSON. Errors: 404.
  ApiResult<std::string> get(const std::string& id);
  /// JSON: a page of the items that it was computed from, those of the responses that it goes on
  /// from included. `query`: of the request, with order (desc, the newest first, or asc), limit
  /// (1 to 100) and after (an item's id). Errors: 404; 400 for the query.
  ApiResult<std::string> input_items(const std::string& id, std::string_view query);
  /// Errors: 404.
  ApiResult<std::string> erase(const std::string& id);
  /// An item of a response's output, by the item's id.
  std::optional<Json> item(std::string_view id);

  std::uint64_t bytes() const;

 private:
  struct Entry {
    std::string id;
    std::string previous_id;
    std::string messages;  // JSON: text takes less memory than trees
    std::string input;
    std::string whole;
    std::vector<std::string> item_ids;  // of its output, in order
    std::uint64_t bytes = 0;
  };
  using Position = std::list<Entry>::iterator;

  // With mutex_ held.
  Position find(std::string_view id);
  /// Marks a response as used, and after it those that it goes on from.
  void touch(Position position);
  void drop(Position position);

  const std::uint64_t bytes_max_;
  mutable std::mutex mutex_;
  std::list<Entry> entries_;  // used longest ago first
  std::uint64_t bytes_ = 0;
};

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_RESPONSE_STORE_H_
