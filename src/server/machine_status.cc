#include "server/machine_status.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/memory_info.h"
#include "server/reply_writer.h"

namespace flashmoe::server {
namespace {

std::size_t resident_count(const std::vector<std::vector<ExpertState>>& layers) {
  std::size_t count = 0;
  for (const std::vector<ExpertState>& experts : layers) {
    count += static_cast<std::size_t>(std::count_if(
        experts.begin(), experts.end(), [](const ExpertState& each) { return each.is_resident; }));
  }
  return count;
}

Json expert_map_json(const std::vector<std::vector<ExpertState>>& layers) {
  Json map = Json::array();
  for (const std::vector<ExpertState>& experts : layers) {
    std::string letters;
    for (const ExpertState& expert : experts) {
      const float uses = expert.hits + expert.misses;
      if (uses < 0.05f) {
        letters += expert.is_resident ? 'r' : '.';
        continue;
      }
      const int heat = std::clamp(static_cast<int>(std::log2(uses) + 4), 0, 8);
      letters += static_cast<char>((expert.misses > expert.hits ? 'A' : 'a') + heat);
    }
    if (!letters.empty()) map.push_back(letters);
  }
  return map;
}

}  // namespace

Json machine_status_json(const ModelCard& card, const Engine& engine, const Scheduler& scheduler,
                         bool with_map) {
  const SchedulerStatistics now = scheduler.statistics();
  const EngineStatistics& totals = now.engine;
  const MemoryPlan& plan = engine.memory_plan();
  const std::vector<std::vector<ExpertState>> experts = scheduler.expert_states();
  const std::size_t resident = resident_count(experts);
  Json status = {{"model", card.id},
                 {"uptime_seconds", unix_seconds() - card.created},
                 {"residency", to_string(engine.residency().residency)},
                 {"is_approximate", engine.residency().is_approximate()},
                 {"kv_precision", to_string(plan.kv_precision)},
                 {"memory",
                  {{"budget_bytes", plan.budget_bytes},
                   {"resident_bytes", read_process_memory().rss_bytes},
                   {"process_bytes", plan.process_bytes},
                   {"dense_bytes", plan.dense_bytes},
                   {"kv_bytes", plan.kv_bytes},
                   {"recurrent_bytes", plan.recurrent_bytes},
                   {"buffer_bytes", plan.buffer_bytes},
                   {"expert_bytes", plan.expert_bytes},
                   {"prefix_bytes", plan.prefix_bytes},
                   {"request_bytes", plan.request_bytes},
                   // What is in use of it, where that is counted.
                   {"used",
                    {{"dense_bytes", plan.dense_bytes},
                     {"expert_bytes", totals.expert_used_bytes},
                     {"prefix_bytes", now.checkpoint_bytes}}}}},
                 {"experts",
                  {{"count", plan.expert_count},
                   {"resident", resident},
                   {"slots", totals.expert_slot_limit},
                   {"hits", totals.expert_hits},
                   {"misses", totals.expert_misses},
                   {"evictions", totals.expert_evictions},
                   {"guesses", totals.speculative_reads},
                   {"guesses_right", totals.speculative_hits},
                   {"restored", totals.experts_restored},
                   {"bytes_read", totals.bytes_read},
                   {"wait_seconds", totals.expert_wait_seconds}}},
                 {"prefixes",
                  {{"checkpoints", now.checkpoints},
                   {"bytes", now.checkpoint_bytes},
                   {"evictions", now.checkpoint_evictions},
                   {"disk_checkpoints", now.disk_checkpoints},
                   {"disk_bytes", now.disk_checkpoint_bytes},
                   {"disk_loads", now.disk_checkpoint_loads}}},
                 {"requests",
                  {{"places", now.places},
                   {"running", now.running},
                   {"waiting", now.waiting},
                   {"ended", now.requests},
                   {"failed", now.failures},
                   {"cancelled", now.cancellations},
                   {"prompt_tokens", now.prompt_tokens},
                   {"cached_tokens", now.cached_tokens},
                   {"generated_tokens", now.generated_tokens},
                   {"decode_rows", now.decode_rows},
                   {"decode_steps", now.decode_steps},
                   {"prefill_seconds", now.prefill_seconds},
                   {"decode_seconds", now.decode_seconds}}}};
  if (with_map) status["map"] = expert_map_json(experts);
  return status;
}

}  // namespace flashmoe::server
