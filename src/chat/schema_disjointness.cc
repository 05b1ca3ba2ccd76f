#include "chat/schema_disjointness.h"

#include <algorithm>

namespace flashmoe {
namespace {

using Id = SchemaNode::Id;
using Kind = SchemaNode::Kind;

constexpr std::size_t kLookMax = 8;

bool are_disjoint_nodes(SchemaGraph& graph, Id x, Id y, std::size_t depth);

const SchemaNode::Property* property_named(const SchemaNode& node, const std::string& key) {
  const auto found = std::find_if(node.properties.begin(), node.properties.end(),
                                  [&](const auto& property) { return property.key == key; });
  return found == node.properties.end() ? nullptr : &*found;
}

/// Whether each object of `x` has a property that no object of `y` has, or has otherwise.
bool is_told_apart(SchemaGraph& graph, const SchemaNode& x, const SchemaNode& y,
                   std::size_t depth) {
  return std::any_of(x.properties.begin(), x.properties.end(), [&](const auto& property) {
    if (!property.is_required) return false;
    const SchemaNode::Property* const other = property_named(y, property.key);
    if (other == nullptr) return y.others.empty();
    return other->is_required && are_disjoint_nodes(graph, property.value, other->value, depth);
  });
}

bool are_disjoint_nodes(SchemaGraph& graph, Id x, Id y, std::size_t depth) {
  if (depth > kLookMax) return false;
  // Copies: more terms may move nothing here, but nodes are small beside a surprise.
  const SchemaNode a = graph.nodes[x];
  const SchemaNode b = graph.nodes[y];
  if (a.kind == Kind::kAnyOf) {
    return std::all_of(a.alternatives.begin(), a.alternatives.end(),
                       [&](Id each) { return are_disjoint_nodes(graph, each, y, depth + 1); });
  }
  if (b.kind == Kind::kAnyOf) return are_disjoint_nodes(graph, y, x, depth + 1);
  if (a.kind == Kind::kNever || b.kind == Kind::kNever) return true;
  if (a.kind == Kind::kAny || b.kind == Kind::kAny) return false;
  if (a.kind != b.kind) return true;
  switch (a.kind) {
    case Kind::kString:
    case Kind::kText:
      return graph.texts.texts_of(graph.texts.both({a.text, b.text})) ==
             RegularLanguage::Texts::kNone;
    case Kind::kObject:
      return is_told_apart(graph, a, b, depth + 1) || is_told_apart(graph, b, a, depth + 1);
    default:
      return false;
  }
}

}  // namespace

bool are_disjoint(SchemaGraph& graph, SchemaNode::Id x, SchemaNode::Id y) {
  return are_disjoint_nodes(graph, x, y, 0);
}

}  // namespace flashmoe
