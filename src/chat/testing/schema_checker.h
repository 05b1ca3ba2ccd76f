#ifndef FLASHMOE_CHAT_TESTING_SCHEMA_CHECKER_H_
#define FLASHMOE_CHAT_TESTING_SCHEMA_CHECKER_H_

#include <nlohmann/json.hpp>
#include <string>

namespace flashmoe::testing {

/// What is wrong with `value` by `schema`, read as the standard says, with std::regex for patterns
/// of ASCII; empty: nothing. Knows the keywords that are held to, and oneOf as it is meant; formats
/// are not looked at.
std::string fault_by_schema(const nlohmann::ordered_json& value,
                            const nlohmann::ordered_json& schema,
                            const nlohmann::ordered_json& document);

}  // namespace flashmoe::testing

#endif  // FLASHMOE_CHAT_TESTING_SCHEMA_CHECKER_H_
