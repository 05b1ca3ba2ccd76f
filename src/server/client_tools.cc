#include "server/client_tools.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace flashmoe::server {
namespace {

constexpr const char* kInput = "input";

/// Where the text begins in arguments that begin as they should: {"input": "
std::optional<std::size_t> begin_of_text(std::string_view arguments) {
  std::size_t at = 0;
  for (const std::string_view mark : {"{", "\"input\"", ":", "\""}) {
    at = std::min(arguments.find_first_not_of(" \t\r\n", at), arguments.size());
    if (!arguments.substr(at).starts_with(mark)) return std::nullopt;
    at += mark.size();
  }
  return at;
}

/// How many bytes the escape at the beginning of `text` takes: 0 if more has to come.
std::size_t escape_size(std::string_view text) {
  if (text.size() < 2) return 0;
  if (text[1] != 'u') return 2;
  if (text.size() < 6) return 0;
  // The first half of a character beyond 16 bits, whose second half is an escape as well.
  const bool is_half = (text[2] == 'd' || text[2] == 'D') &&
                       std::string_view("89abAB").find(text[3]) != std::string_view::npos;
  if (!is_half) return 6;
  if (text.size() < 7) return 0;
  if (text[6] != '\\') return 6;
  if (text.size() < 8) return 0;
  if (text[7] != 'u') return 6;
  return text.size() < 12 ? 0 : 12;
}

/// What an escape stands for; itself, where that is nothing.
std::string unescaped(std::string_view escape) {
  const Json value = Json::parse(fmt::format("\"{}\"", escape), nullptr, false);
  return value.is_string() ? value.get<std::string>() : std::string(escape);
}

}  // namespace

std::string ClientTools::offered_name(std::string_view name_space, std::string_view name) {
  if (name_space.empty()) return std::string(name);
  const bool is_joined = name_space.ends_with("__");
  return fmt::format("{}{}{}", name_space, is_joined ? "" : "__", name);
}

void ClientTools::add(ClientTool tool) {
  std::string offered = offered_name(tool.name_space, tool.name);
  tools_.insert_or_assign(std::move(offered), std::move(tool));
}

const ClientTool* ClientTools::find(std::string_view offered) const {
  const auto found = tools_.find(offered);
  return found == tools_.end() ? nullptr : &found->second;
}

Json function_of_custom_tool(const Json& tool) {
  Json function = {{"name", tool.value("name", Json(""))}};
  std::string description;
  if (const auto found = tool.find("description"); found != tool.end() && found->is_string()) {
    description = found->get<std::string>();
  }
  const auto format = tool.find("format");
  if (format != tool.end() && format->is_object() && format->value("type", Json()) == "grammar") {
    // Chat completions wrap it once more than responses do.
    const Json grammar = format->value("grammar", *format);
    const Json syntax = grammar.is_object() ? grammar.value("syntax", Json()) : Json();
    const Json rules = grammar.is_object() ? grammar.value("definition", Json()) : Json();
    if (syntax.is_string() && rules.is_string()) {
      if (!description.empty()) description += "\n\n";
      description += fmt::format("The input follows this {} grammar:\n{}",
                                 syntax.get<std::string>(), rules.get<std::string>());
    }
  }
  if (!description.empty()) function["description"] = description;
  function["parameters"] = {
      {"type", "object"},
      {"properties",
       {{kInput, {{"type", "string"}, {"description", "The text that the tool is given."}}}}},
      {"required", Json::array({kInput})},
      {"additionalProperties", false}};
  return function;
}

std::string custom_arguments(std::string_view input) {
  return fmt::format("{{\"{}\": {}}}", kInput, dump(Json(input)));
}

std::string CustomInput::add(std::string_view arguments) {
  arguments_ += arguments;
  if (has_ended_) return {};
  if (!has_begun_) {
    const std::optional<std::size_t> begin = begin_of_text(arguments_);
    if (!begin) return {};
    has_begun_ = true;
    at_ = *begin;
  }
  std::string known;
  while (at_ < arguments_.size() && !has_ended_) {
    const std::string_view rest = std::string_view(arguments_).substr(at_);
    has_ended_ = rest.front() == '"';
    const bool is_escape = rest.front() == '\\';
    const std::size_t size = is_escape ? escape_size(rest) : 1;
    if (size == 0) break;
    if (is_escape) {
      known += unescaped(rest.substr(0, size));
    } else if (!has_ended_) {
      known += rest.front();
    }
    at_ += size;
  }
  text_ += known;
  return known;
}

std::string CustomInput::finish() {
  if (has_begun_) return {};
  has_ended_ = true;
  const Json whole = Json::parse(arguments_, nullptr, false);
  text_ = arguments_;
  if (whole.is_string()) text_ = whole.get<std::string>();
  if (whole.is_object()) {
    const auto input = whole.find(kInput);
    if (input != whole.end() && input->is_string()) {
      text_ = input->get<std::string>();
    } else if (whole.size() == 1 && whole.front().is_string()) {
      text_ = whole.front().get<std::string>();
    }
  }
  return text_;
}

std::string custom_input_of(std::string_view arguments) {
  CustomInput input;
  input.add(arguments);
  input.finish();
  return input.text();
}

}  // namespace flashmoe::server
