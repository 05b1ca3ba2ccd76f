#include "server/response_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace flashmoe::server {
namespace {

/// What an entry takes beside its texts, roughly.
constexpr std::uint64_t kEntryBytes = 512;

ApiError not_kept(const std::string& id) {
  return {.status = 404,
          .message = fmt::format("response '{}' not found: this server has the latest in memory, "
                                 "but for those with \"store\": false",
                                 id),
          .code = "not_found"};
}

ApiError cannot_go_on(const std::string& id) {
  ApiError error = not_kept(id);
  error.message =
      fmt::format("previous_response_id: {}; send the whole conversation as input", error.message);
  error.param = "previous_response_id";
  error.code = "previous_response_not_found";
  return error;
}

}  // namespace

void ResponseStore::put(const Response& response) {
  Entry entry{.id = response.id,
              .previous_id = response.previous_id,
              .messages = dump(response.messages),
              .whole = dump(response.whole)};
  entry.bytes = kEntryBytes + entry.messages.size() + entry.whole.size();
  for (const Json& item : response.whole.at("output")) {
    entry.item_ids.push_back(item.value("id", Json("")).get<std::string>());
    entry.bytes += entry.item_ids.back().size();
  }
  const std::lock_guard lock(mutex_);
  if (entry.bytes > bytes_max_) return;
  bytes_ += entry.bytes;
  entries_.push_back(std::move(entry));
  touch(std::prev(entries_.end()));
  while (bytes_ > bytes_max_) drop(entries_.begin());
}

ApiResult<Json> ResponseStore::conversation(const std::string& id) {
  std::vector<Json> parts;  // the last first
  {
    const std::lock_guard lock(mutex_);
    std::string next = id;
    while (!next.empty()) {
      const Position found = find(next);
      if (found == entries_.end()) return cannot_go_on(next);
      parts.push_back(Json::parse(found->messages));
      next = found->previous_id;
    }
    touch(find(id));
  }
  Json messages = Json::array();
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    for (Json& message : *part) messages.push_back(std::move(message));
  }
  return messages;
}

ApiResult<std::string> ResponseStore::get(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const Position found = find(id);
  if (found == entries_.end()) return not_kept(id);
  return found->whole;
}

ApiResult<std::string> ResponseStore::erase(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const Position found = find(id);
  if (found == entries_.end()) return not_kept(id);
  drop(found);
  return dump({{"id", id}, {"object", "response"}, {"deleted", true}});
}

std::optional<Json> ResponseStore::item(std::string_view id) {
  const std::lock_guard lock(mutex_);
  for (const Entry& entry : entries_) {
    const auto found = std::ranges::find(entry.item_ids, id);
    if (found == entry.item_ids.end()) continue;
    const auto index = static_cast<std::size_t>(found - entry.item_ids.begin());
    return Json::parse(entry.whole).at("output").at(index);
  }
  return std::nullopt;
}

std::uint64_t ResponseStore::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

ResponseStore::Position ResponseStore::find(std::string_view id) {
  return std::ranges::find_if(entries_, [&](const Entry& entry) { return entry.id == id; });
}

void ResponseStore::touch(Position position) {
  while (position != entries_.end()) {
    entries_.splice(entries_.end(), entries_, position);
    position = position->previous_id.empty() ? entries_.end() : find(position->previous_id);
  }
}

void ResponseStore::drop(Position position) {
  bytes_ -= position->bytes;
  entries_.erase(position);
}

}  // namespace flashmoe::server
