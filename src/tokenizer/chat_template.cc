#include "tokenizer/chat_template.h"

#include <array>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include "base/byte_order_mark.h"
#include "base/model_download.h"
#include "base/units.h"
#include "tokenizer/chat_messages.h"

namespace flashmoe {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr std::uintmax_t kMaxFileBytes = 64U << 20U;

Result<std::string> read_file(const fs::path& path) {
  std::error_code failure;
  const std::uintmax_t size = fs::file_size(path, failure);
  if (failure) {
    return error(StatusCode::kIo, "{}: {}", path.string(), failure.message());
  }
  if (size > kMaxFileBytes) {
    return error(StatusCode::kCorrupt, "{}: {}, more than {}", path.string(), format_size(size),
                 format_size(kMaxFileBytes));
  }
  std::ifstream in(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), {});
  if (!in || text.size() != size) {
    return error(StatusCode::kIo, "{}: read {} of {} bytes", path.string(), text.size(), size);
  }
  return text;
}

// The JSON object in a file, or an empty one if there is none.
Result<Json> read_object(const fs::path& path) {
  std::error_code failure;
  if (!fs::exists(path, failure)) return Json::object();
  FM_ASSIGN_OR_RETURN(const std::string text, read_file(path));
  Json config = Json::parse(text, nullptr, false);
  if (!config.is_object()) {
    return error(StatusCode::kCorrupt, "{}: not a JSON object; download the file again",
                 path.string());
  }
  return config;
}

// A special token is a string, or an object with its text in "content"; null ones stay undefined.
Json special_tokens_of(const Json& config) {
  static constexpr std::array<const char*, 7> kNames = {
      "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};
  Json tokens = Json::object();
  for (const char* name : kNames) {
    const auto found = config.find(name);
    if (found == config.end()) continue;
    const Json& token =
        found->is_object() && found->contains("content") ? (*found)["content"] : *found;
    if (token.is_string()) tokens[name] = token;
  }
  return tokens;
}

// The member "chat_template": a string, or a list of {name, template}. kNotFound without one.
Result<std::string> template_of(const Json& config, const fs::path& path) {
  const auto found = config.find("chat_template");
  if (found != config.end() && found->is_string()) return found->get<std::string>();
  if (found != config.end() && found->is_array()) {
    for (const Json& entry : *found) {
      if (entry.is_object() && entry.value("name", Json()) == "default" &&
          entry.contains("template") && entry["template"].is_string()) {
        return entry["template"].get<std::string>();
      }
    }
    return error(StatusCode::kNotFound, "{}: chat_template has no entry named \"default\"",
                 path.string());
  }
  if (found != config.end() && !found->is_null()) {
    return error(StatusCode::kCorrupt, "{}: chat_template must be a string or a list, not {}",
                 path.string(), found->type_name());
  }
  return error(StatusCode::kNotFound,
               "{}: no chat template (chat_template.jinja, chat_template.json, or chat_template in "
               "tokenizer_config.json): the model is for plain completion, or the download lacks "
               "the file",
               path.parent_path().string());
}

// Only the special tokens are the checkpoint's own. What an assistant said is the model's, but not
// what it passed to tools, which often repeats a file or a page.
jinja::OriginMap origins_of(const Json& variables, const Json& special_tokens,
                            const Json& extra_kwargs) {
  using jinja::Origin;
  static constexpr std::array<const char*, 4> kSaid = {"content", "reasoning_content", "reasoning",
                                                       "thinking"};
  jinja::OriginMap origins;
  for (auto entry = variables.begin(); entry != variables.end(); ++entry) {
    const bool is_own = special_tokens.contains(entry.key()) && !extra_kwargs.contains(entry.key());
    if (!is_own) origins.emplace(&entry.value(), Origin::kOutside);
  }
  for (const Json& message : variables["messages"]) {
    const auto role = message.find("role");
    if (role == message.end() || *role != "assistant") continue;
    for (const char* member : kSaid) {
      const auto said = message.find(member);
      if (said != message.end()) origins.emplace(&*said, Origin::kReply);
    }
  }
  return origins;
}

}  // namespace

Result<ChatTemplate> ChatTemplate::load(const fs::path& folder) {
  FM_ASSIGN_OR_RETURN(const fs::path model_folder, find_model_folder(folder));
  constexpr const char* kMapName = "special_tokens_map.json";
  for (const char* name :
       {kMapName, "tokenizer_config.json", "chat_template.jinja", "chat_template.json"}) {
    FM_RETURN_IF_ERROR(check_downloaded_text(model_folder / name));
  }
  const fs::path config_path = model_folder / "tokenizer_config.json";
  FM_ASSIGN_OR_RETURN(const Json config, read_object(config_path));
  fs::path source_path = model_folder / "chat_template.jinja";
  std::string source;
  std::error_code failure;
  if (fs::exists(source_path, failure)) {
    FM_ASSIGN_OR_RETURN(source, read_file(source_path));
  } else {
    source_path = config_path;
    Result<std::string> found = template_of(config, config_path);
    // Where processors of images keep theirs.
    const fs::path json_path = model_folder / "chat_template.json";
    if (found.status().code() == StatusCode::kNotFound && fs::exists(json_path, failure)) {
      source_path = json_path;
      FM_ASSIGN_OR_RETURN(const Json json, read_object(json_path));
      found = template_of(json, json_path);
    }
    FM_ASSIGN_OR_RETURN(source, std::move(found));
  }
  FM_ASSIGN_OR_RETURN(const Json map, read_object(model_folder / kMapName));
  Json special_tokens = special_tokens_of(map);
  special_tokens.update(special_tokens_of(config));
  auto loaded = parse(source, special_tokens);
  if (!loaded.ok()) return loaded.status().with_prefix(source_path.string());
  return loaded;
}

Result<ChatTemplate> ChatTemplate::parse(std::string_view source, const Json& special_tokens) {
  if (!special_tokens.is_object()) {
    return error(StatusCode::kInvalidArgument, "special tokens must be an object, not {}",
                 special_tokens.type_name());
  }
  source = without_byte_order_mark(source);
  FM_ASSIGN_OR_RETURN(jinja::Template parsed, jinja::Template::parse(source));
  ChatTemplate chat(source, std::move(parsed), special_tokens);
  chat.probe();
  return chat;
}

Json ChatTemplate::variables(const Json& tools, bool add_generation_prompt,
                             const Json& extra_kwargs) const {
  Json variables = special_tokens_;
  variables["tools"] = tools;
  variables["documents"] = nullptr;
  variables["add_generation_prompt"] = add_generation_prompt;
  for (auto entry = extra_kwargs.begin(); entry != extra_kwargs.end(); ++entry) {
    variables[entry.key()] = entry.value();
  }
  return variables;
}

Result<ChatPrompt> ChatTemplate::render(const Json& messages, const Json& tools,
                                        bool add_generation_prompt, const Json& extra_kwargs,
                                        const jinja::RenderOptions& options) const {
  if (!extra_kwargs.is_object() && !extra_kwargs.is_null()) {
    return error(StatusCode::kInvalidArgument, "chat template variables must be an object, not {}",
                 extra_kwargs.type_name());
  }
  FM_ASSIGN_OR_RETURN(Json adapted, adapt_messages(messages, traits_));
  Json all = variables(tools, add_generation_prompt, extra_kwargs);
  all["messages"] = std::move(adapted);
  jinja::RenderOptions marking = options;
  marking.origins = origins_of(all, special_tokens_, extra_kwargs);
  FM_ASSIGN_OR_RETURN(jinja::MarkedText text, template_.render(all, marking));
  std::vector<TextSpan> quoted = reply_marks_.quoted(text);
  return ChatPrompt{.text = std::move(text).take_bytes(), .quoted = std::move(quoted)};
}

// Renders one-turn conversations that hold an unmistakable word in the form to be tried. A form
// counts as understood if the word comes out, and comes out plainly rather than as the printed
// representation of a list or a twice-quoted string.
void ChatTemplate::probe() {
  const jinja::RenderOptions options{.limits = {.step_count = 200'000, .memory_bytes = 16U << 20U}};
  const Json user = {{"role", "user"}, {"content", "question"}};
  const auto rendered = [&](const Json& messages) {
    Json all = variables(nullptr, false, Json::object());
    all["messages"] = messages;
    auto text = template_.render(all, options);
    return text.ok() ? std::move(text).value().take_bytes() : std::string();
  };
  const auto holds = [](const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
  };
  const auto tool_turn = [&](const Json& content, const Json& arguments) {
    const Json call = {{"id", "call_000000"},
                       {"type", "function"},
                       {"function", {{"name", "tool"}, {"arguments", arguments}}}};
    Json turn = {{"role", "assistant"}, {"content", content}};
    turn["tool_calls"] = Json::array({call});
    return rendered(Json::array({user, turn}));
  };
  const Json object = {{"needle", "thread"}};
  const std::string as_string = R"({"needle": "thread"})";
  for (const Json& content : {Json(""), Json(nullptr)}) {
    const std::string from_object = tool_turn(content, object);
    const std::string from_string = tool_turn(content, as_string);
    traits_.takes_argument_objects |= holds(from_object, "needle");
    traits_.takes_argument_strings |= holds(from_string, as_string);
    if (content.is_null()) {
      traits_.takes_null_content =
          (holds(from_object, "needle") || holds(from_string, as_string)) &&
          !holds(from_object, "None") && !holds(from_string, "None");
    }
  }
  const Json parts = Json::array({{{"type", "text"}, {"text", "needle"}}});
  const std::string from_parts = rendered(Json::array({{{"role", "user"}, {"content", parts}}}));
  traits_.takes_content_parts = holds(from_parts, "needle") && !holds(from_parts, "'needle'") &&
                                !holds(from_parts, "\"needle\"");
}

}  // namespace flashmoe
