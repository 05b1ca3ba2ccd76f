#ifndef FLASHMOE_CHAT_SCHEMA_PRUNING_H_
#define FLASHMOE_CHAT_SCHEMA_PRUNING_H_

#include "chat/json_schema.h"

namespace flashmoe {

/// Takes out of the nodes from `first` on what no value can ever be: alternatives, properties and
/// items that have none, and values that would contain themselves without end. A node without any
/// value becomes kNever; what is left can always be completed.
void prune_schema(SchemaGraph& graph, SchemaNode::Id first);

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_SCHEMA_PRUNING_H_
