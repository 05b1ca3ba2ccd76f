#include "chat/form_constraint.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "base/check.h"

namespace flashmoe {
namespace {

/// Tokens that are looked at one by one before all are: a model's own choice is mostly allowed.
constexpr std::size_t kQuestionsMax = 4;
/// Some 20 KB each, for a large vocabulary.
constexpr std::size_t kMasksMax = 256;
/// Of forms that have a great many states so much is made for one token, and no more.
constexpr std::size_t kBytesOfTokenMax = std::size_t{24} << 20;
constexpr std::size_t kSearchesOfToken = 20'000;
constexpr std::size_t kNoBound = std::numeric_limits<std::size_t>::max();

/// Follows tokens through the automaton, by way of cores: they have few states, and what they allow
/// is allowed. Only where a core does not go on, the states themselves are looked at.
class CoreWalk {
 public:
  struct Place {
    std::uint32_t depth = 0;  // bytes from the start
    FormAutomaton::State core = FormAutomaton::kDead;
    bool is_whole = false;  // the core is the state
    bool decides = false;   // what the core does not go on with, the form does not

    bool operator==(const Place&) const = default;
  };

  CoreWalk(FormAutomaton& automaton, FormAutomaton::State start, std::size_t size_max)
      : automaton_(automaton), size_max_(size_max), states_{start}, bytes_(1) {}

  Place start() {
    const FormAutomaton::State core = automaton_.core(states_[0]);
    return {.core = core,
            .is_whole = core == states_[0],
            .decides = automaton_.core_decides(states_[0])};
  }

  /// Place() if the form does not go on with `byte`.
  Place next(const Place& at, unsigned char byte) {
    const std::uint32_t depth = at.depth + 1;
    if (depth == states_.size()) {
      states_.emplace_back();
      bytes_.emplace_back();
    }
    bytes_[depth] = byte;
    known_ = std::min(known_, at.depth);
    if (const auto to = automaton_.next(at.core, byte); to != FormAutomaton::kDead) {
      const FormAutomaton::State core = automaton_.core(to);
      return {.depth = depth,
              .core = core,
              .is_whole = at.is_whole && core == to,
              .decides = at.decides && automaton_.core_decides(to)};
    }
    if (at.decides) return Place();
    // Tokens of one byte are looked at in any case: with them the form can be completed.
    if (depth > 1 && automaton_.size() > size_max_) return Place();
    const FormAutomaton::State state = state_at(depth);
    if (state == FormAutomaton::kDead) return Place();
    const FormAutomaton::State core = automaton_.core(state);
    return {.depth = depth,
            .core = core,
            .is_whole = core == state,
            .decides = automaton_.core_decides(state)};
  }

  /// All that may follow the bytes that led to the last place, `at`.
  FormAutomaton::State state_of(const Place& at) {
    if (at == Place() || at.is_whole) return at.core;
    const FormAutomaton::State state = state_at(at.depth);
    // Whether the whole has a text can be harder to tell than of its core.
    return state == FormAutomaton::kDead ? at.core : state;
  }

 private:
  FormAutomaton::State state_at(std::uint32_t depth) {
    for (; known_ < depth; ++known_) {
      states_[known_ + 1] = automaton_.next(states_[known_], bytes_[known_ + 1]);
    }
    return states_[depth];
  }

  FormAutomaton& automaton_;
  const std::size_t size_max_;
  std::vector<FormAutomaton::State> states_;  // by depth, those that are known
  std::vector<unsigned char> bytes_;
  std::uint32_t known_ = 0;
};

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
  return after(id) != FormAutomaton::kDead;
}

void FormConstraint::accept(std::int32_t id) {
  if (tokens_->is_eos(id)) return;
  const auto index = static_cast<std::size_t>(id);
  if (index >= tokens_->size() || tokens_->bytes(id).empty()) return;
  state_ = after(id);
  FM_CHECK(state_ != FormAutomaton::kDead);
  if (automaton_.is_large()) {
    state_ = automaton_.forget_others(state_);
    masks_.clear();
  }
  automaton_.allow_searches(kSearchesOfToken);
  mask_ = nullptr;
  questions_ = 0;
}

FormAutomaton::State FormConstraint::after(std::int32_t id) {
  CoreWalk walk(automaton_, state_, kNoBound);
  CoreWalk::Place place = walk.start();
  for (const char c : tokens_->bytes(id)) {
    place = walk.next(place, static_cast<unsigned char>(c));
    if (place == CoreWalk::Place()) break;
  }
  return walk.state_of(place);
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
  TokenMask mask;
  bool has_any = false;
  const auto take = [&](std::int32_t id) {
    const auto index = static_cast<std::size_t>(id);
    mask[index / 64] |= std::uint64_t{1} << index % 64;
    has_any = true;
  };
  // Within a string that takes any characters, most tokens need not be looked at.
  const std::uint32_t free = automaton_.free_characters(state_);
  const auto walk = [&](auto start, const auto& next) {
    has_any = free > 0;
    mask = has_any ? tokens_->plain_up_to(free) : TokenMask((tokens_->size() + 63) / 64);
    if (!has_any) tokens_->plain().walk(start, next, take);
    tokens_->others().walk(start, next, take);
  };
  // Mostly cores decide, and are all that is looked at.
  bool is_decided = automaton_.core_decides(state_);
  if (is_decided) {
    walk(automaton_.core(state_), [&](FormAutomaton::State at, unsigned char byte) {
      const FormAutomaton::State to = automaton_.next(at, byte);
      if (!is_decided || to == FormAutomaton::kDead) return FormAutomaton::kDead;
      is_decided = automaton_.core_decides(to);
      return automaton_.core(to);
    });
  }
  const auto walk_cores = [&](std::size_t size_max) {
    CoreWalk cores(automaton_, state_, size_max);
    walk(cores.start(),
         [&](const CoreWalk::Place& at, unsigned char byte) { return cores.next(at, byte); });
  };
  if (!is_decided) walk_cores(automaton_.size() + kBytesOfTokenMax);
  // A vocabulary without some bytes may need a longer token.
  if (!is_decided && !has_any) walk_cores(kNoBound);
  return mask;
}

}  // namespace flashmoe
