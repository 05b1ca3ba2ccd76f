#include "engine/memory_planner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/budget_text.h"
#include "flashmoe/engine.h"

namespace flashmoe {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kMib = std::uint64_t{1} << 20;

ModelSpec small_spec() {
  ModelSpec spec;
  spec.vocab_size = 4096;
  spec.hidden_size = 256;
  spec.max_position_embeddings = 20000;
  const MoeSpec moe = {.router = {.num_experts = 64, .num_experts_per_tok = 6},
                       .intermediate_size = 128,
                       .shared_intermediate_size = 128};
  const DeltaNetSpec delta_net = {
      .key_heads = 2, .value_heads = 4, .key_dim = 64, .value_dim = 64, .conv_kernel = 4};
  spec.layers.assign(4, {.mixer = delta_net, .feed_forward = moe});
  spec.layers.back().mixer = AttentionSpec{.num_heads = 4,
                                           .num_kv_heads = 2,
                                           .head_dim = 64,
                                           .rope = {.rotary_dim = 16},
                                           .has_output_gate = true,
                                           .qk_norm = QkNorm::kHeads};
  return spec;
}

ModelFootprint small_footprint() {
  return {
      .process_bytes = 20 * kMib,
      .dense_bytes = 10 * kMib + 1,
      .io_bytes = 4 * kMib,
      .expert_slots = {
          .classes = {{.slot_size = 200 * 1024 + 512, .layer_count = 4, .expert_count = 4 * 64}},
          .of_layer = {0, 0, 0, 0}}};
}

Result<MemoryPlan> plan(const PlanRequest& request) {
  return plan_memory(Network(small_spec()), small_footprint(), request);
}

MemoryPlan boundless(PlanRequest request = {}) {
  request.budget_bytes = std::numeric_limits<std::uint64_t>::max();
  return plan(request).value();
}

std::uint64_t sum_of_parts(const MemoryPlan& plan) {
  return plan.process_bytes + plan.dense_bytes + plan.kv_bytes + plan.recurrent_bytes +
         plan.request_bytes + plan.buffer_bytes + plan.expert_bytes;
}

TEST(MemoryPlanner, PartsFillTheBudgetAndNeverExceedIt) {
  const MemoryPlan all = boundless();
  const std::uint64_t step = (all.budget_bytes_resident - all.budget_bytes_min) / 997;
  for (std::uint64_t budget = all.budget_bytes_min; budget < all.budget_bytes_resident;
       budget += step) {
    const MemoryPlan p = plan({.budget_bytes = budget}).value();
    EXPECT_LE(sum_of_parts(p), budget);
    EXPECT_EQ(p.expert_bytes, p.expert_slots * p.expert_slot_bytes);
    if (p.expert_slots < p.expert_count) {
      // Less is left than a slot and its page tables.
      EXPECT_LT(budget - sum_of_parts(p), p.expert_slot_bytes + p.expert_slot_bytes / 512 + 2);
    }
  }
}

TEST(MemoryPlanner, TheSmallestBudgetWorksAndOneByteLessDoesNot) {
  for (const std::size_t context : {1, 64, 4096, 20000}) {
    const std::uint64_t least = boundless({.context = context}).budget_bytes_min;
    const Result<MemoryPlan> p = plan({.budget_bytes = least, .context = context});
    ASSERT_TRUE(p.ok()) << p.status().message();
    EXPECT_EQ(p->expert_slots, small_spec().moe().router.num_experts_per_tok);
    EXPECT_EQ(sum_of_parts(*p), least);
    const Result<MemoryPlan> less = plan({.budget_bytes = least - 1, .context = context});
    ASSERT_FALSE(less.ok());
    EXPECT_EQ(less.status().code(), StatusCode::kOutOfBudget);
    EXPECT_THAT(less.status().message(), HasSubstr("that works is " + budget_text(least)));
  }
}

TEST(MemoryPlanner, EveryExpertStaysFromTheResidentBudgetOn) {
  for (const std::size_t chunk : {0, 1, 300}) {
    const std::uint64_t resident = boundless({.prefill_chunk = chunk}).budget_bytes_resident;
    for (std::uint64_t more = 0; more < 40 * kMib; more += kMib / 4) {
      const MemoryPlan p = plan({.budget_bytes = resident + more, .prefill_chunk = chunk}).value();
      EXPECT_EQ(p.expert_slots, p.expert_count) << "chunk " << chunk << ", " << more << " more";
    }
  }
}

TEST(MemoryPlanner, LessPreciseKeysAndValuesLeaveMoreForExperts) {
  const PlanRequest request = {.budget_bytes = boundless({.context = 20000}).budget_bytes_min,
                               .context = 20000};
  MemoryPlan before = plan(request).value();
  for (const auto& [precision, share] :
       {std::pair{KvPrecision::kBF16, 1.0 / 2}, {KvPrecision::kInt8, 9.0 / 32}}) {
    const MemoryPlan p =
        plan_memory(Network(small_spec(), precision), small_footprint(), request).value();
    EXPECT_EQ(p.kv_precision, precision);
    EXPECT_EQ(static_cast<double>(p.kv_bytes),
              static_cast<double>(plan(request).value().kv_bytes) * share);
    EXPECT_GT(p.expert_slots, before.expert_slots);
    EXPECT_LT(p.budget_bytes_min, before.budget_bytes_min);
    before = p;
  }
}

TEST(MemoryPlanner, MoreMemoryMeansALargerChunkOrMoreExperts) {
  const MemoryPlan all = boundless();
  MemoryPlan before = plan({.budget_bytes = all.budget_bytes_min}).value();
  for (std::uint64_t budget = all.budget_bytes_min; budget < all.budget_bytes_resident + 9 * kMib;
       budget += 50'001) {
    const MemoryPlan p = plan({.budget_bytes = budget}).value();
    EXPECT_GE(p.prefill_chunk, before.prefill_chunk);
    if (p.prefill_chunk == before.prefill_chunk) {
      EXPECT_GE(p.expert_slots, before.expert_slots);
    }
    before = p;
  }
  EXPECT_EQ(before.expert_slots, before.expert_count);
}

TEST(MemoryPlanner, TheChunkTakesAtMostAnEighthOfWhatIsSpare) {
  const MemoryPlan all = boundless();
  EXPECT_EQ(plan({.budget_bytes = all.budget_bytes_min})->prefill_chunk, kPrefillChunkMin);
  EXPECT_EQ(all.prefill_chunk, kPrefillChunkMax);
  const std::uint64_t buffer_min = plan({.budget_bytes = all.budget_bytes_min})->buffer_bytes;
  for (std::uint64_t spare = 0; spare < 60 * kMib; spare += kMib) {
    const MemoryPlan p = plan({.budget_bytes = all.budget_bytes_min + spare}).value();
    EXPECT_LE(p.buffer_bytes - buffer_min, spare / 8);
  }
}

TEST(MemoryPlanner, AChunkAskedForIsTakenUpToTheContext) {
  EXPECT_EQ(boundless({.prefill_chunk = 7}).prefill_chunk, 7U);
  EXPECT_EQ(boundless({.context = 5, .prefill_chunk = 100}).prefill_chunk, 5U);
  EXPECT_EQ(boundless({.context = 5}).prefill_chunk, 5U);
  EXPECT_GT(boundless({.prefill_chunk = 100}).budget_bytes_min,
            boundless({.prefill_chunk = 7}).budget_bytes_min);
}

TEST(MemoryPlanner, ACapacityLeavesTheRestOfTheBudgetUnused) {
  const MemoryPlan all = boundless();
  const MemoryPlan p = boundless({.capacity = 10});
  EXPECT_EQ(p.expert_slots, 4 * 10u);
  EXPECT_EQ(p.expert_bytes, p.expert_slots * p.expert_slot_bytes);
  EXPECT_EQ(p.budget_bytes_min, all.budget_bytes_min);
  EXPECT_LT(p.process_bytes, all.process_bytes) << "fewer page tables";
  EXPECT_EQ(boundless({.capacity = 2}).expert_slots, 8u);
}

TEST(MemoryPlanner, RefusesACapacityThatCannotBe) {
  const auto refused = [](const PlanRequest& request, StatusCode code, const char* part) {
    const Result<MemoryPlan> p = plan(request);
    ASSERT_FALSE(p.ok());
    EXPECT_EQ(p.status().code(), code);
    EXPECT_THAT(p.status().message(), HasSubstr(part));
  };
  const MemoryPlan all = boundless();
  refused({.budget_bytes = all.budget_bytes_resident, .capacity = 64}, StatusCode::kInvalidArgument,
          "a layer has 64");
  refused({.budget_bytes = all.budget_bytes_resident, .capacity = 1}, StatusCode::kInvalidArgument,
          "a token takes 6");
  refused({.budget_bytes = all.budget_bytes_min, .capacity = 2}, StatusCode::kOutOfBudget,
          "--capacity 2: 8 experts of 4 layers");
}

TEST(MemoryPlanner, EachSessionHasItsOwnMemory) {
  const MemoryPlan one = boundless();
  const MemoryPlan three = boundless({.sessions = 3});
  EXPECT_EQ(three.kv_bytes, 3 * one.kv_bytes);
  EXPECT_EQ(three.recurrent_bytes, 3 * one.recurrent_bytes);
  EXPECT_EQ(three.buffer_bytes, one.buffer_bytes);
}

TEST(MemoryPlanner, TheDefaultContextIsTheModelsUpToALimit) {
  EXPECT_EQ(boundless().context, kDefaultContext);
  ModelSpec spec = small_spec();
  spec.max_position_embeddings = 100;
  const Result<MemoryPlan> p =
      plan_memory(Network(spec), small_footprint(), {.budget_bytes = std::uint64_t{1} << 40});
  ASSERT_TRUE(p.ok());
  EXPECT_EQ(p->context, 100U);
}

TEST(MemoryPlanner, RequestsTakeWhatTheyNeedAndWhatIsSpare) {
  const PlanRequest serving{.context = 4096, .request_bytes = kRequestMemoryAuto};
  const MemoryPlan without = boundless({.context = 4096});
  const MemoryPlan all = boundless(serving);
  const std::uint64_t least = request_bytes_min(4096);
  EXPECT_EQ(without.request_bytes, 0u);
  EXPECT_EQ(all.request_bytes, 384 * kMib);
  // The smallest budget grows by what they need and no more.
  EXPECT_LE(all.budget_bytes_min - without.budget_bytes_min, least + least / 512 + 1);
  PlanRequest request = serving;
  for (request.budget_bytes = all.budget_bytes_min; request.budget_bytes < 400 * kMib;
       request.budget_bytes += 3 * kMib) {
    const MemoryPlan p = plan(request).value();
    EXPECT_LE(sum_of_parts(p), p.budget_bytes);
    EXPECT_GE(p.request_bytes, least);
    const std::uint64_t spare = p.budget_bytes - all.budget_bytes_min;
    // While experts want more slots, requests take a small part of what is spare.
    if (p.expert_slots < p.expert_count) {
      EXPECT_LE(p.request_bytes, least + spare / 16);
    }
  }
}

TEST(MemoryPlanner, RequestsGetWhatIsAskedForThem) {
  const auto of = [](std::uint64_t bytes) {
    return boundless({.context = 4096, .request_bytes = bytes}).request_bytes;
  };
  EXPECT_EQ(of(600 * kMib), 600 * kMib);
  EXPECT_EQ(of(1), request_bytes_min(4096));
  const Status refused = plan({.budget_bytes = 100 * kMib, .request_bytes = 90 * kMib}).status();
  EXPECT_EQ(refused.code(), StatusCode::kOutOfBudget);
  EXPECT_THAT(refused.message(), HasSubstr("+ requests 90"));
}

TEST(MemoryPlanner, AContextBeyondTheModelsIsTheCallersMistake) {
  const Result<MemoryPlan> p = plan({.budget_bytes = std::uint64_t{1} << 40, .context = 20001});
  ASSERT_FALSE(p.ok());
  EXPECT_EQ(p.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(p.status().message(), HasSubstr("20001"));
  EXPECT_THAT(p.status().message(), HasSubstr("20000"));
}

// Two of the four layers take larger slots.
ModelFootprint mixed_footprint() {
  ModelFootprint footprint = small_footprint();
  footprint.expert_slots = {
      .classes = {{.slot_size = 232 * 1024, .layer_count = 2, .expert_count = 2 * 64},
                  {.slot_size = 200 * 1024, .layer_count = 2, .expert_count = 2 * 64}},
      .of_layer = {0, 1, 1, 0}};
  return footprint;
}

Result<MemoryPlan> plan_mixed(PlanRequest request) {
  return plan_memory(Network(small_spec()), mixed_footprint(), request);
}

TEST(MemoryPlanner, SlotsOfTwoSizesFillTheBudget) {
  const MemoryPlan all =
      plan_mixed({.budget_bytes = std::numeric_limits<std::uint64_t>::max()}).value();
  EXPECT_EQ(all.expert_bytes, 2 * 64 * (232u + 200u) * 1024);
  const std::uint64_t step = (all.budget_bytes_resident - all.budget_bytes_min) / 397;
  std::size_t two_sizes = 0;
  for (std::uint64_t budget = all.budget_bytes_min; budget < all.budget_bytes_resident;
       budget += step) {
    const MemoryPlan p = plan_mixed({.budget_bytes = budget}).value();
    EXPECT_LE(sum_of_parts(p), budget);
    EXPECT_EQ(p.expert_slot_bytes, 232u * 1024);
    std::uint64_t bytes = 0;
    std::size_t slots = 0;
    std::size_t experts = 0;
    for (const ExpertSlotClass& c : p.expert_classes) {
      bytes += c.slots * c.slot_bytes;
      slots += c.slots;
      experts += c.experts;
    }
    EXPECT_EQ(p.expert_bytes, bytes);
    EXPECT_EQ(p.expert_slots, slots);
    EXPECT_EQ(p.expert_count, experts);
    if (p.expert_classes.size() == 2) {
      ++two_sizes;
      if (p.expert_slots == p.expert_count) continue;
      EXPECT_LT(budget - sum_of_parts(p), p.expert_slot_bytes + p.expert_slot_bytes / 512 + 2);
      EXPECT_LE(p.expert_classes[1].slots, p.expert_classes[0].slots);
      EXPECT_LE(p.expert_classes[0].slots, p.expert_classes[1].slots + 1);
    }
  }
  EXPECT_GT(two_sizes, 380u);
}

TEST(MemoryPlanner, SlotsOfTwoSizesNeedNoLargerBudget) {
  const MemoryPlan all =
      plan_mixed({.budget_bytes = std::numeric_limits<std::uint64_t>::max()}).value();
  const MemoryPlan least = plan_mixed({.budget_bytes = all.budget_bytes_min}).value();
  const std::size_t top_k = small_spec().moe().router.num_experts_per_tok;
  EXPECT_EQ(least.expert_slots, top_k);
  ASSERT_EQ(least.expert_classes.size(), 1u);
  EXPECT_EQ(least.expert_classes[0].slot_bytes, 232u * 1024);
  EXPECT_EQ(least.expert_classes[0].layers, 4u);
  const MemoryPlan resident = plan_mixed({.budget_bytes = all.budget_bytes_resident}).value();
  EXPECT_EQ(resident.expert_slots, resident.expert_count);
  EXPECT_EQ(resident.expert_bytes, all.expert_bytes) << "no slot is larger than its expert";
}

TEST(MemoryPlanner, ACapacityIsTheSameForLayersOfEverySize) {
  const MemoryPlan p =
      plan_mixed({.budget_bytes = std::numeric_limits<std::uint64_t>::max(), .capacity = 10})
          .value();
  ASSERT_EQ(p.expert_classes.size(), 2u);
  EXPECT_EQ(p.expert_classes[0].slots, 20u);
  EXPECT_EQ(p.expert_classes[1].slots, 20u);
  EXPECT_EQ(p.expert_bytes, 20 * (232u + 200u) * 1024);
}

TEST(MemoryPlanner, AModelWithoutExpertsNeedsNoSlots) {
  ModelFootprint footprint = small_footprint();
  footprint.expert_slots = {.of_layer = {0, 0, 0, 0}};
  const Result<MemoryPlan> p =
      plan_memory(Network(small_spec()), footprint, {.budget_bytes = std::uint64_t{1} << 40});
  ASSERT_TRUE(p.ok());
  EXPECT_EQ(p->expert_slots, 0U);
  EXPECT_EQ(p->expert_bytes, 0U);
  EXPECT_LE(p->budget_bytes_min, p->budget_bytes_resident);
}

/// A plan that takes 6 GiB of a budget of 8.
MemoryPlan plan_of_6_gib() {
  return {.budget_bytes = 8192 * kMib,
          .process_bytes = 1024 * kMib,
          .dense_bytes = 1024 * kMib,
          .kv_bytes = 512 * kMib,
          .prefix_bytes = 512 * kMib,
          .expert_bytes = 3072 * kMib};
}

MemoryInfo machine_of(std::uint64_t available_mib, std::uint64_t limit_mib,
                      std::uint64_t headroom_mib) {
  return {
      .total_bytes = 16384 * kMib,
      .available_bytes = available_mib * kMib,
      .cgroup = CgroupMemory{
          .limit_bytes = limit_mib * kMib, .headroom_bytes = headroom_mib * kMib, .path = "/cg/a"}};
}

TEST(WarningOfTheMachine, NamesTheControlGroupsLimitAndWhatFits) {
  const auto warning = warn_of_machine(plan_of_6_gib(), machine_of(12000, 6143, 5000));
  ASSERT_TRUE(warning.has_value());
  EXPECT_THAT(*warning, HasSubstr("--memory 8 GiB: 6 GiB of it"));
  EXPECT_THAT(*warning, HasSubstr("/cg/a allows 6.0 GiB"));
  EXPECT_THAT(*warning, HasSubstr("--memory 5000MiB"));
  MemoryPlan plan = plan_of_6_gib();
  plan.budget_bytes_min = 5001 * kMib;
  EXPECT_THAT(warn_of_machine(plan, machine_of(12000, 6143, 5000)).value(),
              HasSubstr("not even the smallest budget that works, 4.9 GiB, fits now"));
}

TEST(WarningOfTheMachine, NamesWhatIsFreeWhereThatIsLess) {
  const auto in_group = warn_of_machine(plan_of_6_gib(), machine_of(12000, 7000, 5000));
  ASSERT_TRUE(in_group.has_value());
  EXPECT_THAT(*in_group, HasSubstr("4.9 GiB are free in the control group /cg/a"));
  EXPECT_THAT(*in_group, HasSubstr("--memory 5000MiB"));
  const auto on_machine = warn_of_machine(plan_of_6_gib(), machine_of(4000, 7000, 6500));
  ASSERT_TRUE(on_machine.has_value());
  EXPECT_THAT(*on_machine, HasSubstr("3.9 GiB are free; what fits now is --memory 4000MiB"));
}

TEST(WarningOfTheMachine, IsNoneWhereThePlanFits) {
  // What the plan takes counts, not the budget.
  EXPECT_EQ(warn_of_machine(plan_of_6_gib(), machine_of(6144, 6144, 6144)), std::nullopt);
  EXPECT_EQ(warn_of_machine(plan_of_6_gib(), MemoryInfo{}), std::nullopt);
}

}  // namespace
}  // namespace flashmoe
