#ifndef FLASHMOE_CHAT_SCHEMA_DISJOINTNESS_H_
#define FLASHMOE_CHAT_SCHEMA_DISJOINTNESS_H_

#include "chat/json_schema.h"

namespace flashmoe {

/// Whether it is certain that no value is of both nodes: other types, other texts, or objects that
/// a property tells apart.
bool are_disjoint(SchemaGraph& graph, SchemaNode::Id x, SchemaNode::Id y);

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_SCHEMA_DISJOINTNESS_H_
