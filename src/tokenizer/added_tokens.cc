#include "tokenizer/added_tokens.h"

#include <utf8proc.h>

#include <algorithm>
#include <map>

#include "base/utf8.h"
#include "tokenizer/vocabulary.h"

namespace flashmoe {
namespace {

// A longer text is no control token; bounds the work of one comparison.
constexpr std::size_t kContentSizeMax = 4096;

bool is_word_character(char32_t c) {
  if (c == 0x200C || c == 0x200D) return true;  // the joiners
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return false;
  }
}

bool stands_alone(std::string_view text, std::size_t begin, std::size_t end) {
  if (begin > 0) {
    std::size_t offset = previous_offset(text, begin);
    if (is_word_character(next_code_point(text, offset))) return false;
  }
  if (end < text.size()) {
    std::size_t offset = end;
    if (is_word_character(next_code_point(text, offset))) return false;
  }
  return true;
}

}  // namespace

bool AddedToken::is_control() const {
  for (std::size_t offset = 0; offset < content.size();) {
    if (!is_white_space(next_code_point(content, offset))) return true;
  }
  return special;
}

Result<std::vector<AddedToken>> AddedToken::list_from_json(const JsonNode& node) {
  std::vector<AddedToken> tokens;
  if (node.is_null()) return tokens;
  std::map<std::string, TokenId, std::less<>> id_by_content;
  std::map<TokenId, std::string> content_by_id;
  FM_ASSIGN_OR_RETURN(const std::vector<JsonNode> entries, node.as_array());
  for (const JsonNode& entry : entries) {
    AddedToken token;
    const JsonNode id_node = entry.field("id");
    FM_ASSIGN_OR_RETURN(const std::int64_t id, id_node.as_integer());
    if (id < 0 || id >= Vocabulary::kIdEnd) {
      return id_node.corrupt(fmt::format("{} is not in [0, {})", id, Vocabulary::kIdEnd));
    }
    token.id = static_cast<TokenId>(id);
    FM_ASSIGN_OR_RETURN(token.content, entry.string("content"));
    if (token.content.size() > kContentSizeMax) {
      return entry.corrupt(fmt::format("content is longer than {} bytes", kContentSizeMax));
    }
    FM_ASSIGN_OR_RETURN(token.single_word, entry.boolean("single_word", false));
    FM_ASSIGN_OR_RETURN(token.lstrip, entry.boolean("lstrip", false));
    FM_ASSIGN_OR_RETURN(token.rstrip, entry.boolean("rstrip", false));
    FM_ASSIGN_OR_RETURN(token.special, entry.boolean("special", false));
    FM_ASSIGN_OR_RETURN(token.normalized, entry.boolean("normalized", !token.special));
    const auto [content, is_new_content] = id_by_content.emplace(token.content, token.id);
    const auto [other, is_new_id] = content_by_id.emplace(token.id, token.content);
    if (content->second != token.id) {
      return entry.corrupt(
          fmt::format("{} already has id {}", quote_bytes(token.content), content->second));
    }
    if (other->second != token.content) {
      return entry.corrupt(
          fmt::format("id {} already belongs to {}", token.id, quote_bytes(other->second)));
    }
    if (is_new_content && is_new_id) tokens.push_back(std::move(token));
  }
  return tokens;
}

AddedTokenFinder::AddedTokenFinder(std::vector<const AddedToken*> tokens,
                                   const std::vector<std::string>& contents) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (contents[i].empty()) continue;
    entries_.push_back(
        {.content = contents[i], .token = tokens[i], .is_control = tokens[i]->is_control()});
    first_bytes_[static_cast<unsigned char>(contents[i].front())] = true;
  }
  std::stable_sort(entries_.begin(), entries_.end(),
                   [](const Entry& a, const Entry& b) { return a.content < b.content; });
}

const AddedTokenFinder::Entry* AddedTokenFinder::longest_at(std::string_view text,
                                                            std::size_t control_size) const {
  // [low, high): the entries that begin with the first `size` bytes of `text`, by content. The one
  // of just these bytes comes first.
  auto low = entries_.begin();
  auto high = entries_.end();
  const Entry* longest = nullptr;
  for (std::size_t size = 1; size <= text.size(); ++size) {
    const std::size_t at = size - 1;
    const auto byte_at = [at](const Entry& entry) {
      return at < entry.content.size() ? static_cast<unsigned char>(entry.content[at]) : -1;
    };
    const int byte = static_cast<unsigned char>(text[at]);
    low = std::partition_point(low, high, [&](const Entry& e) { return byte_at(e) < byte; });
    high = std::partition_point(low, high, [&](const Entry& e) { return byte_at(e) == byte; });
    if (low == high) break;
    const bool may_be_read = size <= control_size || !low->is_control;
    if (low->content.size() == size && may_be_read) longest = &*low;
  }
  return longest;
}

void AddedTokenFinder::split(std::string_view text, bool skip_special,
                             std::span<const TextSpan> quoted, std::vector<Section>& out) const {
  std::size_t done = 0;
  for (std::size_t offset = 0; offset < text.size() && !entries_.empty();) {
    const Entry* entry = nullptr;
    if (first_bytes_[static_cast<unsigned char>(text[offset])]) {
      while (!quoted.empty() && quoted.front().end <= offset) quoted = quoted.subspan(1);
      const std::size_t quoted_at = quoted.empty() ? text.size() : quoted.front().begin;
      entry = longest_at(text.substr(offset), std::max(quoted_at, offset) - offset);
    }
    if (entry == nullptr) {
      ++offset;
      continue;
    }
    const AddedToken& token = *entry->token;
    std::size_t begin = offset;
    std::size_t end = offset + entry->content.size();
    offset = end;
    if (token.special && skip_special) continue;
    if (token.single_word && !stands_alone(text, begin, end)) continue;
    while (token.lstrip && begin > done) {
      const std::size_t previous = previous_offset(text, begin);
      std::size_t next = previous;
      if (!is_white_space(next_code_point(text, next))) break;
      begin = previous;
    }
    while (token.rstrip && end < text.size()) {
      std::size_t next = end;
      if (!is_white_space(next_code_point(text, next))) break;
      end = next;
    }
    begin = std::max(begin, done);
    if (end <= done) continue;  // swallowed by the one before
    if (begin > done) out.push_back({.begin = done, .end = begin});
    out.push_back({.begin = begin, .end = end, .token = &token});
    done = end;
    offset = end;
  }
  if (done < text.size()) out.push_back({.begin = done, .end = text.size()});
}

}  // namespace flashmoe
