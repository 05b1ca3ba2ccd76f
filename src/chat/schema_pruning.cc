#include "chat/schema_pruning.h"

#include <algorithm>
#include <vector>

namespace flashmoe {
namespace {

using Id = SchemaNode::Id;
using Kind = SchemaNode::Kind;

class SchemaPruner {
 public:
  SchemaPruner(SchemaGraph& graph, Id first)
      : graph_(graph), first_(first), has_values_(graph.nodes.size()) {
    for (Id id = 0; id < first; ++id) has_values_[id] = graph.nodes[id].kind != Kind::kNever;
  }

  /// The least set of nodes that have values: what needs itself is never in it.
  void find() {
    bool has_changed = true;
    while (has_changed) {
      has_changed = false;
      // What a node needs mostly stands behind it.
      for (auto id = static_cast<Id>(graph_.nodes.size()); id-- > first_;) {
        if (has_values_[id] || !has_value(graph_.nodes[id])) continue;
        has_values_[id] = true;
        has_changed = true;
      }
    }
  }

  void take_out() {
    for (auto id = first_; id < graph_.nodes.size(); ++id) {
      SchemaNode& node = graph_.nodes[id];
      if (!has_values_[id]) {
        node = {.kind = Kind::kNever};
        continue;
      }
      std::erase_if(node.alternatives, [&](Id value) { return !has_values_[value]; });
      std::erase_if(node.properties, [&](const auto& p) { return !has_values_[p.value]; });
      std::erase_if(node.others, [&](const auto& other) { return !has_values_[other.value]; });
      if (node.kind == Kind::kArray) bound_items(node);
    }
  }

 private:
  bool has_value(const SchemaNode& node) const {
    switch (node.kind) {
      case Kind::kNever:
        return false;
      case Kind::kAny:
        return true;
      case Kind::kString:
      case Kind::kText:
        return node.text != RegularLanguage::kNothing;
      case Kind::kAnyOf:
        return std::any_of(node.alternatives.begin(), node.alternatives.end(),
                           [&](Id value) { return has_values_[value]; });
      case Kind::kObject:
        return object_has_value(node);
      case Kind::kArray:
        return item_count_max(node) >= node.count_min && node.count_min <= node.count_max;
    }
    return false;
  }

  bool object_has_value(const SchemaNode& node) const {
    std::size_t possible = 0;
    std::size_t required = 0;
    for (const SchemaNode::Property& property : node.properties) {
      if (property.is_required && !has_values_[property.value]) return false;
      required += property.is_required ? 1 : 0;
      possible += has_values_[property.value] ? 1 : 0;
    }
    const bool has_others =
        std::any_of(node.others.begin(), node.others.end(),
                    [&](const auto& other) { return has_values_[other.value]; });
    return required <= node.count_max && node.count_min <= node.count_max &&
           (has_others || possible >= node.count_min);
  }

  /// As many items as there are values for.
  std::size_t item_count_max(const SchemaNode& node) const {
    for (std::size_t i = 0; i < node.prefix.size(); ++i) {
      if (!has_values_[node.prefix[i]]) return i;
    }
    if (!node.unique_items.empty()) return node.unique_items.size();
    return has_values_[node.items] ? SchemaNode::kUnlimited : node.prefix.size();
  }

  void bound_items(SchemaNode& node) const {
    node.count_max =
        static_cast<std::uint32_t>(std::min<std::size_t>(node.count_max, item_count_max(node)));
  }

  SchemaGraph& graph_;
  const Id first_;
  std::vector<bool> has_values_;
};

}  // namespace

void prune_schema(SchemaGraph& graph, SchemaNode::Id first) {
  SchemaPruner pruner(graph, first);
  pruner.find();
  pruner.take_out();
}

}  // namespace flashmoe
