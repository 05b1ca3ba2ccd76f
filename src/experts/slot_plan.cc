#include "experts/slot_plan.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "base/check.h"

namespace flashmoe {
namespace {

// Experts that differ by less than one part in so many share slots: what that loses is less than
// classes of few layers would, whose layers can lend each other less.
constexpr std::uint64_t kClassWidth = 64;

bool is_close(std::uint64_t size, std::uint64_t larger) {
  return size + larger / kClassWidth >= larger;
}

/// Slots that a class has before any class has more.
std::size_t least_slots(const SlotClass& c, const SlotRequest& request) {
  return std::min(c.expert_count, request.experts_at_once);
}

/// Whether the request holds what every class needs.
bool holds_all(std::span<const SlotClass> classes, const SlotRequest& request) {
  std::uint64_t bytes_left = request.budget_bytes;
  std::size_t slots_left = request.slots_max;
  for (const SlotClass& c : classes) {
    const std::size_t least = least_slots(c, request);
    if (least > slots_left || least > bytes_left / c.slot_size) return false;
    slots_left -= least;
    bytes_left -= least * c.slot_size;
  }
  return true;
}

}  // namespace

std::size_t SlotClasses::expert_count() const {
  std::size_t count = 0;
  for (const SlotClass& c : classes) count += c.expert_count;
  return count;
}

std::uint64_t SlotClasses::resident_size() const {
  std::uint64_t bytes = 0;
  for (const SlotClass& c : classes) bytes += c.expert_count * c.slot_size;
  return bytes;
}

std::uint64_t SlotClasses::slot_size_max() const {
  return classes.empty() ? 0 : std::ranges::max(classes, {}, &SlotClass::slot_size).slot_size;
}

SlotClasses slot_classes(const ExpertStore& store) {
  SlotClasses result{.of_layer = std::vector<std::size_t>(store.layer_count())};
  std::vector<LayerId> layers;
  for (std::uint32_t l = 0; l < store.layer_count(); ++l) {
    if (store.expert_count(LayerId{l}) > 0) layers.push_back(LayerId{l});
  }
  // By what is stored: margins of direct reads differ with where in a file it lies.
  std::ranges::stable_sort(layers, std::ranges::greater(),
                           [&](LayerId layer) { return store.expert_size(layer); });
  std::uint64_t largest = 0;  // expert of the last class
  for (const LayerId layer : layers) {
    const std::uint64_t slot_size = store.slot_size(layer);
    const bool joins =
        !result.classes.empty() && (is_close(store.expert_size(layer), largest) ||
                                    is_close(slot_size, result.classes.back().slot_size));
    if (!joins) {
      result.classes.emplace_back();
      largest = store.expert_size(layer);
    }
    SlotClass& c = result.classes.back();
    c.slot_size = std::max(c.slot_size, slot_size);
    ++c.layer_count;
    c.expert_count += store.expert_count(layer);
    result.of_layer[layer.value] = result.classes.size() - 1;
  }
  return result;
}

SlotPlan::SlotPlan(const SlotClasses& of_model, const SlotRequest& request)
    : classes_(of_model.classes), class_of_layer_(of_model.of_layer), offsets_{0} {
  if (!holds_all(classes_, request)) {
    SlotClass one{.slot_size = of_model.slot_size_max()};
    for (const SlotClass& c : classes_) {
      one.layer_count += c.layer_count;
      one.expert_count += c.expert_count;
    }
    classes_ = {one};
    class_of_layer_.assign(class_of_layer_.size(), 0);
  }
  share_out(request);
}

void SlotPlan::share_out(const SlotRequest& request) {
  std::vector<std::size_t> counts(classes_.size());
  // What every class needs goes first.
  const auto is_served = [&](std::size_t c) {
    return counts[c] >= least_slots(classes_[c], request);
  };
  const auto comes_before = [&](std::size_t a, std::size_t b) {
    if (is_served(a) != is_served(b)) return is_served(b);
    return counts[a] * classes_[b].layer_count < counts[b] * classes_[a].layer_count;
  };
  std::vector<std::size_t> open(classes_.size());
  std::iota(open.begin(), open.end(), std::size_t{0});
  while (!open.empty() && slot_count() < request.slots_max) {
    const auto next = std::ranges::min_element(open, comes_before);
    const SlotClass& c = classes_[*next];
    if (c.slot_size > request.budget_bytes - byte_size()) return;
    class_of_slot_.push_back(static_cast<std::uint16_t>(*next));
    offsets_.push_back(byte_size() + c.slot_size);
    if (++counts[*next] == c.expert_count) open.erase(next);
  }
}

LayerSlots SlotPlan::slots(std::size_t limit) const {
  LayerSlots slots{.counts = std::vector<std::size_t>(classes_.size()),
                   .class_of_layer = class_of_layer_};
  for (const std::uint16_t c : std::span(class_of_slot_).first(limit)) ++slots.counts[c];
  return slots;
}

std::size_t SlotPlan::slots_within(std::uint64_t bytes) const {
  const auto beyond = std::ranges::upper_bound(offsets_, bytes);
  return static_cast<std::size_t>(beyond - offsets_.begin()) - 1;
}

std::size_t SlotPlan::slots_for(std::size_t experts_at_once) const {
  std::vector<std::size_t> missing;
  std::size_t missing_count = 0;
  const LayerSlots all = slots(slot_count());
  for (const std::size_t count : all.counts) {
    missing.push_back(std::min(count, experts_at_once));
    missing_count += missing.back();
  }
  std::size_t slot_id = 0;
  for (; missing_count > 0; ++slot_id) {
    if (missing[class_of_slot(slot_id)] == 0) continue;
    --missing[class_of_slot(slot_id)];
    --missing_count;
  }
  return slot_id;
}

}  // namespace flashmoe
