#include "model/layers/moe_block.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/stopwatch.h"
#include "model/layers/bias.h"
#include "model/layers/glu.h"
#include "model/miss_handler.h"
#include "model/speculative_reader.h"

namespace flashmoe {
namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

/// Buffers for `rows_max` rows, whatever the step has: the waves of a step go by them.
struct MoeBlock::Buffers {
  Buffers(const MoeSpec& spec, std::size_t hidden, std::size_t rows_max, Scratch& scratch)
      : assignments(
            std::max(rows_max, std::min(rows_max, kStepRowsMax) * spec.router.num_experts_per_tok)),
        router_logits(scratch.matrix(rows_max, spec.router.num_experts)),
        expert_gate_up(scratch.matrix(assignments, 2 * spec.intermediate_size)),
        expert_gate(half(expert_gate_up, 0)),
        expert_up(half(expert_gate_up, spec.intermediate_size)),
        expert_out(scratch.matrix(assignments, hidden)),
        expert_inner(scratch.activations(assignments, spec.intermediate_size)) {
    if (spec.router.has_input_norm || spec.has_branch_norms) {
      normed = scratch.matrix(rows_max, hidden);
      normed_x = scratch.activations(rows_max, hidden);
    }
    if (spec.shared_intermediate_size == 0) return;
    if (spec.has_shared_gate) shared_score = scratch.matrix(rows_max, 1);
    shared_gate = scratch.matrix(rows_max, spec.shared_intermediate_size);
    shared_up = scratch.matrix(rows_max, spec.shared_intermediate_size);
    shared_out = scratch.matrix(rows_max, hidden);
    shared_inner = scratch.activations(rows_max, spec.shared_intermediate_size);
  }

  /// The half of both's columns that begins at `col`.
  static MatrixView<float> half(MatrixView<float> both, std::size_t col) {
    return {both.data == nullptr ? nullptr : both.data + col, both.rows, both.cols / 2,
            both.stride};
  }

  // A decode step of a few rows goes in one wave. Prompts, whose rows pick the same experts again
  // and again, are cut into waves of whole experts: each fits, since an expert has at most
  // `rows_max` rows.
  static constexpr std::size_t kStepRowsMax = 8;

  std::size_t assignments;  // (row, routed expert) pairs computed at a time
  MatrixView<float> router_logits;
  MatrixView<float> expert_gate_up;  // the next two side by side
  MatrixView<float> expert_gate;
  MatrixView<float> expert_up;
  MatrixView<float> expert_out;
  Activations* expert_inner;
  MatrixView<float> normed;         // by the router, then for the routed experts
  Activations* normed_x = nullptr;  // of normed
  MatrixView<float> shared_score;   // what its gate says
  MatrixView<float> shared_gate;
  MatrixView<float> shared_up;
  MatrixView<float> shared_out;
  Activations* shared_inner = nullptr;
};

Status MoeBlock::declare(LayerTensors& tensors) {
  FM_RETURN_IF_ERROR(router_.declare(tensors));
  if (spec_.has_branch_norms) {
    FM_RETURN_IF_ERROR(tensors.vector(TensorId::kExpertsNorm, hidden_, &experts_norm_));
    FM_RETURN_IF_ERROR(tensors.vector(TensorId::kExpertsOutNorm, hidden_, &experts_out_norm_));
    FM_RETURN_IF_ERROR(tensors.vector(TensorId::kSharedOutNorm, hidden_, &shared_out_norm_));
  }
  if (!has_shared()) return Status();
  const std::size_t inner = spec_.shared_intermediate_size;
  if (spec_.has_shared_gate) {
    FM_RETURN_IF_ERROR(
        tensors.matrix(TensorId::kSharedExpertGate, 1, hidden_, &shared_expert_gate_));
  }
  FM_RETURN_IF_ERROR(tensors.matrix(TensorId::kSharedGateProj, inner, hidden_, &shared_gate_proj_));
  FM_RETURN_IF_ERROR(tensors.matrix(TensorId::kSharedUpProj, inner, hidden_, &shared_up_proj_));
  return tensors.matrix(TensorId::kSharedDownProj, hidden_, inner, &shared_down_proj_);
}

ScratchSize MoeBlock::scratch_size(std::size_t rows) const {
  Scratch scratch;
  Buffers(spec_, hidden_, rows, scratch);
  return scratch.size();
}

/// A norm of the block's own, prepared; the one before is gone.
const Activations& MoeBlock::norm(const Buffers& buffers, Ops& ops,
                                  MatrixView<const float> residual,
                                  std::span<const float> weight) const {
  const MatrixView<float> normed = buffers.normed.slice(0, residual.rows);
  ops.rms_norm(residual, weight.data(), rms_norm_eps_, normed);
  ops.prepare(normed, *buffers.normed_x);
  return *buffers.normed_x;
}

Status MoeBlock::route(StepContext& context, const Buffers& buffers,
                       const FeedForwardInput& x) const {
  const std::size_t rows = context.rows;
  const std::size_t k = spec_.router.num_experts_per_tok;
  const MatrixView<float> logits = buffers.router_logits.slice(0, rows);
  const Activations& router_x = router_.input_norm().empty()
                                    ? x.normed
                                    : norm(buffers, context.ops, x.residual, router_.input_norm());
  books_.tasks.clear();
  books_.tasks.push_back(router_.logits_task(router_x, logits));
  if (has_shared() && spec_.has_shared_gate) {
    books_.tasks.push_back(
        {.weight = shared_expert_gate_, .x = &x.normed, .y = buffers.shared_score.slice(0, rows)});
  }
  context.ops.linear(books_.tasks);
  router_.add_bias(context.ops, logits);
  books_.routed_ids.resize(rows * k);
  books_.routed_weights.resize(rows * k);
  router_.choose(context.ops, logits, books_.routed_ids, books_.routed_weights);
  FM_RETURN_IF_ERROR(context.check(0));
  if (context.routing_source != nullptr &&
      context.routing_source->choose(layer_, context.segments, books_.routed_ids,
                                     books_.routed_weights) ==
          RoutingSource::Weights::kFromRouter) {
    router_.weigh(logits, books_.routed_ids, books_.routed_weights);
  }
  if (context.speculation != nullptr) context.speculation->on_routed(books_.routed_ids);
  if (context.routing_observer != nullptr) {
    context.routing_observer->on_routed(layer_, context.segments, books_.routed_ids,
                                        books_.routed_weights);
  }
  if (context.misses != nullptr) {
    context.misses->resolve(layer_, router_, context.segments, logits, books_.routed_ids,
                            books_.routed_weights);
  }
  return Status();
}

/// Turns the routing around, from experts by row to rows by expert (a counting sort).
void MoeBlock::group_by_expert(std::size_t rows) const {
  const std::size_t k = spec_.router.num_experts_per_tok;
  books_.expert_cursor.assign(spec_.router.num_experts, 0);
  books_.best_rank.resize(spec_.router.num_experts);
  for (std::size_t i = 0; i < rows * k; ++i) {
    const std::uint16_t id = books_.routed_ids[i];
    if (id == kNoExpert) continue;
    const auto rank = static_cast<std::uint32_t>(i % k);
    std::uint32_t& best = books_.best_rank[id];
    best = books_.expert_cursor[id]++ == 0 ? rank : std::min(best, rank);
  }
  books_.chosen.clear();
  std::uint32_t begin = 0;
  for (std::size_t id = 0; id < books_.expert_cursor.size(); ++id) {
    const std::uint32_t count = std::exchange(books_.expert_cursor[id], begin);
    if (count == 0) continue;
    books_.chosen.push_back(
        {ExpertId{static_cast<std::uint16_t>(id)}, begin, begin + count, books_.best_rank[id]});
    begin += count;
  }
  books_.assignment_row.resize(begin);
  books_.assignment_weight.resize(begin);
  for (std::size_t i = 0; i < rows * k; ++i) {
    if (books_.routed_ids[i] == kNoExpert) continue;
    const std::uint32_t at = books_.expert_cursor[books_.routed_ids[i]]++;
    books_.assignment_row[at] = static_cast<std::uint32_t>(i / k);
    books_.assignment_weight[at] = books_.routed_weights[i];
  }
}

/// The longest run of chosen experts from `begin` that fits the limits; at least one, if any is
/// left.
std::size_t MoeBlock::wave_end(std::size_t begin, const WaveLimits& limits) const {
  const std::vector<ChosenExpert>& chosen = books_.chosen;
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
  std::vector<std::size_t>& order = books_.wave_order;
  order.resize(end - begin);
  std::iota(order.begin(), order.end(), begin);
  for (std::size_t wave = begin; wave < end;) {
    const std::size_t next = std::min(wave_end(wave, limits), end);
    std::sort(order.data() + (wave - begin), order.data() + (next - begin),
              [this](std::size_t a, std::size_t b) {
                return std::pair(books_.chosen[a].best_rank, a) <
                       std::pair(books_.chosen[b].best_rank, b);
              });
    wave = next;
  }
  books_.wave_ids.clear();
  books_.wave_rows.clear();
  for (const std::size_t i : order) {
    books_.wave_ids.push_back(books_.chosen[i].id);
    books_.wave_rows.push_back(
        static_cast<std::uint32_t>(books_.chosen[i].end - books_.chosen[i].begin));
  }
  books_.wave_leases.resize(order.size());
  FM_RETURN_IF_ERROR(
      context.experts->acquire(context.step, layer_, books_.wave_ids, books_.wave_leases,
                               {.of_expert = books_.wave_rows, .total = context.rows}));
  for (std::size_t j = 0; j < order.size(); ++j) {
    books_.leases[order[j]] = std::move(books_.wave_leases[j]);
  }
  return Status();
}

Status MoeBlock::forward(StepContext& context, Scratch& scratch, const FeedForwardInput& x,
                         MatrixView<float> y) {
  FM_CHECK(context.experts != nullptr);
  const Buffers buffers(spec_, hidden_, context.rows_max, scratch);
  Stopwatch watch;
  FM_RETURN_IF_ERROR(route(context, buffers, x));
  context.times.router_seconds += watch.lap();
  group_by_expert(context.rows);
  const Pass pass{
      context, buffers,
      spec_.has_branch_norms ? norm(buffers, context.ops, x.residual, experts_norm_) : x.normed,
      x.normed};
  for (std::size_t r = 0; r < context.rows; ++r) std::fill_n(y.row(r), y.cols, 0.0f);
  books_.leases.resize(books_.chosen.size());
  const Status status = run_waves(pass, y);
  books_.leases.clear();
  FM_RETURN_IF_ERROR(status);
  if (context.speculation != nullptr) context.speculation->end(books_.overlap);
  context.times.expert_bound_seconds += books_.overlap.bound_seconds();

  if (!has_shared()) return Status();
  const MatrixView<float> shared = buffers.shared_out.slice(0, context.rows);
  if (spec_.has_shared_gate) {
    context.ops.sigmoid_scale_rows(shared, buffers.shared_score.slice(0, context.rows));
  }
  if (spec_.has_branch_norms) {
    context.ops.rms_norm(y, experts_out_norm_.data(), rms_norm_eps_, y);
    context.ops.rms_norm(shared, shared_out_norm_.data(), rms_norm_eps_, shared);
  }
  context.ops.add(y, shared);
  return Status();
}

/// Adds the routed experts to y, in waves of ascending ids that the buffers and the slots can hold.
Status MoeBlock::run_waves(const Pass& pass, MatrixView<float> y) const {
  StepContext& context = pass.context;
  const std::vector<ChosenExpert>& chosen = books_.chosen;
  std::size_t slots = context.experts->slot_limit(layer_);
  // What the slots hold at once is asked for at once: nobody who is here leaves before his turn,
  // and the disk has all that it has to do. Else half the slots to a wave leaves the other half to
  // the reads of the next one.
  const bool at_once = chosen.size() <= slots;
  WaveLimits limits = {.experts = at_once ? slots : std::max<std::size_t>(1, slots / 2),
                       .assignments = pass.buffers.assignments};
  // Memory may get short while a wave is computed: what has no lease yet goes by the slots left.
  const auto look_at_slots = [&] {
    if (at_once) return;
    slots = context.experts->slot_limit(layer_);
    limits.experts = std::max<std::size_t>(1, slots / 2);
  };
  std::size_t begin = 0;
  std::size_t end = wave_end(0, limits);
  std::size_t leased_end = at_once ? chosen.size() : end;
  books_.overlap.begin(Clock::now());
  FM_RETURN_IF_ERROR(acquire(context, 0, leased_end, limits));
  do {
    look_at_slots();
    std::size_t next_end = wave_end(end, limits);
    // The next wave's reads run while this one is computed, where the slots hold both.
    if (leased_end < next_end && next_end - begin <= slots) {
      FM_RETURN_IF_ERROR(acquire(context, end, next_end, limits));
      leased_end = next_end;
    }
    FM_RETURN_IF_ERROR(run_wave(pass, begin, end, /*with_shared=*/has_shared() && begin == 0));
    books_.terms.clear();
    const std::uint32_t first = first_assignment(begin);
    for (std::uint32_t i = first; i < first_assignment(end); ++i) {
      books_.terms.push_back({books_.assignment_row[i], i - first, books_.assignment_weight[i]});
    }
    context.ops.add_weighted_rows(pass.buffers.expert_out, books_.terms, y);
    for (std::size_t i = begin; i < end; ++i) books_.leases[i] = ExpertLease();
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
  return i < books_.chosen.size() ? books_.chosen[i].begin
                                  : static_cast<std::uint32_t>(books_.assignment_row.size());
}

/// Of the block's work, the share that chosen experts [0, i) are.
double MoeBlock::share_before(std::size_t i) const {
  const std::size_t count = std::max<std::size_t>(1, books_.assignment_row.size());
  return static_cast<double>(first_assignment(i)) / static_cast<double>(count);
}

/// Computes the experts of one wave: first those whose bytes are there (with the shared expert, in
/// the first wave), so that reads go on behind the arithmetic; then the rest as they arrive.
Status MoeBlock::run_wave(const Pass& pass, std::size_t begin, std::size_t end,
                          bool with_shared) const {
  StepContext& context = pass.context;
  books_.pending.resize(end - begin);
  std::iota(books_.pending.begin(), books_.pending.end(), begin);
  bool has_waited = false;
  while (!books_.pending.empty() || with_shared) {
    books_.ready.clear();
    std::erase_if(books_.pending, [this](std::size_t i) {
      if (!books_.leases[i].ready()) return false;
      books_.ready.push_back(i);
      return true;
    });
    const Clock::time_point now = Clock::now();
    if (has_waited && !books_.ready.empty()) books_.overlap.arrived(now);
    has_waited = !books_.pending.empty();
    if (books_.ready.empty() && !with_shared) {
      context.experts->wait_any(books_.leases, books_.pending);
      FM_RETURN_IF_ERROR(context.check(share_before(begin)));
      continue;
    }
    books_.ready_matrices.clear();
    for (const std::size_t i : books_.ready) {
      FM_ASSIGN_OR_RETURN(const ExpertView view, books_.leases[i].wait());
      books_.ready_matrices.push_back(
          expert_matrices(layout_, view, hidden_, spec_.intermediate_size));
    }
    run_experts(pass, first_assignment(begin), with_shared);
    FM_RETURN_IF_ERROR(check_scales(pass, first_assignment(begin)));
    books_.overlap.computed(now, Clock::now());
    with_shared = false;
  }
  return Status();
}

/// Expert(x) of the assignments of the experts in books_.ready, to their rows of
/// Buffers::expert_out; and the shared expert's.
void MoeBlock::run_experts(const Pass& pass, std::uint32_t wave_first_assignment,
                           bool with_shared) const {
  Ops& ops = pass.context.ops;
  const Buffers& buffers = pass.buffers;
  const std::size_t rows = pass.context.rows;
  const MatrixView<float> shared_gate = buffers.shared_gate.slice(0, rows);
  const MatrixView<float> shared_up = buffers.shared_up.slice(0, rows);

  // The chosen rows of ready experts are compacted: expert_gate, expert_up and expert_inner
  // have no gaps.
  books_.tasks.clear();
  std::size_t count = 0;
  for (std::size_t j = 0; j < books_.ready.size(); ++j) {
    const ChosenExpert& expert = books_.chosen[books_.ready[j]];
    const std::size_t n = expert.end - expert.begin;
    const std::span<const std::uint32_t> x_rows(books_.assignment_row.data() + expert.begin, n);
    const ExpertMatrices& matrices = books_.ready_matrices[j];
    const auto add_task = [&](const WeightView& weight, MatrixView<float> y) {
      books_.tasks.push_back(
          {.weight = weight, .x = &pass.x, .x_rows = x_rows, .y = y.slice(count, n)});
    };
    if (layout_.gate_up_is_interleaved) {
      add_task(matrices.gate_up_proj, buffers.expert_gate_up);
    } else {
      add_task(matrices.gate_proj, buffers.expert_gate);
      add_task(matrices.up_proj, buffers.expert_up);
    }
    count += n;
  }
  if (with_shared) {
    books_.tasks.push_back({.weight = shared_gate_proj_, .x = &pass.shared_x, .y = shared_gate});
    books_.tasks.push_back({.weight = shared_up_proj_, .x = &pass.shared_x, .y = shared_up});
  }
  ops.linear(books_.tasks);

  books_.tasks.clear();
  if (count > 0) {
    complete_gate_up(pass);
    const MatrixView<float> inner = buffers.expert_gate.slice(0, count);
    apply(spec_.glu, ops, inner, buffers.expert_up.slice(0, count), inner);
    ops.prepare(inner, *buffers.expert_inner);
    while (books_.compact_rows.size() < count) {
      books_.compact_rows.push_back(static_cast<std::uint32_t>(books_.compact_rows.size()));
    }
    std::size_t done = 0;
    for (std::size_t j = 0; j < books_.ready.size(); ++j) {
      const ChosenExpert& expert = books_.chosen[books_.ready[j]];
      const std::size_t n = expert.end - expert.begin;
      books_.tasks.push_back(
          {.weight = books_.ready_matrices[j].down_proj,
           .x = buffers.expert_inner,
           .x_rows = std::span<const std::uint32_t>(books_.compact_rows).subspan(done, n),
           .y = buffers.expert_out.slice(expert.begin - wave_first_assignment, n)});
      done += n;
    }
  }
  if (with_shared) {
    apply(spec_.glu, ops, shared_gate, shared_up, shared_gate);
    ops.prepare(shared_gate, *buffers.shared_inner);
    books_.tasks.push_back({.weight = shared_down_proj_,
                            .x = buffers.shared_inner,
                            .y = buffers.shared_out.slice(0, rows)});
  }
  ops.linear(books_.tasks);
  for (std::size_t j = 0; j < books_.ready.size(); ++j) {
    const ChosenExpert& expert = books_.chosen[books_.ready[j]];
    add_bias(
        ops, books_.ready_matrices[j].down_bias,
        buffers.expert_out.slice(expert.begin - wave_first_assignment, expert.end - expert.begin));
  }
}

/// Scales that are NaN make every output of their row NaN, and of gate and up those of all rows: so
/// an expert's are looked at where its first output has one, and cost nothing elsewhere.
Status MoeBlock::check_scales(const Pass& pass, std::uint32_t wave_first_assignment) const {
  for (std::size_t j = 0; j < books_.ready.size(); ++j) {
    const ChosenExpert& expert = books_.chosen[books_.ready[j]];
    const std::span<const float> out(
        pass.buffers.expert_out.row(expert.begin - wave_first_assignment), hidden_);
    if (std::ranges::none_of(out, [](float y) { return std::isnan(y); })) continue;
    const std::string_view name = find_bad_scales(books_.ready_matrices[j]);
    if (name.empty()) continue;
    return error(StatusCode::kCorrupt,
                 "layer {}, expert {}: the scales of {} hold a NaN; download the model again",
                 layer_.value, expert.id.value, name);
  }
  return Status();
}

/// Every row of y += an expert's bias, null for none.
void MoeBlock::add_bias(Ops& ops, const std::byte* bias, MatrixView<float> y) const {
  if (bias == nullptr) return;
  books_.bias.resize(y.cols);
  widen(*layout_.bias, bias, books_.bias);
  flashmoe::add_bias(ops, books_.bias, y);
}

/// What the products with the ready experts' gate and up lack: biases, and the order of columns.
void MoeBlock::complete_gate_up(const Pass& pass) const {
  if (!layout_.bias && !layout_.gate_up_is_interleaved) return;
  Ops& ops = pass.context.ops;
  const Buffers& buffers = pass.buffers;
  std::size_t begin = 0;
  for (std::size_t j = 0; j < books_.ready.size(); ++j) {
    const ChosenExpert& expert = books_.chosen[books_.ready[j]];
    const std::size_t n = expert.end - expert.begin;
    const ExpertMatrices& matrices = books_.ready_matrices[j];
    add_bias(ops, matrices.gate_up_bias, buffers.expert_gate_up.slice(begin, n));
    add_bias(ops, matrices.gate_bias, buffers.expert_gate.slice(begin, n));
    add_bias(ops, matrices.up_bias, buffers.expert_up.slice(begin, n));
    begin += n;
  }
  if (!layout_.gate_up_is_interleaved) return;
  const std::size_t inner = spec_.intermediate_size;
  books_.up.resize(inner);
  for (std::size_t r = 0; r < begin; ++r) {
    float* const row = buffers.expert_gate_up.row(r);
    for (std::size_t i = 0; i < inner; ++i) {
      books_.up[i] = row[2 * i + 1];
      row[i] = row[2 * i];
    }
    std::ranges::copy(books_.up, row + inner);
  }
}

}  // namespace flashmoe
