#ifndef FLASHMOE_SERVER_CLIENT_TOOLS_H_
#define FLASHMOE_SERVER_CLIENT_TOOLS_H_

#include <map>
#include <string>
#include <string_view>

#include "server/fields.h"

namespace flashmoe::server {

/// How a client knows a tool that the model is offered as a function.
struct ClientTool {
  std::string name;
  std::string name_space;  // empty: it is in none
  bool is_custom = false;  // called with one text, not with JSON
};

/// The tools of a request that its client knows otherwise than the model does.
class ClientTools {
 public:
  /// The name that the model sees: templates know one name, without namespaces.
  static std::string offered_name(std::string_view name_space, std::string_view name);

  void add(ClientTool tool);
  /// By the name that the model sees; null: a function that is known by that name to both.
  const ClientTool* find(std::string_view offered) const;

 private:
  std::map<std::string, ClientTool, std::less<>> tools_;  // by offered name
};

/// The function that stands for a custom tool {name, description, format}: it has one argument, the
/// text. What its format asks for is a part of its description.
Json function_of_custom_tool(const Json& tool);

/// The JSON of that function's arguments for the text `input`, spaced as models write it: what one
/// has said is then found in the prefix cache.
std::string custom_arguments(std::string_view input);

/// The text that a custom tool is called with, out of that function's arguments.
class CustomInput {
 public:
  /// Takes the next piece of the arguments' JSON; returns what becomes known of the text.
  std::string add(std::string_view arguments);
  /// What is left when all has come. A model that leaves the form has its only text taken, or else
  /// all that it wrote.
  std::string finish();

  const std::string& text() const { return text_; }

 private:
  std::string arguments_;
  std::string text_;        // as far as known
  std::size_t at_ = 0;      // in arguments_: what is not yet decoded
  bool has_begun_ = false;  // at_ is within the text
  bool has_ended_ = false;
};

/// The whole text at once.
std::string custom_input_of(std::string_view arguments);

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_CLIENT_TOOLS_H_
