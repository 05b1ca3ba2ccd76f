#ifndef FLASHMOE_CHAT_SCHEMA_SCALARS_H_
#define FLASHMOE_CHAT_SCHEMA_SCALARS_H_

#include <string>

#include "base/result.h"
#include "chat/regular_language.h"
#include "chat/schema_context.h"

namespace flashmoe {

/// The characters of the strings that all of `schemas` allow: lengths, patterns, formats.
Result<RegularLanguage::Term> string_language(SchemaContext& context, const SchemaList& schemas);

/// The numbers that all of `schemas` allow, as JSON writes them: bounds and multiples.
Result<RegularLanguage::Term> number_language(SchemaContext& context, const SchemaList& schemas,
                                              bool is_integer);

/// The count that a keyword gives; `absent` if it is not there.
Result<std::uint32_t> read_count(SchemaContext& context, const SchemaJson& schema, const char* name,
                                 std::uint32_t absent);

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_SCHEMA_SCALARS_H_
