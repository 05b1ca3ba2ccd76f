#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/model_argument.h"
#include "cli/output.h"
#include "tokenizer/tokenizer.h"

namespace flashmoe::cli {
namespace {

using Json = nlohmann::ordered_json;

struct TokenizeOptions {
  std::string model;
  std::string text;
  bool has_text = false;
  std::string path;
  bool decode = false;
  bool jsonl = false;
};

constexpr const char* kTokenizeExamples = R"(
Examples:
  flash-moe tokenize MODEL --text "Hello"  # prints [9707]
  flash-moe tokenize MODEL --file page.txt
  flash-moe tokenize MODEL --decode --text "[9707]"  # prints Hello
  flash-moe tokenize MODEL --jsonl < strings.jsonl  # an array of ids for each JSON string
  flash-moe tokenize MODEL --jsonl --decode < ids.jsonl)";

std::string dump(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// One line of --jsonl: a JSON string to its ids, or with --decode the reverse.
Result<std::string> convert_line(const Tokenizer& tokenizer, std::string_view line, bool decode,
                                 const std::string& source) {
  if (decode) {
    FM_ASSIGN_OR_RETURN(const std::vector<TokenId> ids, parse_token_ids(line, source));
    const Result<std::string> text = tokenizer.decode(ids);
    if (!text.ok()) return text.status().with_prefix(source);
    return dump(*text);
  }
  const Json json = Json::parse(line, nullptr, false);
  if (!json.is_string()) {
    return error(StatusCode::kInvalidArgument, "{}: not a JSON string", source);
  }
  Result<std::vector<TokenId>> ids = tokenizer.encode_raw(json.get_ref<const std::string&>());
  if (!ids.ok()) return ids.status().with_prefix(source);
  return dump(*ids);
}

Status convert_lines(const Tokenizer& tokenizer, std::string_view text, bool decode,
                     const std::string& name) {
  std::string out;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    FM_ASSIGN_OR_RETURN(
        const std::string converted,
        convert_line(tokenizer, line, decode, fmt::format("{}, line {}", name, number)));
    out += converted;
    out += '\n';
  }
  return print(out);
}

Status tokenize(const TokenizeOptions& options) {
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Tokenizer::load(options.model));
  const std::string path = options.path.empty() ? "-" : options.path;
  std::string text = options.text;
  if (!options.has_text) {
    FM_ASSIGN_OR_RETURN(text, read_text_file(path));
  }
  const std::string name = options.has_text ? "--text" : (path == "-" ? "standard input" : path);
  if (options.jsonl) return convert_lines(*tokenizer, text, options.decode, name);
  if (options.decode) {
    FM_ASSIGN_OR_RETURN(const std::vector<TokenId> ids, parse_token_ids(text, name));
    const Result<std::string> decoded = tokenizer->decode(ids);
    if (!decoded.ok()) return decoded.status().with_prefix(name);
    return print(*decoded + "\n");
  }
  const Result<std::vector<TokenId>> ids = tokenizer->encode_raw(text);
  if (!ids.ok()) return ids.status().with_prefix(name);
  return print(dump(*ids) + "\n");
}

}  // namespace

void add_tokenize(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command = app.add_subcommand("tokenize", "Turn text into token ids, or back");
  add_model_argument(*command, options->model, "Folder with tokenizer.json");
  CLI::Option* text =
      command->add_option("--text", options->text, "The text (with --decode: the ids)")
          ->type_name("TEXT");
  command
      ->add_option("--file", options->path,
                   "Take it from a file; - is standard input, the default without --text")
      ->type_name("FILE")
      ->excludes(text);
  command->add_flag("--decode", options->decode, "Turn ids into text");
  command->add_flag("--jsonl", options->jsonl,
                    "One JSON string (with --decode: one array of ids) per line, in and out");
  command->footer(kTokenizeExamples);
  command->callback([options, text, &exit_code] {
    options->has_text = text->count() > 0;
    const Status status = tokenize(*options);
    exit_code = status.ok() ? kExitOk : report(status);
  });
}

}  // namespace flashmoe::cli
