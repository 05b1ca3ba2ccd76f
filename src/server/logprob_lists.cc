#include "server/logprob_lists.h"

#include <fmt/format.h>

#include <utility>

namespace flashmoe::server {
namespace {

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
  // The prompt's last character is not completed by the answer, which is a text of its own.
  if (!token.is_of_prompt) {
    if (std::exchange(is_in_prompt_, false)) characters_.end_character();
  } else {
    is_in_prompt_ = true;
  }
  append_entry(text_offsets_, fmt::format("{}", characters_.place_of(text)));
  characters_.add(text);
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

bool CharacterCount::goes_on(char c) const {
  const auto byte = static_cast<unsigned char>(c);
  return missing_ > 0 && byte >= least_ && byte <= most_;
}

std::size_t CharacterCount::place_of(std::string_view text) const {
  return count_ - (!text.empty() && goes_on(text.front()) ? 1 : 0);
}

void CharacterCount::add(std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (goes_on(c)) {
      --missing_;
      least_ = 0x80;
      most_ = 0xBF;
      continue;
    }
    ++count_;
    missing_ = byte < 0xC2 || byte > 0xF4 ? 0 : byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
    // No long forms of short characters, no surrogates, nothing beyond U+10FFFF.
    least_ = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
    most_ = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
  }
}

void LogprobLists::go_on_after(const LogprobLists& before) {
  characters_ = before.characters_;
  characters_.end_character();
}

void LogprobLists::append(const LogprobLists* before, std::string& out) const {
  const auto list = [&](const char* name, std::string LogprobLists::*entries) {
    out += name;
    if (before != nullptr) {
      out += before->*entries;
      if (!(before->*entries).empty() && !(this->*entries).empty()) out += ',';
    }
    out += this->*entries;
  };
  list(R"({"tokens":[)", &LogprobLists::tokens_);
  list(R"(],"token_logprobs":[)", &LogprobLists::token_logprobs_);
  list(R"(],"top_logprobs":[)", &LogprobLists::top_logprobs_);
  list(R"(],"text_offset":[)", &LogprobLists::text_offsets_);
  out += "]}";
}

void LogprobLists::clear() {
  for (std::string* const list : {&tokens_, &token_logprobs_, &top_logprobs_, &text_offsets_}) {
    list->clear();
  }
}

}  // namespace flashmoe::server
