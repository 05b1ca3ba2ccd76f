#ifndef FLASHMOE_CHAT_SCHEMA_ALTERNATIVES_H_
#define FLASHMOE_CHAT_SCHEMA_ALTERNATIVES_H_

#include <cstddef>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "chat/schema_context.h"

namespace flashmoe {

/// Multiplies out what a value must be: references, allOf, anyOf and oneOf, wherever they stand
/// beside other keywords, become lists of schemas of which one list must hold whole.
class SchemaAlternatives {
 public:
  explicit SchemaAlternatives(SchemaContext& context) : context_(context) {}

  /// The ways in which all of `schemas` can hold; none, if they cannot. Only schemas that say
  /// something of the value themselves are in them.
  Result<std::vector<SchemaList>> of(const SchemaList& schemas);

  /// The lists of oneOf that were met: as yet they are held as anyOf.
  const std::vector<const SchemaJson*>& exclusive() const { return exclusive_; }

 private:
  Status expand(const SchemaJson& schema, std::vector<SchemaList>& ways);
  Status expand_reference(const SchemaJson& schema, std::vector<SchemaList>& ways);
  Status expand_any(const SchemaJson& schema, const char* name, std::vector<SchemaList>& ways);
  Status check_keywords(const SchemaJson& schema);

  SchemaContext& context_;
  std::vector<const SchemaJson*> open_;  // from the first schema to the one that is looked at
  const SchemaJson* circle_ = nullptr;   // one that was met again among its own alternatives
  std::vector<std::size_t> choosing_;    // places in it of those whose anyOf or oneOf is open
  std::unordered_set<const SchemaJson*> checked_;
  std::vector<const SchemaJson*> exclusive_;
  std::size_t work_ = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_SCHEMA_ALTERNATIVES_H_
