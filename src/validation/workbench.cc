#include "validation/workbench.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/memory_info.h"
#include "base/result.h"
#include "base/stopwatch.h"
#include "flashmoe/inspection.h"
#include "io/page_cache.h"

namespace flashmoe {
namespace {

/// The judge stays open beside what it judges up to this size of a model; larger ones take turns.
constexpr std::uint64_t kJudgeStaysBelow = std::uint64_t{4} << 30;

/// Logits that are kept of an answer: the first tokens always, then as many as fit.
constexpr std::size_t kLogitsKeptMax = std::size_t{256} << 20;
constexpr std::size_t kFirstTokens = 30;

constexpr std::size_t kHeldOutTokens = 256;

/// Whether the logits of token `i` of `count` are kept.
bool is_judged(std::size_t i, std::size_t count, std::size_t vocab_size) {
  const std::size_t room = std::max<std::size_t>(
      1, kLogitsKeptMax / sizeof(float) / std::max<std::size_t>(1, vocab_size));
  const std::size_t stride = (count + room - 1) / room;
  return i < kFirstTokens || stride <= 1 || i % stride == 0;
}

/// prompts.json of a model folder: texts by domain. Empty where it is missing or something else.
std::map<std::string, std::vector<std::string>, std::less<>> read_texts(
    const std::filesystem::path& path) {
  std::map<std::string, std::vector<std::string>, std::less<>> texts;
  std::ifstream file(path);
  const auto json = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return texts;
  for (const auto& [domain, list] : json.items()) {
    if (!list.is_array()) continue;
    for (const auto& text : list) {
      if (text.is_string()) texts[domain].push_back(text.get<std::string>());
    }
  }
  return texts;
}

}  // namespace

double TurnResult::tokens_per_second() const {
  const GenerateStatistics& run = result.statistics;
  return run.decode_seconds > 0 && run.generated_tokens > 1
             ? static_cast<double>(run.generated_tokens - 1) / run.decode_seconds
             : 0;
}

double TurnResult::fallback_rate() const {
  const std::uint64_t requests = after.routed_requests - before.routed_requests;
  return requests == 0 ? 0
                       : static_cast<double>(after.routed_fallbacks - before.routed_fallbacks) /
                             static_cast<double>(requests);
}

Result<std::unique_ptr<Workbench>> Workbench::create(const Options& options) {
  std::unique_ptr<Workbench> bench(new Workbench(options));
  FM_ASSIGN_OR_RETURN(const ModelInspection inspection, inspect_model({.model = options.model}));
  bench->info_ = inspection.info;
  bench->num_experts_ = inspection.info.num_experts;
  if (inspection.minimum.expert_count == 0) {
    return error(StatusCode::kUnsupported, "{}: the model has no routed experts to validate",
                 options.model.string());
  }
  bench->budget_min_ = inspection.minimum.budget_bytes_min;
  bench->resident_bytes_ = inspection.minimum.budget_bytes_resident;
  const std::uint64_t memory =
      options.memory_bytes != 0 ? options.memory_bytes : default_budget_bytes(read_memory_info());
  bench->can_be_resident_ = bench->resident_bytes_ <= memory;
  FM_ASSIGN_OR_RETURN(const std::vector<MemoryPlan> plans, bench->plan({memory}));
  const auto own = std::ranges::find(plans, memory, &MemoryPlan::budget_bytes);
  if (own != plans.end()) bench->plan_ = *own;
  bench->texts_ = read_texts(options.model / "prompts.json");
  return bench;
}

std::size_t Workbench::capacity(std::size_t of_512) const {
  const std::size_t share = (num_experts_ * of_512 + 256) / 512;
  return std::clamp(share, info_.num_experts_per_tok, num_experts_ - 1);
}

bool Workbench::fits_in(const MemoryPlan& plan, std::size_t capacity) const {
  const std::size_t slots = capacity * (plan.expert_count / num_experts_);
  if (plan.expert_slots < slots || plan.expert_slots == 0) return false;
  const std::uint64_t slot_bytes = (plan.expert_bytes + plan.expert_slots - 1) / plan.expert_slots;
  return plan.expert_bytes >= slots * slot_bytes + 2 * plan.recurrent_bytes;
}

Result<std::unique_ptr<Engine>> Workbench::open(const ResidencyOptions& residency) {
  if (resident_bytes_ > kJudgeStaysBelow) exact_ = nullptr;
  EngineOptions options{.model = options_.model,
                        .memory_bytes = options_.memory_bytes,
                        .threads = options_.threads,
                        .context = options_.context,
                        .residency = residency};
  return Engine::open(options);
}

Result<Engine*> Workbench::exact() {
  if (exact_ == nullptr) {
    FM_ASSIGN_OR_RETURN(exact_, open({}));
  }
  return exact_.get();
}

Result<TurnResult> Workbench::take_turn(Engine& engine, Session& session, const Turn& turn,
                                        std::vector<std::vector<float>>& logits) {
  TurnResult taken;
  if (!turn.keeps_context) FM_RETURN_IF_ERROR(session.reset());
  FM_ASSIGN_OR_RETURN(const std::vector<std::int32_t> ids, engine.tokenize(turn.prompt));
  taken.before = engine.statistics();
  GenerateOptions options{.max_tokens = turn.max_tokens, .ignore_eos = true};
  options.is_new_subject = turn.is_new_subject;
  std::size_t picked = 0;
  options.on_logits = [&](std::span<const float> row) {
    if (turn.wants_quality && is_judged(picked, turn.max_tokens, row.size())) {
      logits.emplace_back(row.begin(), row.end());
    }
    ++picked;
  };
  bool recomputes = turn.recomputes_after_swaps;
  options.on_token = [&](const TokenReport& report) {
    taken.tokens.push_back(report);
    return !recomputes || report.swaps_pending > 0;
  };
  Stopwatch watch;
  FM_ASSIGN_OR_RETURN(taken.result, session.generate(ids, options));
  if (recomputes && taken.result.token_ids.size() < turn.max_tokens) {
    recomputes = false;
    FM_RETURN_IF_ERROR(recompute(session, options, taken));
  }
  taken.seconds = watch.lap();
  taken.rss_bytes = read_process_memory().rss_bytes;
  taken.after = engine.statistics();
  const std::span<const std::int32_t> all = session.token_ids();
  taken.context.assign(all.begin(),
                       all.end() - static_cast<std::ptrdiff_t>(taken.result.token_ids.size()));
  for (const std::int32_t id : taken.result.token_ids) {
    const Result<std::string> piece = engine.detokenize({&id, 1});
    taken.pieces.push_back(piece.ok() ? *piece : "");
  }
  return taken;
}

/// Reads the sequence again from its beginning and goes on.
Status Workbench::recompute(Session& session, const GenerateOptions& options, TurnResult& taken) {
  const std::vector<std::int32_t> all(session.token_ids().begin(), session.token_ids().end());
  FM_RETURN_IF_ERROR(session.reset());
  GenerateOptions rest = options;
  rest.is_new_subject = false;
  rest.max_tokens = options.max_tokens - taken.result.token_ids.size();
  FM_ASSIGN_OR_RETURN(const GenerateResult more, session.generate(all, rest));
  GenerateResult& result = taken.result;
  result.text += more.text;
  result.token_ids.insert(result.token_ids.end(), more.token_ids.begin(), more.token_ids.end());
  result.statistics.decode_seconds +=
      more.statistics.decode_seconds + more.statistics.time_to_first_token_seconds;
  result.statistics.generated_tokens = result.token_ids.size();
  return Status();
}

Result<std::vector<MemoryPlan>> Workbench::plan(const std::vector<std::uint64_t>& budgets) const {
  FM_ASSIGN_OR_RETURN(
      ModelInspection inspection,
      inspect_model({.model = options_.model, .context = options_.context, .budgets = budgets}));
  return std::move(inspection.plans);
}

Status Workbench::inspect() const { return inspect_model({.model = options_.model}).status(); }

Status Workbench::drop_page_cache() const {
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(options_.model, failed)) {
    if (entry.path().extension() == ".safetensors") {
      FM_RETURN_IF_ERROR(flashmoe::drop_page_cache(entry.path()));
    }
  }
  return Status();
}

/// Reads the answer with the exact model.
Status Workbench::judge(TurnResult& turn, const std::vector<std::vector<float>>& logits) {
  if (logits.empty()) return Status();
  FM_ASSIGN_OR_RETURN(Engine* const engine, exact());
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, engine->new_session());
  std::vector<std::int32_t> ids = turn.context;
  const std::vector<std::int32_t>& answer = turn.result.token_ids;
  ids.insert(ids.end(), answer.begin(), answer.end() - 1);
  const std::size_t first = turn.context.size() - 1;  // its logits are of the first token
  const std::size_t vocab = info_.vocab_size;
  std::size_t kept = 0;
  ForwardObserver observer;
  observer.on_logits = [&](std::size_t position, std::size_t rows, std::span<const float> all) {
    for (std::size_t r = 0; r < rows; ++r) {
      if (position + r < first) continue;
      if (!is_judged(position + r - first, answer.size(), vocab)) continue;
      turn.quality.push_back(compare_logits(all.subspan(r * vocab, vocab), logits[kept++]));
    }
    return Status();
  };
  return session->forward(ids, observer);
}

Result<Trial> Workbench::run(const ResidencyOptions& residency, const std::vector<Turn>& turns,
                             const TrialOptions& options) {
  Trial trial;
  std::vector<std::vector<std::vector<float>>> logits(turns.size());
  const std::vector<std::int32_t> text =
      options.held_out.empty() ? std::vector<std::int32_t>() : held_out_ids(options.held_out);
  std::vector<float> text_logits;  // [text, vocab]
  {
    FM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, open(residency));
    trial.load_seconds = engine->statistics().load_seconds;
    trial.base_rss_bytes = read_process_memory().rss_bytes;
    trial.plan = engine->memory_plan();
    FM_ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, engine->new_session());
    for (std::size_t i = 0; i < turns.size(); ++i) {
      if (options.before_turn) FM_RETURN_IF_ERROR(options.before_turn(*session, i));
      FM_ASSIGN_OR_RETURN(trial.turns.emplace_back(),
                          take_turn(*engine, *session, turns[i], logits[i]));
    }
    FM_RETURN_IF_ERROR(session->reset());
    FM_RETURN_IF_ERROR(read_rows(*session, text, [&](std::size_t, std::span<const float> row) {
      text_logits.insert(text_logits.end(), row.begin(), row.end());
    }));
  }
  for (std::size_t i = 0; i < turns.size(); ++i) {
    FM_RETURN_IF_ERROR(judge(trial.turns[i], logits[i]));
  }
  FM_ASSIGN_OR_RETURN(trial.held_out, judge_text(text, text_logits));
  return trial;
}

const std::vector<std::int32_t>& Workbench::held_out_ids(std::string_view domain) {
  const auto found = held_out_.find(domain);
  if (found != held_out_.end()) return found->second;
  std::vector<std::int32_t>& ids = held_out_[std::string(domain)];
  const auto texts = texts_.find(domain);
  const Result<Engine*> engine = exact();
  if (texts == texts_.end() || !engine.ok()) return ids;
  for (const std::string& text : texts->second) {
    const Result<std::vector<std::int32_t>> more = (*engine)->tokenize(text + "\n\n");
    if (!more.ok() || ids.size() >= kHeldOutTokens) break;
    ids.insert(ids.end(), more->begin(), more->end());
  }
  ids.resize(std::min(ids.size(), kHeldOutTokens));
  return ids;
}

/// Reads `ids`, if any, and hands out the logits after each.
Status Workbench::read_rows(
    Session& session, const std::vector<std::int32_t>& ids,
    const std::function<void(std::size_t position, std::span<const float> row)>& on_row) const {
  if (ids.empty()) return Status();
  const std::size_t vocab = info_.vocab_size;
  ForwardObserver observer;
  observer.on_logits = [&](std::size_t position, std::size_t rows, std::span<const float> all) {
    for (std::size_t r = 0; r < rows; ++r) on_row(position + r, all.subspan(r * vocab, vocab));
    return Status();
  };
  return session.forward(ids, observer);
}

/// Reads a text with the exact model, and compares.
Result<HeldOut> Workbench::judge_text(const std::vector<std::int32_t>& ids,
                                      std::span<const float> logits) {
  HeldOut held_out;
  if (ids.size() < 2) return held_out;
  const std::size_t vocab = info_.vocab_size;
  FM_ASSIGN_OR_RETURN(Engine* const engine, exact());
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, engine->new_session());
  std::vector<TokenQuality> quality;
  double sum = 0;
  FM_RETURN_IF_ERROR(read_rows(*session, ids, [&](std::size_t p, std::span<const float> row) {
    const std::span<const float> other = logits.subspan(p * vocab, vocab);
    quality.push_back(compare_logits(row, other));
    if (p + 1 < ids.size()) sum += negative_log_likelihood(other, ids[p + 1]);
  }));
  held_out.perplexity = std::exp(sum / static_cast<double>(ids.size() - 1));
  held_out.quality = mean_quality(quality);
  return held_out;
}

}  // namespace flashmoe
