#include "tokenizer/tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/utf8.h"
#include "tokenizer/detokenizer.h"
#include "tokenizer/tokenizer_state.h"

namespace flashmoe {
namespace {

Status too_many_tokens(std::size_t token_max) {
  return error(StatusCode::kOutOfBudget, "the text is more than {} tokens", token_max);
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tokenizer::~Tokenizer() = default;

Status Tokenizer::State::check_id(TokenId id) const {
  if (model.vocabulary().contains(id) || find_added(id) != nullptr) return Status();
  if (id >= 0 && static_cast<std::size_t>(id) < vocab_size) {
    return error(StatusCode::kInvalidArgument, "token id {} is unused in this vocabulary", id);
  }
  return error(StatusCode::kInvalidArgument, "token id {} is not in [0, {})", id, vocab_size);
}

const AddedToken* Tokenizer::State::find_added(TokenId id) const {
  const auto found =
      std::lower_bound(added_tokens.begin(), added_tokens.end(), id,
                       [](const AddedToken& token, TokenId wanted) { return token.id < wanted; });
  return found != added_tokens.end() && found->id == id ? &*found : nullptr;
}

Result<std::vector<TokenId>> Tokenizer::encode(std::string_view text,
                                               const EncodeOptions& options) const {
  if (const std::size_t offset = find_invalid_utf8(text); offset != std::string_view::npos) {
    return error(StatusCode::kInvalidArgument,
                 "the text is not valid UTF-8: byte 0x{:02X} at offset {} of {}",
                 static_cast<unsigned char>(text[offset]), offset, text.size());
  }
  const SpecialTokenFrame& frame = state_->frame;
  std::vector<TokenId> ids;
  if (options.add_special_tokens) ids = frame.prefix;
  std::unique_ptr<EncodeWorkspace> workspace = state_->workspaces.borrow();
  const Status status = state_->encode_text(text, options, *workspace, ids);
  state_->workspaces.give_back(std::move(workspace), text.size());
  FM_RETURN_IF_ERROR(status);
  if (options.add_special_tokens) {
    ids.insert(ids.end(), frame.suffix.begin(), frame.suffix.end());
  }
  return ids;
}

Result<std::vector<TokenId>> Tokenizer::encode_raw(std::string_view text,
                                                   std::size_t token_max) const {
  FM_ASSIGN_OR_RETURN(std::vector<TokenId> ids, encode(text, {.token_max = token_max}));
  const std::vector<TokenId>& prefix = state_->frame.prefix;
  const bool is_there =
      ids.size() >= prefix.size() && std::equal(prefix.begin(), prefix.end(), ids.begin());
  if (!is_there) ids.insert(ids.begin(), prefix.begin(), prefix.end());
  return ids;
}

Result<std::vector<TokenId>> Tokenizer::encode(const ChatPrompt& prompt, std::size_t begin) const {
  const std::string_view text = std::string_view(prompt.text).substr(begin);
  if (begin == 0) return encode(text, {.quoted = prompt.quoted});
  std::vector<TextSpan> quoted;
  for (const TextSpan& span : prompt.quoted) {
    if (span.end <= begin) continue;
    quoted.push_back({.begin = std::max(span.begin, begin) - begin, .end = span.end - begin});
  }
  return encode(text, {.quoted = quoted});
}

Status Tokenizer::State::encode_text(std::string_view text, const EncodeOptions& options,
                                     EncodeWorkspace& workspace, std::vector<TokenId>& ids) const {
  using AddedTokens = EncodeOptions::AddedTokens;
  const auto split = [&options](const AddedTokenFinder& finder, std::string_view section,
                                std::span<const TextSpan> quoted,
                                std::vector<AddedTokenFinder::Section>& out) {
    out.clear();
    if (options.added_tokens == AddedTokens::kNone) {
      out.push_back({.begin = 0, .end = section.size()});
    } else {
      finder.split(section, options.added_tokens == AddedTokens::kNotSpecial, quoted, out);
    }
  };
  split(raw_finder, text, options.quoted, workspace.raw_sections);
  std::span<const TextSpan> quoted = options.quoted;
  for (const AddedTokenFinder::Section& raw : workspace.raw_sections) {
    if (ids.size() > options.token_max) return too_many_tokens(options.token_max);
    if (raw.token != nullptr) {
      ids.push_back(raw.token->id);
      continue;
    }
    // Where the quoted spans are once the section is normalised.
    workspace.quoted.clear();
    while (!quoted.empty() && quoted.front().end <= raw.begin) quoted = quoted.subspan(1);
    for (const TextSpan& span : normalized_finder.empty() ? std::span<const TextSpan>() : quoted) {
      if (span.begin >= raw.end) break;
      workspace.quoted.push_back({.begin = std::max(span.begin, raw.begin) - raw.begin,
                                  .end = std::min(span.end, raw.end) - raw.begin});
    }
    FM_ASSIGN_OR_RETURN(
        const std::string_view normalized,
        normalizer.apply(text.substr(raw.begin, raw.end - raw.begin), workspace.normalized,
                         workspace.patterns, workspace.quoted));
    split(normalized_finder, normalized, workspace.quoted, workspace.normalized_sections);
    for (const AddedTokenFinder::Section& section : workspace.normalized_sections) {
      if (section.token != nullptr) {
        ids.push_back(section.token->id);
        continue;
      }
      const bool is_text_start = raw.begin == 0 && section.begin == 0;
      FM_RETURN_IF_ERROR(
          encode_normalized(normalized.substr(section.begin, section.end - section.begin),
                            is_text_start, options.token_max, workspace, ids));
    }
  }
  return ids.size() > options.token_max ? too_many_tokens(options.token_max) : Status();
}

Status Tokenizer::State::encode_normalized(std::string_view text, bool is_text_start,
                                           std::size_t token_max, EncodeWorkspace& workspace,
                                           std::vector<TokenId>& ids) const {
  // Before the text is cut into pieces, whose list takes more than the text: tokens are only so
  // long, and each piece is one at least.
  const std::size_t left = token_max - std::min(ids.size(), token_max);
  if (text.size() / model.token_size_max() > left) return too_many_tokens(token_max);
  PieceList& list = workspace.pieces;
  list.text = text;
  list.count_max = left;
  FM_RETURN_IF_ERROR(pre_tokenizer.apply(list, is_text_start, workspace.patterns));
  if (list.pieces.size() > left) return too_many_tokens(token_max);
  for (const PieceList::Piece span : list.pieces) {
    const std::string_view piece = list.text.substr(span.begin, span.size);
    if (ids.size() > token_max) return too_many_tokens(token_max);
    if (const auto known = workspace.cache.get(piece)) {
      ids.insert(ids.end(), known->begin(), known->end());
      continue;
    }
    const std::size_t begin = ids.size();
    FM_RETURN_IF_ERROR(model.encode(piece, workspace.bpe, ids));
    workspace.cache.put(piece, std::span<const TokenId>(ids).subspan(begin));
  }
  return ids.size() > token_max ? too_many_tokens(token_max) : Status();
}

void Tokenizer::set_word_size_max(std::size_t size) { state_->model.set_word_size_max(size); }

Result<std::string> Tokenizer::decode(std::span<const TokenId> ids,
                                      const DecodeOptions& options) const {
  std::string text;
  Detokenizer detokenizer(*this, options);
  for (const TokenId id : ids) FM_RETURN_IF_ERROR(detokenizer.push(id, text));
  detokenizer.finish(text);
  return text;
}

std::size_t Tokenizer::vocab_size() const { return state_->vocab_size; }

bool Tokenizer::is_token(TokenId id) const { return state_->check_id(id).ok(); }

bool Tokenizer::is_special(TokenId id) const {
  const AddedToken* added = state_->find_added(id);
  return added != nullptr && added->special;
}

bool Tokenizer::is_control(TokenId id) const {
  const AddedToken* added = state_->find_added(id);
  return added != nullptr && added->is_control();
}

std::vector<TokenId> Tokenizer::control_tokens() const {
  std::vector<TokenId> ids;
  for (const AddedToken& added : state_->added_tokens) {
    if (added.is_control()) ids.push_back(added.id);
  }
  return ids;
}

std::optional<TokenId> Tokenizer::token_to_id(std::string_view text) const {
  for (const AddedToken& token : state_->added_tokens) {
    if (token.content == text) return token.id;
  }
  return state_->model.vocabulary().find(text);
}

Result<std::string> Tokenizer::id_to_bytes(TokenId id) const {
  FM_RETURN_IF_ERROR(state_->check_id(id));
  if (const AddedToken* added = state_->find_added(id)) return added->content;
  std::string bytes;
  state_->decoder.append_bytes(state_->model.vocabulary().bytes(id), bytes);
  return bytes;
}

const std::optional<std::string>& Tokenizer::bos_token() const { return state_->bos_token; }
const std::optional<std::string>& Tokenizer::eos_token() const { return state_->eos_token; }

std::optional<TokenId> Tokenizer::bos_id() const {
  return state_->bos_token ? token_to_id(*state_->bos_token) : std::nullopt;
}

std::optional<TokenId> Tokenizer::eos_id() const {
  return state_->eos_token ? token_to_id(*state_->eos_token) : std::nullopt;
}

std::vector<TokenId> Tokenizer::end_ids() const {
  std::vector<TokenId> ids;
  for (const std::string& text : state_->end_tokens) {
    if (const std::optional<TokenId> id = token_to_id(text)) ids.push_back(*id);
  }
  return ids;
}

}  // namespace flashmoe
