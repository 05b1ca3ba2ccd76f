#include "engine/expert_residency.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/stopwatch.h"
#include "engine/residency_modes.h"
#include "experts/policies/pinned.h"
#include "io/page_cache.h"

namespace flashmoe {

ExpertResidency::ExpertResidency(const ResidencyOptions& options,
                                 std::optional<ExpertProfile> profile,
                                 std::vector<std::size_t> expert_counts)
    : options_(options),
      profile_(std::move(profile)),
      expert_counts_(std::move(expert_counts)),
      set_(std::make_shared<FixedSet>(expert_counts_)),
      counter_(expert_counts_),
      history_(expert_counts_) {}

Result<std::unique_ptr<ExpertResidency>> ExpertResidency::create(
    const ResidencyOptions& options, std::string_view identity,
    std::vector<std::size_t> expert_counts) {
  FM_RETURN_IF_ERROR(check_residency(options));
  std::optional<ExpertProfile> profile;
  if (!options.profile.empty()) {
    FM_ASSIGN_OR_RETURN(profile, read_profile_of(options.profile, identity, expert_counts));
  }
  return std::unique_ptr<ExpertResidency>(
      new ExpertResidency(options, std::move(profile), std::move(expert_counts)));
}

ExpertResidency::~ExpertResidency() {
  if (parts_.model == nullptr) return;
  parts_.observers->remove(counter_);
  parts_.model->set_miss_handler(nullptr);
}

std::unique_ptr<ResidencyPolicy> ExpertResidency::make_policy() const {
  std::unique_ptr<ResidencyPolicy> policy =
      flashmoe::make_policy(options_.residency, expert_counts_);
  const bool has_set = options_.has_fixed_set() || options_.residency == Residency::kPinned;
  return has_set ? make_pinned_policy(std::move(policy), set_) : std::move(policy);
}

Status ExpertResidency::attach(const Parts& parts, bool speculation, const Progress& on_progress) {
  parts_ = parts;
  if (const std::optional<MissOptions> rule = miss_options(options_)) {
    const RouterSpec& router = parts.model->spec().moe().router;
    misses_ = std::make_unique<MissHandler>(*parts.cache, router.num_experts,
                                            router.num_experts_per_tok, *rule, set_.get());
  }
  parts.model->set_speculation(speculation && options_.reads_ahead());
  if (options_.has_fixed_set()) {
    parts.observers->add(counter_);
    return Status();
  }
  begin_answering();
  if (options_.residency == Residency::kResident) return read_every_expert(on_progress);
  if (options_.residency == Residency::kPinned) {
    set_->plan(choose_experts(ExpertProfile(expert_counts_), {}, &*profile_, set_sizes()));
    return finish_swaps(on_progress);
  }
  return Status();
}

/// Leaves all experts in their slots.
Status ExpertResidency::read_every_expert(const Progress& on_progress) {
  std::uint64_t done = 0;
  const std::uint64_t total = parts_.cache->slot_count();
  for (std::uint32_t l = 0; l < expert_counts_.size(); ++l) {
    std::vector<ExpertSwap> swaps;
    for (std::size_t e = 0; e < expert_counts_[l]; ++e) {
      swaps.push_back({kNobody, ExpertId{static_cast<std::uint16_t>(e)}});
    }
    FM_RETURN_IF_ERROR(parts_.cache->exchange(LayerId{l}, swaps));
    done += swaps.size();
    if (on_progress) on_progress(done, total);
  }
  return Status();
}

/// How many experts of each layer a set has: equal shares of the slots, but for those that reads
/// of what misses need.
std::vector<std::size_t> ExpertResidency::set_sizes() const {
  const LayerSlots slots = parts_.cache->slot_limits();
  const std::size_t passing =
      may_read_misses(options_) ? parts_.model->spec().moe().router.num_experts_per_tok : 0;
  if (options_.residency == Residency::kPinned) {
    return pinned_shares(slots, options_.pinned, passing, expert_counts_);
  }
  return equal_shares(slots, passing, expert_counts_);
}

void ExpertResidency::begin_discovery() { counter_.clear(); }

SwitchReport ExpertResidency::plan() {
  const ExpertProfile& counts = counter_.counts();
  SwitchReport report;
  for (std::uint32_t l = 0; l < expert_counts_.size(); ++l) {
    for (const ExpertId id : counts.ranked(LayerId{l})) {
      ++report.experts_found;
      if (!parts_.cache->is_resident({LayerId{l}, id})) ++report.experts_missing;
    }
  }
  // Who is here may stay: in a set, those most used so far; before there is one, the policy says,
  // unless a profile knows better.
  const ExpertProfile* const profile = profile_ ? &*profile_ : nullptr;
  ResidentSet stay;
  if (has_set()) {
    stay = members_by_use(*set_, history_);
  } else if (profile == nullptr) {
    stay = parts_.cache->resident_set();
  }
  set_->plan(choose_experts(counts, stay, profile, set_sizes()));
  for (std::uint32_t l = 0; l < set_->layer_count(); ++l) {
    for (const ExpertSwap& swap : set_->pending(LayerId{l})) {
      if (!parts_.cache->is_resident({LayerId{l}, swap.in})) ++report.swap_count;
    }
  }
  for (std::vector<std::uint64_t>& layer : history_.layers) {
    for (std::uint64_t& count : layer) count /= 2;
  }
  history_.add(counts);
  counter_.clear();
  tokens_since_refresh_ = 0;
  return report;
}

void ExpertResidency::begin_answering() {
  if (misses_ != nullptr) parts_.model->set_miss_handler(misses_.get());
}

Status ExpertResidency::swap_some(LayerId layer, std::size_t count) {
  const std::span<const ExpertSwap> pending = set_->pending(layer);
  count = std::min(count, pending.size());
  FM_RETURN_IF_ERROR(parts_.cache->exchange(layer, pending.first(count)));
  set_->complete(layer, count);
  return Status();
}

Status ExpertResidency::finish_swaps(const Progress& on_progress) {
  const std::size_t total = set_->pending_count();
  for (std::uint32_t l = 0; l < set_->layer_count(); ++l) {
    if (set_->pending(LayerId{l}).empty()) continue;
    FM_RETURN_IF_ERROR(swap_some(LayerId{l}, set_->pending(LayerId{l}).size()));
    if (on_progress) on_progress(total - set_->pending_count(), total);
  }
  return Status();
}

/// Swaps of one pause between two tokens.
Status ExpertResidency::advance() {
  Stopwatch watch;
  std::size_t layers_left = options_.swap_layers;
  for (std::uint32_t l = 0; l < set_->layer_count(); ++l) {
    while (!set_->pending(LayerId{l}).empty()) {
      if (options_.swap_seconds > 0) {
        // By small groups, so that the slice is not overrun by much.
        FM_RETURN_IF_ERROR(
            swap_some(LayerId{l}, parts_.model->spec().moe().router.num_experts_per_tok));
        if (watch.elapsed() >= options_.swap_seconds) return Status();
        continue;
      }
      if (layers_left-- == 0) return Status();
      FM_RETURN_IF_ERROR(swap_some(LayerId{l}, set_->pending(LayerId{l}).size()));
    }
  }
  return Status();
}

Status ExpertResidency::after_token() {
  if (!has_set()) return Status();
  if (options_.refresh_every != 0 && ++tokens_since_refresh_ >= options_.refresh_every &&
      !is_swapping()) {
    plan();
    if (options_.residency != Residency::kAsyncDelta) return finish_swaps();
  }
  return advance();
}

std::size_t ExpertResidency::layers_pending() const {
  std::size_t count = 0;
  for (std::uint32_t l = 0; l < set_->layer_count(); ++l) {
    if (!set_->pending(LayerId{l}).empty()) ++count;
  }
  return count;
}

void ExpertResidency::drop_caches() const {
  if (options_.drop_caches != DropCaches::kOn) return;
#ifdef __GLIBC__
  malloc_trim(0);
#endif
  // A wish only: what the system keeps all the same changes no result.
  for (std::uint32_t f = 0; f < parts_.store->file_count(); ++f) {
    [[maybe_unused]] const Status dropped = drop_page_cache(parts_.store->file(f).path());
  }
}

void ExpertResidency::release(bool cold) {
  if (options_.has_fixed_set()) {
    set_->clear();
    parts_.model->set_miss_handler(nullptr);
  }
  if (misses_ != nullptr) misses_->reset_statistics();
  history_ = ExpertProfile(expert_counts_);
  counter_.clear();
  tokens_since_refresh_ = 0;
  if (cold) parts_.cache->clear();
}

}  // namespace flashmoe
