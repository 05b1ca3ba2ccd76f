#ifndef FLASHMOE_CHAT_ARGUMENT_VALUES_H_
#define FLASHMOE_CHAT_ARGUMENT_VALUES_H_

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace flashmoe {

/// `text` as JSON; discarded if it is none. A NUL byte is none, though the parser beneath takes
/// it for the end.
nlohmann::ordered_json whole_json(std::string_view text);

/// Whether a parameter with this schema takes any text as it stands. Null: nothing is known of it.
bool takes_text(const nlohmann::ordered_json& schema);

/// The JSON of an argument that a model wrote as plain text, by its parameter's schema: numbers,
/// booleans, null, objects and lists (as JSON, or as Python writes them) where the schema wants
/// them and the text is one, else a string. Source: the qwen3_coder parser of vLLM.
std::string argument_json(std::string_view text, const nlohmann::ordered_json& schema);

/// `text` within a JSON string, without the quotes around it. Must be whole UTF-8 characters.
std::string json_escaped(std::string_view text);

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_ARGUMENT_VALUES_H_
