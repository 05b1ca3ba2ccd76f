#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/output.h"
#include "format/json_file.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace flashmoe::cli {
namespace {

struct RenderCommandOptions {
  std::string folder;
  std::string path = "-";
  bool ids = false;
};

constexpr const char* kRenderExamples = R"(
FOLDER needs no weights: chat_template.jinja or tokenizer_config.json. FILE is a JSON object:
  {"messages": [{"role": "user", "content": "Hello"}],
   "tools": null, "add_generation_prompt": true, "kwargs": {"enable_thinking": false}}

With --ids it prints token ids: the text of a control token that a message holds stays text.

Examples:
  flash-moe render FOLDER conversation.json
  flash-moe render FOLDER conversation.json --ids
  echo '{"messages": [{"role": "user", "content": "Hello"}]}' | flash-moe render FOLDER)";

Status render(const RenderCommandOptions& options) {
  FM_ASSIGN_OR_RETURN(ChatTemplate chat_template, ChatTemplate::load(options.folder));
  std::unique_ptr<Tokenizer> tokenizer;
  if (options.ids) {
    FM_ASSIGN_OR_RETURN(tokenizer, Tokenizer::load(options.folder));
    chat_template.learn_reply_marks(*tokenizer, {});
  }
  FM_ASSIGN_OR_RETURN(const std::string text, read_text_file(options.path));
  const std::string name = options.path == "-" ? "standard input" : options.path;
  nlohmann::ordered_json request;
  try {
    request = nlohmann::ordered_json::parse(text);
  } catch (const nlohmann::json::exception& failure) {
    return error(StatusCode::kInvalidArgument, "{}: not usable JSON: {}", name,
                 json_error_text(failure));
  }
  if (!request.is_object() || !request.contains("messages")) {
    return error(StatusCode::kInvalidArgument, "{}: must be a JSON object with \"messages\"", name);
  }
  const nlohmann::ordered_json add =
      request.value("add_generation_prompt", nlohmann::ordered_json(true));
  if (!add.is_boolean()) {
    return error(StatusCode::kInvalidArgument, "{}: add_generation_prompt must be true or false",
                 name);
  }
  const Result<ChatPrompt> prompt = chat_template.render(
      request["messages"], request.value("tools", nlohmann::ordered_json()), add.get<bool>(),
      request.value("kwargs", nlohmann::ordered_json::object()));
  if (!prompt.ok()) return prompt.status().with_prefix(name);
  if (tokenizer == nullptr) return print(prompt->text);
  const Result<std::vector<TokenId>> ids = tokenizer->encode(*prompt);
  if (!ids.ok()) return ids.status().with_prefix(name);
  return print(nlohmann::json(*ids).dump() + "\n");
}

}  // namespace

void add_render(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<RenderCommandOptions>();
  CLI::App* command =
      app.add_subcommand("render", "Print the prompt that a chat template makes of a conversation");
  command->add_option("FOLDER", options->folder, "Folder with the tokenizer's files")->required();
  command->add_option("FILE", options->path, "Conversation; - is standard input")
      ->capture_default_str();
  command->add_flag("--ids", options->ids, "Print token ids rather than text");
  command->footer(kRenderExamples);
  command->callback([options, &exit_code] {
    const Status status = render(*options);
    exit_code = status.ok() ? kExitOk : report(status);
  });
}

}  // namespace flashmoe::cli
