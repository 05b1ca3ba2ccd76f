#include "experts/fixed_set.h"

#include <algorithm>

#include "base/check.h"

namespace flashmoe {

namespace {

/// Equal shares of places(slots of a class, its layers) for the layers of each class that have
/// experts, at most all of a layer's.
template <typename Places>
std::vector<std::size_t> shares_of_classes(const LayerSlots& slots,
                                           std::span<const std::size_t> expert_counts,
                                           const Places& places) {
  std::vector<std::size_t> layers_left(slots.counts.size());
  for (std::uint32_t l = 0; l < expert_counts.size(); ++l) {
    if (expert_counts[l] > 0) ++layers_left[slots.class_of(LayerId{l})];
  }
  std::vector<std::size_t> places_left;
  for (std::size_t c = 0; c < slots.counts.size(); ++c) {
    places_left.push_back(places(slots.counts[c], layers_left[c]));
  }
  std::vector<std::size_t> shares(expert_counts.size());
  for (std::uint32_t l = 0; l < expert_counts.size(); ++l) {
    if (expert_counts[l] == 0) continue;
    std::size_t& total = places_left[slots.class_of(LayerId{l})];
    std::size_t& layers = layers_left[slots.class_of(LayerId{l})];
    shares[l] = std::min(expert_counts[l], (total + layers - 1) / layers);
    total -= shares[l];
    --layers;
  }
  return shares;
}

}  // namespace

std::vector<std::size_t> equal_shares(const LayerSlots& slots, std::size_t passing,
                                      std::span<const std::size_t> expert_counts) {
  return shares_of_classes(slots, expert_counts, [&](std::size_t count, std::size_t /*layers*/) {
    return count - std::min(count, passing);
  });
}

std::vector<std::size_t> pinned_shares(const LayerSlots& slots, std::size_t per_layer,
                                       std::size_t passing,
                                       std::span<const std::size_t> expert_counts) {
  return shares_of_classes(slots, expert_counts, [&](std::size_t count, std::size_t layers) {
    const std::size_t wanted = per_layer == 0 ? count / 2 : per_layer * layers;
    return std::min(wanted, count - std::min(count, passing));
  });
}

FixedSet::FixedSet(std::span<const std::size_t> expert_counts) : layers_(expert_counts.size()) {
  for (std::size_t l = 0; l < layers_.size(); ++l) layers_[l].is_member.resize(expert_counts[l]);
}

void FixedSet::plan(const ResidentSet& wanted) {
  FM_CHECK(wanted.layers.size() == layers_.size());
  member_count_ = 0;
  pending_count_ = 0;
  ++version_;
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    plan_layer(layers_[l], wanted.layers[l]);
    member_count_ += static_cast<std::size_t>(std::ranges::count(layers_[l].is_member, true));
    pending_count_ += layers_[l].pending.size();
  }
}

void FixedSet::plan_layer(Layer& layer, std::span<const ExpertId> wanted) {
  std::vector<bool> is_wanted(layer.is_member.size());
  for (const ExpertId id : wanted) is_wanted[id.value] = true;
  // Places beyond the new size go, those of leavers first and the last places before the first.
  const auto leaves = [&](ExpertId id) { return id == kNobody || !is_wanted[id.value]; };
  for (std::size_t p = layer.places.size(); layer.places.size() > wanted.size() && p-- > 0;) {
    if (!leaves(layer.places[p])) continue;
    if (layer.places[p] != kNobody) layer.is_member[layer.places[p].value] = false;
    layer.places.erase(layer.places.begin() + static_cast<std::ptrdiff_t>(p));
  }
  layer.places.resize(wanted.size(), kNobody);
  layer.pending.clear();
  layer.pending_places.clear();
  std::size_t place = 0;
  for (const ExpertId id : wanted) {
    if (layer.is_member[id.value]) continue;
    while (!leaves(layer.places[place])) ++place;
    layer.pending.push_back({.out = layer.places[place], .in = id});
    layer.pending_places.push_back(place++);
  }
}

std::span<const ExpertSwap> FixedSet::pending(LayerId layer) const {
  return layers_[layer.value].pending;
}

void FixedSet::complete(LayerId layer_id, std::size_t count) {
  Layer& layer = layers_[layer_id.value];
  FM_CHECK(count <= layer.pending.size());
  for (std::size_t i = 0; i < count; ++i) {
    const ExpertSwap& swap = layer.pending[i];
    layer.places[layer.pending_places[i]] = swap.in;
    layer.is_member[swap.in.value] = true;
    if (swap.out == kNobody) {
      ++member_count_;
    } else {
      layer.is_member[swap.out.value] = false;
    }
  }
  const auto made = static_cast<std::ptrdiff_t>(count);
  layer.pending.erase(layer.pending.begin(), layer.pending.begin() + made);
  layer.pending_places.erase(layer.pending_places.begin(), layer.pending_places.begin() + made);
  pending_count_ -= count;
  ++version_;
}

ExpertId FixedSet::stale(ExpertKey missing) const {
  const Layer& layer = layers_[missing.layer.value];
  if (layer.places.empty()) return kNobody;
  const auto found = std::ranges::find(layer.pending, missing.expert, &ExpertSwap::in);
  if (found != layer.pending.end() && found->out != kNobody) return found->out;
  return layer.places[0];
}

void FixedSet::clear() {
  for (Layer& layer : layers_) {
    layer.places.clear();
    layer.is_member.assign(layer.is_member.size(), false);
    layer.pending.clear();
    layer.pending_places.clear();
  }
  member_count_ = 0;
  pending_count_ = 0;
  ++version_;
}

}  // namespace flashmoe
