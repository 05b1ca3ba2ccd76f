#ifndef FLASHMOE_CHAT_SCHEMA_NULLS_H_
#define FLASHMOE_CHAT_SCHEMA_NULLS_H_

#include <nlohmann/json.hpp>

namespace flashmoe {

/// `schema` as programs mean it that write down all members of a schema, null where nothing is
/// said: without those. Values stay, as in `enum` and `default`; a `const` that is null stays
/// unless the type beside it is another. A property whose schema is null may have any value.
nlohmann::ordered_json without_nulls(const nlohmann::ordered_json& schema);

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_SCHEMA_NULLS_H_
