#include "server/response_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <system_error>
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

/// The value of `name` in a query; empty where there is none. As sent: ids and numbers need no
/// escapes.
std::string_view value_in(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    if (pair.starts_with(name) && pair.substr(name.size()).starts_with('=')) {
      return pair.substr(name.size() + 1);
    }
  }
  return {};
}

struct ItemPage {
  bool is_ascending = false;
  std::size_t limit = 20;
  std::string_view after;
};

ApiResult<ItemPage> read_page(std::string_view query) {
  ItemPage page{.after = value_in(query, "after")};
  const std::string_view order = value_in(query, "order");
  if (!order.empty() && order != "asc" && order != "desc") {
    return bad_request("order", "order: must be asc or desc");
  }
  page.is_ascending = order == "asc";
  const std::string_view limit = value_in(query, "limit");
  if (limit.empty()) return page;
  const auto [end, failure] =
      std::from_chars(limit.data(), limit.data() + limit.size(), page.limit);
  if (failure != std::errc() || end != limit.data() + limit.size() || page.limit < 1 ||
      page.limit > 100) {
    return bad_request("limit", "limit: must be a whole number from 1 to 100");
  }
  return page;
}

}  // namespace

void ResponseStore::put(const Response& response) {
  Entry entry{.id = response.id,
              .previous_id = response.previous_id,
              .messages = dump(response.messages),
              .input = dump(response.input),
              .whole = dump(response.whole)};
  entry.bytes = kEntryBytes + entry.messages.size() + entry.input.size() + entry.whole.size();
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

ApiResult<std::string> ResponseStore::input_items(const std::string& id, std::string_view query) {
  ApiResult<ItemPage> page = read_page(query);
  if (!page.ok()) return page.error();
  std::vector<Json> items;  // the newest first
  const auto add = [&items](Json list) {
    for (auto item = list.rbegin(); item != list.rend(); ++item) items.push_back(std::move(*item));
  };
  {
    const std::lock_guard lock(mutex_);
    Position found = find(id);
    if (found == entries_.end()) return not_kept(id);
    add(Json::parse(found->input));
    while (!found->previous_id.empty()) {
      found = find(found->previous_id);
      // Whoever erased it wants it listed no more.
      if (found == entries_.end()) break;
      add(Json::parse(found->whole).at("output"));
      add(Json::parse(found->input));
    }
  }
  if (page->is_ascending) std::ranges::reverse(items);
  std::size_t begin = 0;
  if (!page->after.empty()) {
    const auto at = std::ranges::find_if(
        items, [&](const Json& item) { return member(item, "id") == page->after; });
    if (at == items.end()) return bad_request("after", "after: no item of this response");
    begin = static_cast<std::size_t>(at - items.begin()) + 1;
  }
  const std::size_t end = std::min(items.size(), begin + page->limit);
  Json data = Json::array();
  for (std::size_t i = begin; i < end; ++i) data.push_back(std::move(items[i]));
  const Json first = data.empty() ? Json() : member(data.front(), "id");
  const Json last = data.empty() ? Json() : member(data.back(), "id");
  return dump({{"object", "list"},
               {"data", std::move(data)},
               {"first_id", first},
               {"last_id", last},
               {"has_more", end < items.size()}});
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
