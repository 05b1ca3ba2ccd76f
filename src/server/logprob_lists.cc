#include "server/logprob_lists.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace flashmoe::server {
namespace {

bool is_inner_byte(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

/// Whether all of `bytes` is UTF-8.
bool is_utf8(std::string_view bytes) {
  try {
    static_cast<void>(Json(bytes).dump());
    return true;
  } catch (const Json::type_error&) {
    return false;
  }
}

void append_entry(std::string& list, std::string_view json) {
  if (!list.empty()) list += ',';
  list += json;
}

}  // namespace

std::string completion_token(std::string_view bytes) {
  if (is_utf8(bytes)) return std::string(bytes);
  std::string name = "bytes:";
  for (const char c : bytes) name += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return name;
}

void LogprobLists::add(const TokenInfo& token) {
  const std::string& text = token.text;
  append_entry(tokens_, dump(Json(completion_token(text))));
  // A token that begins within a character stands where that does.
  const bool begins_within = !text.empty() && is_inner_byte(text.front()) && characters_ > 0;
  append_entry(text_offsets_, fmt::format("{}", characters_ - (begins_within ? 1 : 0)));
  characters_ += static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return !is_inner_byte(c); }));
  if (token.is_first) {
    append_entry(token_logprobs_, "null");
    append_entry(top_logprobs_, "null");
    return;
  }
  append_entry(token_logprobs_, dump(Json(token.picked.logprob)));
  // The token itself is among them, likely or not.
  Json top = Json::object();
  for (const TokenInfo::Alternative& other : token.top) {
    top[completion_token(other.bytes)] = other.logprob;
  }
  top[completion_token(token.picked.bytes)] = token.picked.logprob;
  append_entry(top_logprobs_, dump(top));
}

std::string LogprobLists::take() {
  std::string object = R"({"tokens":[)" + std::exchange(tokens_, {}) + R"(],"token_logprobs":[)" +
                       std::exchange(token_logprobs_, {}) + R"(],"top_logprobs":[)" +
                       std::exchange(top_logprobs_, {}) + R"(],"text_offset":[)" +
                       std::exchange(text_offsets_, {}) + "]}";
  return object;
}

}  // namespace flashmoe::server
