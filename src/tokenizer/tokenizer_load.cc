#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "base/model_download.h"
#include "base/units.h"
#include "base/utf8.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_file.h"
#include "tokenizer/tokenizer_state.h"

namespace flashmoe {
namespace {

// The largest real files have 33 MB (tokenizer.json) and a few hundred kB.
constexpr std::uintmax_t kTokenizerSizeMax = 512 << 20;
constexpr std::uintmax_t kConfigSizeMax = 64 << 20;
constexpr std::size_t kConfigDepthMax = 64;

Result<std::ifstream> open_file(const std::filesystem::path& path, std::uintmax_t size_max) {
  std::error_code failure;
  if (!std::filesystem::is_regular_file(path, failure)) {
    return error(StatusCode::kNotFound,
                 "no such file; a model folder as downloaded has one beside config.json");
  }
  const std::uintmax_t size = std::filesystem::file_size(path, failure);
  if (!failure && size > size_max) {
    return error(StatusCode::kCorrupt, "is {} long; {} is the limit", format_size(size),
                 format_size(size_max));
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return error(StatusCode::kIo, "cannot be read; check its permissions");
  return file;
}

// A small file as JSON, nested at most kConfigDepthMax deep.
template <typename Input>
Result<nlohmann::json> parse_config(Input&& input) {
  bool too_deep = false;
  const auto limit_depth = [&too_deep](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    too_deep |= depth > static_cast<int>(kConfigDepthMax);
    return !too_deep;
  };
  nlohmann::json config = nlohmann::json::parse(std::forward<Input>(input), limit_depth,
                                                /*allow_exceptions=*/false);
  if (too_deep) return error(StatusCode::kCorrupt, "nests deeper than {} levels", kConfigDepthMax);
  if (!config.is_object()) return error(StatusCode::kCorrupt, "is not a JSON object");
  return config;
}

// "bos_token": a string, or an added token with its content.
Result<std::optional<std::string>> token_text(const JsonNode& node) {
  if (node.is_object()) return node.optional_string("content");
  if (node.is_null()) return std::optional<std::string>();
  FM_ASSIGN_OR_RETURN(std::string text, node.as_string());
  return std::optional<std::string>(std::move(text));
}

// What is wrong with the file at `path`, with the remedy.
Status of_file(const std::filesystem::path& path, const Status& status) {
  if (status.code() != StatusCode::kCorrupt) return status.with_prefix(path.string());
  return error(StatusCode::kCorrupt, "{}: {}; download the file again", path.string(),
               status.message());
}

}  // namespace

Result<std::unique_ptr<Tokenizer::State>> Tokenizer::State::build(const TokenizerFile& file) {
  const JsonNode root(file.document, "");
  auto state = std::make_unique<State>();
  FM_ASSIGN_OR_RETURN(state->normalizer, Normalizer::from_json(root.field("normalizer")));
  FM_ASSIGN_OR_RETURN(state->pre_tokenizer, PreTokenizer::from_json(root.field("pre_tokenizer")));
  FM_ASSIGN_OR_RETURN(state->decoder, TokenDecoder::from_json(root.field("decoder")));
  const bool byte_level = state->pre_tokenizer.byte_level();
  if (byte_level != state->decoder.byte_level()) {
    return root.field("decoder").unsupported(
        "ByteLevel must be in both pre_tokenizer and decoder, or in neither");
  }
  FM_ASSIGN_OR_RETURN(state->model, BpeModel::build(file, root.field("model"), byte_level));
  FM_ASSIGN_OR_RETURN(state->added_tokens, AddedToken::list_from_json(root.field("added_tokens")));
  FM_ASSIGN_OR_RETURN(state->frame, SpecialTokenFrame::from_json(root.field("post_processor")));

  std::sort(state->added_tokens.begin(), state->added_tokens.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  state->vocab_size = state->model.vocabulary().size();
  PatternScratch scratch;
  std::vector<const AddedToken*> raw_tokens;
  std::vector<const AddedToken*> normalized_tokens;
  std::vector<std::string> raw_contents;
  std::vector<std::string> normalized_contents;
  for (const AddedToken& token : state->added_tokens) {
    state->vocab_size = std::max(state->vocab_size, static_cast<std::size_t>(token.id) + 1);
    if (token.normalized) {
      std::string buffer;
      std::vector<TextSpan> no_spans;
      FM_ASSIGN_OR_RETURN(const std::string_view content,
                          state->normalizer.apply(token.content, buffer, scratch, no_spans));
      normalized_tokens.push_back(&token);
      normalized_contents.emplace_back(content);
    } else {
      raw_tokens.push_back(&token);
      raw_contents.push_back(token.content);
    }
  }
  state->raw_finder = AddedTokenFinder(std::move(raw_tokens), raw_contents);
  state->normalized_finder = AddedTokenFinder(std::move(normalized_tokens), normalized_contents);
  for (const auto& ids : {state->frame.prefix, state->frame.suffix}) {
    for (const TokenId id : ids) {
      if (const Status known = state->check_id(id); !known.ok()) {
        return root.field("post_processor").corrupt(known.message());
      }
    }
  }
  return state;
}

Status Tokenizer::State::read_special_tokens(const nlohmann::json& config) {
  const JsonNode root(config, "");
  FM_ASSIGN_OR_RETURN(std::optional<std::string> bos, token_text(root.field("bos_token")));
  FM_ASSIGN_OR_RETURN(std::optional<std::string> eos, token_text(root.field("eos_token")));
  if (bos.has_value()) bos_token = std::move(bos);
  if (eos.has_value()) {
    end_tokens.insert(end_tokens.begin(), *eos);  // the file that counts most is read last
    eos_token = std::move(eos);
  }
  return Status();
}

Status Tokenizer::State::read_config(const nlohmann::json& config) {
  const JsonNode root(config, "");
  FM_RETURN_IF_ERROR(read_special_tokens(config));
  // Said here, it overrides the template of tokenizer.json (DeepSeek has none there).
  const auto set = [&](const char* flag, const char* name, const std::optional<std::string>& token,
                       bool at_front, std::vector<TokenId>& side) -> Status {
    FM_ASSIGN_OR_RETURN(const bool is_wanted, root.boolean(flag, false));
    if (root.field(flag).is_null() || !token.has_value()) return Status();
    const auto added =
        std::find_if(added_tokens.begin(), added_tokens.end(),
                     [&](const AddedToken& candidate) { return candidate.content == *token; });
    if (added == added_tokens.end()) {
      if (!is_wanted) return Status();
      return root.field(name).corrupt(quote_bytes(*token) + " is no added token of tokenizer.json");
    }
    const bool is_there = std::find(side.begin(), side.end(), added->id) != side.end();
    if (is_wanted && !is_there) side.insert(at_front ? side.begin() : side.end(), added->id);
    if (!is_wanted) std::erase(side, added->id);
    return Status();
  };
  FM_RETURN_IF_ERROR(set("add_bos_token", "bos_token", bos_token, true, frame.prefix));
  return set("add_eos_token", "eos_token", eos_token, false, frame.suffix);
}

Result<std::unique_ptr<Tokenizer>> Tokenizer::load(const std::filesystem::path& folder) {
  FM_ASSIGN_OR_RETURN(const std::filesystem::path model_folder, find_model_folder(folder));
  const std::filesystem::path path = model_folder / "tokenizer.json";
  FM_RETURN_IF_ERROR(check_downloaded_text(path));
  std::unique_ptr<State> state;
  {
    const auto build = [&]() -> Result<std::unique_ptr<State>> {
      FM_ASSIGN_OR_RETURN(std::ifstream json, open_file(path, kTokenizerSizeMax));
      FM_ASSIGN_OR_RETURN(const TokenizerFile file, TokenizerFile::parse(json));
      return State::build(file);
    };
    Result<std::unique_ptr<State>> built = build();
    if (!built.ok()) return of_file(path, built.status());
    state = std::move(built).value();
  }
  // The second overrides the first, the older of the two.
  const std::pair<const char*, Status (State::*)(const nlohmann::json&)> configs[] = {
      {"special_tokens_map.json", &State::read_special_tokens},
      {"tokenizer_config.json", &State::read_config}};
  for (const auto& [name, read] : configs) {
    const std::filesystem::path config_path = model_folder / name;
    FM_RETURN_IF_ERROR(check_downloaded_text(config_path));
    if (std::error_code failure; !std::filesystem::exists(config_path, failure)) continue;
    const auto read_file = [&, read = read]() -> Status {
      FM_ASSIGN_OR_RETURN(std::ifstream json, open_file(config_path, kConfigSizeMax));
      FM_ASSIGN_OR_RETURN(const nlohmann::json config, parse_config(json));
      return ((*state).*read)(config);
    };
    if (const Status status = read_file(); !status.ok()) return of_file(config_path, status);
  }
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(state)));
}

Result<std::unique_ptr<Tokenizer>> Tokenizer::from_json(std::string_view tokenizer_json,
                                                        std::string_view config_json) {
  Result<TokenizerFile> file = TokenizerFile::parse(tokenizer_json);
  if (!file.ok()) return file.status().with_prefix("tokenizer.json");
  Result<std::unique_ptr<State>> state = State::build(*file);
  if (!state.ok()) return state.status().with_prefix("tokenizer.json");
  if (!config_json.empty()) {
    Result<nlohmann::json> config = parse_config(config_json);
    if (!config.ok()) return config.status().with_prefix("tokenizer_config.json");
    if (const Status status = (*state)->read_config(*config); !status.ok()) {
      return status.with_prefix("tokenizer_config.json");
    }
  }
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(state).value()));
}

}  // namespace flashmoe
