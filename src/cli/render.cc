#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "base/result.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/output.h"
#include "tokenizer/chat_template.h"

namespace flashmoe::cli {
namespace {

struct RenderCommandOptions {
  std::string folder;
  std::string path = "-";
};

constexpr const char* kRenderExamples = R"(
FOLDER needs no weights: chat_template.jinja or tokenizer_config.json. FILE is a JSON object:
  {"messages": [{"role": "user", "content": "Hello"}],
   "tools": null, "add_generation_prompt": true, "kwargs": {"enable_thinking": false}}

Examples:
  flash-moe render FOLDER conversation.json
  echo '{"messages": [{"role": "user", "content": "Hello"}]}' | flash-moe render FOLDER)";

Status render(const RenderCommandOptions& options) {
  FM_ASSIGN_OR_RETURN(const ChatTemplate chat_template, ChatTemplate::load(options.folder));
  FM_ASSIGN_OR_RETURN(const std::string text, read_text_file(options.path));
  const std::string name = options.path == "-" ? "standard input" : options.path;
  const auto request = nlohmann::ordered_json::parse(text, nullptr, false);
  if (!request.is_object() || !request.contains("messages")) {
    return error(StatusCode::kInvalidArgument, "{}: must be a JSON object with \"messages\"", name);
  }
  const nlohmann::ordered_json add =
      request.value("add_generation_prompt", nlohmann::ordered_json(true));
  if (!add.is_boolean()) {
    return error(StatusCode::kInvalidArgument, "{}: add_generation_prompt must be true or false",
                 name);
  }
  const Result<std::string> prompt = chat_template.render(
      request["messages"], request.value("tools", nlohmann::ordered_json()), add.get<bool>(),
      request.value("kwargs", nlohmann::ordered_json::object()));
  if (!prompt.ok()) return prompt.status().with_prefix(name);
  return print(*prompt);
}

}  // namespace

void add_render(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<RenderCommandOptions>();
  CLI::App* command =
      app.add_subcommand("render", "Print the prompt that a chat template makes of a conversation");
  command->add_option("FOLDER", options->folder, "Folder with the tokenizer's files")->required();
  command->add_option("FILE", options->path, "Conversation; - is standard input")
      ->capture_default_str();
  command->footer(kRenderExamples);
  command->callback([options, &exit_code] {
    const Status status = render(*options);
    exit_code = status.ok() ? kExitOk : report(status);
  });
}

}  // namespace flashmoe::cli
