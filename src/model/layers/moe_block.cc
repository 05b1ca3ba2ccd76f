#include "model/layers/moe_block.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/stopwatch.h"
#include "model/miss_handler.h"
#include "model/speculative_reader.h"

namespace flashmoe {
namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

Status MoeBlock::route(StepContext& context, Workspace& workspace, const Activations& x) const {
  const std::size_t rows = context.rows;
  const std::size_t k = config_.moe.num_experts_per_tok;
  const MatrixView<float> logits = workspace.router_logits.slice(0, rows);
  const LinearTask tasks[] = {
      {.weight = weights_.router, .x = &x, .y = logits},
      {.weight = weights_.shared_expert_gate, .x = &x, .y = workspace.shared_gate.slice(0, rows)}};
  context.ops.linear(tasks);
  scratch_.routed_ids.resize(rows * k);
  scratch_.routed_weights.resize(rows * k);
  context.ops.route_top_k(logits, k, config_.moe.norm_topk_prob, scratch_.routed_ids,
                          scratch_.routed_weights);
  FM_RETURN_IF_ERROR(context.check(0));
  if (context.routing_source != nullptr &&
      context.routing_source->choose(layer_, context.segments, scratch_.routed_ids,
                                     scratch_.routed_weights) ==
          RoutingSource::Weights::kFromRouter) {
    weigh_chosen(logits, config_.moe.norm_topk_prob, scratch_.routed_ids, scratch_.routed_weights);
  }
  if (context.speculation != nullptr) context.speculation->on_routed(scratch_.routed_ids);
  if (context.routing_observer != nullptr) {
    context.routing_observer->on_routed(layer_, context.segments, scratch_.routed_ids,
                                        scratch_.routed_weights);
  }
  if (context.misses != nullptr) {
    context.misses->resolve(layer_, context.segments, logits, scratch_.routed_ids,
                            scratch_.routed_weights);
  }
  return Status();
}

/// Turns the routing around, from experts by row to rows by expert (a counting sort).
void MoeBlock::group_by_expert(std::size_t rows) const {
  const std::size_t k = config_.moe.num_experts_per_tok;
  scratch_.expert_cursor.assign(config_.moe.num_experts, 0);
  scratch_.best_rank.resize(config_.moe.num_experts);
  for (std::size_t i = 0; i < rows * k; ++i) {
    const std::uint16_t id = scratch_.routed_ids[i];
    if (id == kNoExpert) continue;
    const auto rank = static_cast<std::uint32_t>(i % k);
    std::uint32_t& best = scratch_.best_rank[id];
    best = scratch_.expert_cursor[id]++ == 0 ? rank : std::min(best, rank);
  }
  scratch_.chosen.clear();
  std::uint32_t begin = 0;
  for (std::size_t id = 0; id < scratch_.expert_cursor.size(); ++id) {
    const std::uint32_t count = std::exchange(scratch_.expert_cursor[id], begin);
    if (count == 0) continue;
    scratch_.chosen.push_back(
        {ExpertId{static_cast<std::uint16_t>(id)}, begin, begin + count, scratch_.best_rank[id]});
    begin += count;
  }
  scratch_.assignment_row.resize(begin);
  scratch_.assignment_weight.resize(begin);
  for (std::size_t i = 0; i < rows * k; ++i) {
    if (scratch_.routed_ids[i] == kNoExpert) continue;
    const std::uint32_t at = scratch_.expert_cursor[scratch_.routed_ids[i]]++;
    scratch_.assignment_row[at] = static_cast<std::uint32_t>(i / k);
    scratch_.assignment_weight[at] = scratch_.routed_weights[i];
  }
}

/// The longest run of chosen experts from `begin` that fits the limits; at least one, if any is
/// left.
std::size_t MoeBlock::wave_end(std::size_t begin, const WaveLimits& limits) const {
  const std::vector<ChosenExpert>& chosen = scratch_.chosen;
  if (begin == chosen.size()) return begin;
  std::size_t end = begin + 1;
  while (end < chosen.size() && end - begin < limits.experts &&
         chosen[end].end - chosen[begin].begin <= limits.assignments) {
    ++end;
  }
  return end;
}

/// Leases chosen experts [begin, end), one or more waves. The cache hears those of each wave most
/// wanted first, as policies expect.
Status MoeBlock::acquire(StepContext& context, std::size_t begin, std::size_t end,
                         const WaveLimits& limits) const {
  std::vector<std::size_t>& order = scratch_.wave_order;
  order.resize(end - begin);
  std::iota(order.begin(), order.end(), begin);
  for (std::size_t wave = begin; wave < end;) {
    const std::size_t next = std::min(wave_end(wave, limits), end);
    std::sort(order.data() + (wave - begin), order.data() + (next - begin),
              [this](std::size_t a, std::size_t b) {
                return std::pair(scratch_.chosen[a].best_rank, a) <
                       std::pair(scratch_.chosen[b].best_rank, b);
              });
    wave = next;
  }
  scratch_.wave_ids.clear();
  scratch_.wave_rows.clear();
  for (const std::size_t i : order) {
    scratch_.wave_ids.push_back(scratch_.chosen[i].id);
    scratch_.wave_rows.push_back(
        static_cast<std::uint32_t>(scratch_.chosen[i].end - scratch_.chosen[i].begin));
  }
  scratch_.wave_leases.resize(order.size());
  FM_RETURN_IF_ERROR(
      context.experts->acquire(context.step, layer_, scratch_.wave_ids, scratch_.wave_leases,
                               {.of_expert = scratch_.wave_rows, .total = context.rows}));
  for (std::size_t j = 0; j < order.size(); ++j) {
    scratch_.leases[order[j]] = std::move(scratch_.wave_leases[j]);
  }
  return Status();
}

Status MoeBlock::forward(StepContext& context, Workspace& workspace, const Activations& x,
                         MatrixView<float> y) const {
  FM_CHECK(context.experts != nullptr);
  Stopwatch watch;
  FM_RETURN_IF_ERROR(route(context, workspace, x));
  context.times.router_seconds += watch.lap();
  group_by_expert(context.rows);
  for (std::size_t r = 0; r < context.rows; ++r) std::fill_n(y.row(r), y.cols, 0.0f);
  scratch_.leases.resize(scratch_.chosen.size());
  const Status status = run_waves(context, workspace, x, y);
  scratch_.leases.clear();
  FM_RETURN_IF_ERROR(status);
  if (context.speculation != nullptr) context.speculation->end(scratch_.overlap);
  context.times.expert_bound_seconds += scratch_.overlap.bound_seconds();

  const MatrixView<float> shared = workspace.shared_out.slice(0, context.rows);
  context.ops.sigmoid_scale_rows(shared, workspace.shared_gate.slice(0, context.rows));
  context.ops.add(y, shared);
  return Status();
}

/// Adds the routed experts to y, in waves of ascending ids that the buffers and the slots can hold.
Status MoeBlock::run_waves(StepContext& context, Workspace& workspace, const Activations& x,
                           MatrixView<float> y) const {
  const std::vector<ChosenExpert>& chosen = scratch_.chosen;
  std::size_t slots = context.experts->slot_limit();
  // What the slots hold at once is asked for at once: nobody who is here leaves before his turn,
  // and the disk has all that it has to do. Else half the slots to a wave leaves the other half to
  // the reads of the next one.
  const bool at_once = chosen.size() <= slots;
  WaveLimits limits = {.experts = at_once ? slots : std::max<std::size_t>(1, slots / 2),
                       .assignments = workspace.shape.assignments};
  // Memory may get short while a wave is computed: what has no lease yet goes by the slots left.
  const auto look_at_slots = [&] {
    if (at_once) return;
    slots = context.experts->slot_limit();
    limits.experts = std::max<std::size_t>(1, slots / 2);
  };
  std::size_t begin = 0;
  std::size_t end = wave_end(0, limits);
  std::size_t leased_end = at_once ? chosen.size() : end;
  scratch_.overlap.begin(Clock::now());
  FM_RETURN_IF_ERROR(acquire(context, 0, leased_end, limits));
  do {
    look_at_slots();
    std::size_t next_end = wave_end(end, limits);
    // The next wave's reads run while this one is computed, where the slots hold both.
    if (leased_end < next_end && next_end - begin <= slots) {
      FM_RETURN_IF_ERROR(acquire(context, end, next_end, limits));
      leased_end = next_end;
    }
    FM_RETURN_IF_ERROR(run_wave(context, workspace, x, begin, end, /*with_shared=*/begin == 0));
    scratch_.terms.clear();
    const std::uint32_t first = first_assignment(begin);
    for (std::uint32_t i = first; i < first_assignment(end); ++i) {
      scratch_.terms.push_back(
          {scratch_.assignment_row[i], i - first, scratch_.assignment_weight[i]});
    }
    context.ops.add_weighted_rows(workspace.expert_out, scratch_.terms, y);
    for (std::size_t i = begin; i < end; ++i) scratch_.leases[i] = ExpertLease();
    FM_RETURN_IF_ERROR(context.check(share_before(end)));
    if (leased_end < next_end) {
      look_at_slots();
      next_end = wave_end(end, limits);
      FM_RETURN_IF_ERROR(acquire(context, end, next_end, limits));
      leased_end = next_end;
    }
    begin = end;
    end = next_end;
  } while (begin < chosen.size());
  return Status();
}

/// Where the assignments of chosen[i] begin; of all of them the end, for i past the last.
std::uint32_t MoeBlock::first_assignment(std::size_t i) const {
  return i < scratch_.chosen.size() ? scratch_.chosen[i].begin
                                    : static_cast<std::uint32_t>(scratch_.assignment_row.size());
}

/// Of the block's work, the share that chosen experts [0, i) are.
double MoeBlock::share_before(std::size_t i) const {
  const std::size_t count = std::max<std::size_t>(1, scratch_.assignment_row.size());
  return static_cast<double>(first_assignment(i)) / static_cast<double>(count);
}

/// Computes the experts of one wave: first those whose bytes are there (with the shared expert, in
/// the first wave), so that reads go on behind the arithmetic; then the rest as they arrive.
Status MoeBlock::run_wave(StepContext& context, Workspace& workspace, const Activations& x,
                          std::size_t begin, std::size_t end, bool with_shared) const {
  scratch_.pending.resize(end - begin);
  std::iota(scratch_.pending.begin(), scratch_.pending.end(), begin);
  bool has_waited = false;
  while (!scratch_.pending.empty() || with_shared) {
    scratch_.ready.clear();
    std::erase_if(scratch_.pending, [this](std::size_t i) {
      if (!scratch_.leases[i].ready()) return false;
      scratch_.ready.push_back(i);
      return true;
    });
    const Clock::time_point now = Clock::now();
    if (has_waited && !scratch_.ready.empty()) scratch_.overlap.arrived(now);
    has_waited = !scratch_.pending.empty();
    if (scratch_.ready.empty() && !with_shared) {
      context.experts->wait_any(scratch_.leases, scratch_.pending);
      FM_RETURN_IF_ERROR(context.check(share_before(begin)));
      continue;
    }
    scratch_.ready_matrices.clear();
    for (const std::size_t i : scratch_.ready) {
      FM_ASSIGN_OR_RETURN(const ExpertView view, scratch_.leases[i].wait());
      scratch_.ready_matrices.push_back(
          expert_matrices(layout_, view, config_.hidden_size, config_.moe.moe_intermediate_size));
    }
    run_experts(context, workspace, x, first_assignment(begin), with_shared);
    scratch_.overlap.computed(now, Clock::now());
    with_shared = false;
  }
  return Status();
}

/// Expert(x) of the assignments of the experts in scratch_.ready, to their rows of
/// workspace.expert_out; and the shared expert's.
void MoeBlock::run_experts(StepContext& context, Workspace& workspace, const Activations& x,
                           std::uint32_t wave_first_assignment, bool with_shared) const {
  Ops& ops = context.ops;
  const std::size_t rows = context.rows;
  const std::size_t shared_inner = config_.moe.shared_expert_intermediate_size;
  const MatrixView<float> shared_gate(workspace.wide_a.data(), rows, shared_inner);
  const MatrixView<float> shared_up(workspace.wide_b.data(), rows, shared_inner);

  // The chosen rows of ready experts are compacted: expert_gate, expert_up and expert_activations
  // have no gaps.
  scratch_.tasks.clear();
  std::size_t count = 0;
  for (std::size_t j = 0; j < scratch_.ready.size(); ++j) {
    const ChosenExpert& expert = scratch_.chosen[scratch_.ready[j]];
    const std::size_t n = expert.end - expert.begin;
    const std::span<const std::uint32_t> x_rows(scratch_.assignment_row.data() + expert.begin, n);
    scratch_.tasks.push_back({.weight = scratch_.ready_matrices[j].gate_proj,
                              .x = &x,
                              .x_rows = x_rows,
                              .y = workspace.expert_gate.slice(count, n)});
    scratch_.tasks.push_back({.weight = scratch_.ready_matrices[j].up_proj,
                              .x = &x,
                              .x_rows = x_rows,
                              .y = workspace.expert_up.slice(count, n)});
    count += n;
  }
  if (with_shared) {
    scratch_.tasks.push_back({.weight = weights_.mlp.gate_proj, .x = &x, .y = shared_gate});
    scratch_.tasks.push_back({.weight = weights_.mlp.up_proj, .x = &x, .y = shared_up});
  }
  ops.linear(scratch_.tasks);

  scratch_.tasks.clear();
  if (count > 0) {
    const MatrixView<float> inner = workspace.expert_gate.slice(0, count);
    ops.swiglu(inner, workspace.expert_up.slice(0, count), inner);
    ops.prepare(inner, workspace.expert_activations);
    while (scratch_.compact_rows.size() < count) {
      scratch_.compact_rows.push_back(static_cast<std::uint32_t>(scratch_.compact_rows.size()));
    }
    std::size_t done = 0;
    for (std::size_t j = 0; j < scratch_.ready.size(); ++j) {
      const ChosenExpert& expert = scratch_.chosen[scratch_.ready[j]];
      const std::size_t n = expert.end - expert.begin;
      scratch_.tasks.push_back(
          {.weight = scratch_.ready_matrices[j].down_proj,
           .x = &workspace.expert_activations,
           .x_rows = std::span<const std::uint32_t>(scratch_.compact_rows).subspan(done, n),
           .y = workspace.expert_out.slice(expert.begin - wave_first_assignment, n)});
      done += n;
    }
  }
  if (with_shared) {
    ops.swiglu(shared_gate, shared_up, shared_gate);
    ops.prepare(shared_gate, workspace.inner_activations);
    scratch_.tasks.push_back({.weight = weights_.mlp.down_proj,
                              .x = &workspace.inner_activations,
                              .y = workspace.shared_out.slice(0, rows)});
  }
  ops.linear(scratch_.tasks);
}

}  // namespace flashmoe
