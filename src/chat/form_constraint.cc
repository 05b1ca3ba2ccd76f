#include "chat/form_constraint.h"

#include <utility>

#include "base/check.h"

namespace flashmoe {
namespace {

/// Tokens that are looked at one by one before all are: a model's own choice is mostly allowed.
constexpr std::size_t kQuestionsMax = 4;
/// Some 20 KB each, for a large vocabulary.
constexpr std::size_t kMasksMax = 256;

}  // namespace

FormConstraint::FormConstraint(std::shared_ptr<const TokenTable> tokens,
                               std::shared_ptr<const OutputForm> form)
    : tokens_(std::move(tokens)),
      automaton_(std::move(form), FormAutomaton::Options()),
      state_(automaton_.start()) {}

bool FormConstraint::allows(std::int32_t id) {
  if (tokens_->is_eos(id)) return automaton_.can_end(state_);
  const auto index = static_cast<std::size_t>(id);
  if (index >= tokens_->size() || tokens_->bytes(id).empty()) return automaton_.is_open(state_);
  if (mask_ == nullptr && ++questions_ > kQuestionsMax) mask();
  if (mask_ != nullptr) return ((*mask_)[index / 64] >> index % 64 & 1) != 0;
  return automaton_.next(state_, tokens_->bytes(id)) != FormAutomaton::kDead;
}

void FormConstraint::accept(std::int32_t id) {
  if (tokens_->is_eos(id)) return;
  const auto index = static_cast<std::size_t>(id);
  if (index >= tokens_->size() || tokens_->bytes(id).empty()) return;
  state_ = automaton_.next(state_, tokens_->bytes(id));
  FM_CHECK(state_ != FormAutomaton::kDead);
  if (automaton_.is_large()) {
    state_ = automaton_.forget_others(state_);
    masks_.clear();
  }
  mask_ = nullptr;
  questions_ = 0;
}

const TokenMask& FormConstraint::mask() {
  if (mask_ != nullptr) return *mask_;
  auto known = masks_.find(state_);
  if (known == masks_.end()) {
    if (masks_.size() >= kMasksMax) masks_.clear();
    known = masks_.emplace(state_, compute_mask()).first;
  }
  mask_ = &known->second;
  return *mask_;
}

TokenMask FormConstraint::compute_mask() {
  TokenMask mask((tokens_->size() + 63) / 64);
  const auto next = [this](FormAutomaton::State state, unsigned char byte) {
    return automaton_.next(state, byte);
  };
  const auto take = [&mask](std::int32_t id) {
    const auto index = static_cast<std::size_t>(id);
    mask[index / 64] |= std::uint64_t{1} << index % 64;
  };
  // Within a string that takes any characters, most tokens need not be looked at.
  const std::uint32_t free = automaton_.free_characters(state_);
  if (free > 0) {
    mask = tokens_->plain_up_to(free);
  } else {
    tokens_->plain().walk(state_, next, take);
  }
  tokens_->others().walk(state_, next, take);
  return mask;
}

}  // namespace flashmoe
