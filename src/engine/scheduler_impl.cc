#include "engine/scheduler_impl.h"

#include <algorithm>
#include <iterator>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "base/stopwatch.h"

namespace flashmoe {
namespace {

/// Turns longer than this are remembered on the way: another prompt may leave them anywhere.
constexpr std::size_t kCheckpointInterval = 2048;
/// The last turns of a prompt are remembered whatever they take.
constexpr std::size_t kLikeliestCount = 2;
/// Of the prefix cache, what the checkpoints of one prompt may take, and how many they may be.
constexpr std::uint64_t kPromptShare = 4;
constexpr std::uint64_t kPromptCheckpointsMax = 32;
/// Fewer tokens than these are not worth a checkpoint, or waiting for one.
constexpr std::size_t kWorthwhileTokens = 64;
/// After so many steps the routers themselves have said what a returning sequence needs.
constexpr std::size_t kReturnSteps = 64;

}  // namespace

Result<std::unique_ptr<SchedulerImpl>> SchedulerImpl::create(Parts parts,
                                                             const SchedulerOptions& options) {
  std::unique_ptr<SchedulerImpl> scheduler(new SchedulerImpl(std::move(parts), options));
  try {
    scheduler->thread_ = std::thread([raw = scheduler.get()] { raw->run(); });
  } catch (const std::system_error& failure) {
    return error(StatusCode::kIo, "starting the scheduler's thread: {}", failure.what());
  }
  return scheduler;
}

SchedulerImpl::SchedulerImpl(Parts parts, const SchedulerOptions& options)
    : parts_(std::move(parts)),
      options_(options),
      model_({.tokenizer = parts_.resources.tokenizer,
              .eos_ids = parts_.resources.eos_token_ids,
              .context = parts_.resources.context,
              .on_ended = [this](const RunningGeneration& ended) { count_end(ended); }}),
      prefixes_(parts_.prefix_cache_bytes,
                parts_.prefix_store == nullptr
                    ? nullptr
                    : std::make_unique<PrefixArchive>(std::move(parts_.prefix_store),
                                                      options.on_warning)),
      pacer_(parts_.resources.model->rows_max()) {
  FM_CHECK(parts_.observers != nullptr);
  parts_.observers->add(use_observer_);
  if (parts_.activity != nullptr) parts_.observers->add(*parts_.activity);
  statistics_.places = parts_.places;
  statistics_.engine = parts_.statistics();
}

SchedulerImpl::~SchedulerImpl() {
  if (thread_.joinable()) {
    stop(std::chrono::milliseconds(0));
    {
      const std::lock_guard lock(mutex_);
      is_ending_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  if (parts_.activity != nullptr) parts_.observers->remove(*parts_.activity);
  parts_.observers->remove(use_observer_);
  if (parts_.on_close) parts_.on_close();
}

Result<GenerationId> SchedulerImpl::submit(GenerationRequest request,
                                           std::shared_ptr<GenerationListener> listener) {
  FM_RETURN_IF_ERROR(check_prompt_ids(request.prompt, /*before=*/0, parts_.resources.context,
                                      parts_.resources.model->spec()));
  if (request.prompt.empty()) {
    return error(StatusCode::kInvalidArgument,
                 "the prompt is empty: there is nothing to continue; give at least one token");
  }
  if (request.scores_prompt && !request.top_logprobs) {
    return error(StatusCode::kInvalidArgument,
                 "scores_prompt needs top_logprobs, how many others are to be told");
  }
  FM_ASSIGN_OR_RETURN(Sampler sampler, Sampler::create(request.sampling));
  std::vector<StopMatcher::Passage> stop_free;
  for (const GenerationRequest::Passage& passage : request.stop_free) {
    stop_free.push_back({passage.open, passage.close});
  }
  FM_ASSIGN_OR_RETURN(StopMatcher stops, StopMatcher::create(request.stop, std::move(stop_free)));
  TextStream text(model_.tokenizer, std::move(stops), std::move(request.markup));
  const Clock::time_point now = Clock::now();
  const std::lock_guard lock(mutex_);
  // What has begun is let end.
  if (cancels_all_ || (refuses_ && !request.companion)) {
    return error(StatusCode::kBusy, "the server is shutting down");
  }
  if (!request.companion && open_ >= parts_.places + options_.queue_max) {
    return error(StatusCode::kBusy,
                 "{} requests are running or waiting, as many as may; try again later", open_);
  }
  ++open_;
  ++unfinished_;
  const GenerationId id = next_id_++;
  waiting_.push_back(std::make_unique<RunningGeneration>(id, std::move(request),
                                                         std::move(listener), std::move(sampler),
                                                         std::move(text), model_, now));
  statistics_.waiting = waiting_.size();
  changed_.notify_all();
  return id;
}

void SchedulerImpl::cancel(GenerationId id) {
  const std::lock_guard lock(mutex_);
  cancelled_.insert(id);
  if (is_step_unwanted()) stop_step_ = true;
  changed_.notify_all();
}

bool SchedulerImpl::is_step_unwanted() const {
  return !step_ids_.empty() && (cancels_all_ || std::ranges::all_of(step_ids_, [this](auto id) {
                                  return cancelled_.contains(id);
                                }));
}

SchedulerStatistics SchedulerImpl::statistics() const {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

void SchedulerImpl::stop(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  refuses_ = true;
  const auto is_idle = [this] { return unfinished_ == 0; };
  if (idle_.wait_for(lock, patience, is_idle)) return;
  cancels_all_ = true;
  if (is_step_unwanted()) stop_step_ = true;
  changed_.notify_all();
  idle_.wait(lock, is_idle);
}

void SchedulerImpl::run() {
  while (wait_for_work()) {
    drop_cancelled();
    end_overdue();
    admit();
    if (!running_.empty()) step();
    retire_ended();
    prefixes_.tend(/*is_busy=*/!running_.empty());
    publish_statistics();
  }
}

bool SchedulerImpl::wait_for_work() {
  std::unique_lock lock(mutex_);
  if (running_.empty()) {
    changed_.wait(lock, [this] { return is_ending_ || !waiting_.empty(); });
  }
  // Cancellations of what has ended would pile up.
  if (running_.empty() && waiting_.empty()) cancelled_.clear();
  return !is_ending_ || !running_.empty();
}

template <typename Predicate>
std::vector<SchedulerImpl::GenerationPtr> SchedulerImpl::take_waiting(Predicate predicate) {
  const auto taken = std::stable_partition(
      waiting_.begin(), waiting_.end(),
      [&](const GenerationPtr& generation) { return !predicate(*generation); });
  std::vector<GenerationPtr> out(std::make_move_iterator(taken),
                                 std::make_move_iterator(waiting_.end()));
  waiting_.erase(taken, waiting_.end());
  return out;
}

void SchedulerImpl::drop_cancelled() {
  std::vector<GenerationPtr> dropped;
  std::unordered_set<GenerationId> cancelled;
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_.empty() && !cancels_all_) return;
    if (cancels_all_) {
      for (const GenerationPtr& generation : waiting_) cancelled_.insert(generation->id());
      for (const GenerationPtr& generation : running_) cancelled_.insert(generation->id());
    }
    cancelled.swap(cancelled_);
    dropped = take_waiting(
        [&](const RunningGeneration& generation) { return cancelled.contains(generation.id()); });
  }
  for (const GenerationPtr& generation : dropped) generation->end(FinishReason::kCancelled);
  forget(dropped.size());
  for (const GenerationPtr& generation : running_) {
    if (cancelled.contains(generation->id())) generation->end(FinishReason::kCancelled);
  }
  retire_ended();
}

void SchedulerImpl::end_overdue() {
  const Clock::time_point now = Clock::now();
  const auto is_overdue = [now](const RunningGeneration& generation) {
    return generation.request().deadline && *generation.request().deadline <= now;
  };
  const Status late = error(StatusCode::kBusy, "the request was not done within its time");
  for (const GenerationPtr& generation : running_) {
    if (is_overdue(*generation)) generation->fail(late);
  }
  retire_ended();
  std::vector<GenerationPtr> dropped;
  {
    const std::lock_guard lock(mutex_);
    dropped = take_waiting(is_overdue);
  }
  for (const GenerationPtr& generation : dropped) generation->fail(late);
  forget(dropped.size());
}

std::size_t SchedulerImpl::running_of(GenerationId group) const {
  return static_cast<std::size_t>(std::ranges::count_if(
      running_, [group](const GenerationPtr& generation) { return generation->group() == group; }));
}

std::optional<std::size_t> SchedulerImpl::next_waiting(
    const std::vector<GenerationId>& passed) const {
  std::optional<std::size_t> next;
  std::size_t fewest = 0;
  for (std::size_t i = 0; i < waiting_.size(); ++i) {
    if (std::ranges::find(passed, waiting_[i]->id()) != passed.end()) continue;
    const std::size_t count = running_of(waiting_[i]->group());
    if (next && count >= fewest) continue;
    next = i;
    fewest = count;
    if (fewest == 0) break;
  }
  return next;
}

void SchedulerImpl::admit() {
  make_way();
  std::vector<GenerationId> passed;  // those that wait on
  while (running_.size() < parts_.places) {
    GenerationPtr generation;
    std::size_t place = 0;
    {
      const std::lock_guard lock(mutex_);
      const std::optional<std::size_t> next = next_waiting(passed);
      if (!next) return;
      place = *next;
      generation = std::move(waiting_[place]);
      waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(place));
    }
    const bool starts_anew = !generation->has_started();
    const PrefixCache::Match match = prefixes_.find(generation->request().prompt);
    if (starts_anew && should_wait(*generation, match.checkpoint)) {
      passed.push_back(generation->id());
      const std::lock_guard lock(mutex_);
      waiting_.insert(waiting_.begin() + static_cast<std::ptrdiff_t>(place), std::move(generation));
      continue;
    }
    if (const Status started = start(*generation); !started.ok()) {
      generation->fail(started);
      forget(1);
      continue;
    }
    if (starts_anew) plan_checkpoints(*generation, match);
    running_.push_back(std::move(generation));
  }
}

void SchedulerImpl::make_way() {
  // What is not remembered would have to be computed again.
  if (running_.size() < parts_.places || !prefixes_.is_on()) return;
  const RunningGeneration* waiting = nullptr;
  {
    const std::lock_guard lock(mutex_);
    const std::optional<std::size_t> next = next_waiting({});
    if (!next || running_of(waiting_[*next]->group()) > 0) return;
    waiting = waiting_[*next].get();  // until this thread takes it out
  }
  if (should_wait(*waiting, prefixes_.find(waiting->request().prompt).checkpoint)) return;
  // Of the request that has most, the one that came last.
  auto leaving = running_.end();
  std::size_t most = 1;
  for (auto it = running_.begin(); it != running_.end(); ++it) {
    const std::size_t count = running_of((*it)->group());
    if (count < 2 || count < most || (*it)->is_suspect() || (*it)->needs_whole_prompt()) continue;
    leaving = it;
    most = count;
  }
  if (leaving == running_.end()) return;
  GenerationPtr generation = std::move(*leaving);
  running_.erase(leaving);
  if (!generation->sequence().state.broken()) remember_end(*generation, generation->suspend());
  const std::lock_guard lock(mutex_);
  waiting_.push_front(std::move(generation));
}

bool SchedulerImpl::should_wait(const RunningGeneration& waiting, std::size_t cached) {
  if (!prefixes_.is_on() || waiting.needs_whole_prompt()) return false;
  const std::vector<std::int32_t>& prompt = waiting.request().prompt;
  for (const GenerationPtr& other : running_) {
    const std::vector<std::int32_t>& read = other->request().prompt;
    std::size_t common = std::min(common_prefix(read, prompt), prompt.size() - 1);
    if (!other->is_prompting() || common < cached + kWorthwhileTokens) continue;
    // A checkpoint that is planned shortly before will do.
    const auto planned = other->checkpoints().upper_bound(common);
    if (planned != other->checkpoints().begin() &&
        *std::prev(planned) + kWorthwhileTokens > common) {
      common = *std::prev(planned);
    }
    if (common <= other->position()) continue;
    other->checkpoints().insert(common);
    return true;
  }
  return false;
}

Result<RememberedSequence> SchedulerImpl::begin_sequence(const RunningGeneration& generation) {
  if (!generation.needs_whole_prompt()) {
    FM_ASSIGN_OR_RETURN(std::optional<RememberedSequence> known,
                        prefixes_.resume(generation.tokens()));
    if (known) return std::move(*known);
  }
  FM_ASSIGN_OR_RETURN(SequenceState state,
                      SequenceState::create(parts_.resources.model->state_layout()));
  return RememberedSequence{std::move(state), ExpertUse(parts_.expert_counts)};
}

Status SchedulerImpl::start(RunningGeneration& generation) {
  FM_ASSIGN_OR_RETURN(RememberedSequence sequence, begin_sequence(generation));
  bring_back(sequence.experts);
  generation.start(std::move(sequence), Clock::now());
  return Status();
}

void SchedulerImpl::bring_back(const ExpertUse& experts) {
  if (parts_.cache == nullptr) return;
  // Others that run have theirs, and what comes next is not all that was.
  const std::size_t share = parts_.cache->slot_limit() / (2 * (running_.size() + 1));
  std::vector<ExpertKey> wanted = experts.most_used(share);
  if (wanted.empty()) return;
  returning_experts_ = std::make_unique<ExpertPrefetcher>(*parts_.cache, std::move(wanted),
                                                          ExpertPrefetcher::Room::kOfOthers);
  returning_until_ = turn_ + kReturnSteps;
}

void SchedulerImpl::ExpertUseObserver::on_routed(LayerId layer,
                                                 std::span<const StepSegment> segments,
                                                 std::span<const std::uint16_t> ids,
                                                 std::span<const float> /*weights*/) {
  FM_CHECK(segments.size() == members_.size());
  const std::size_t k = ids.size() / segments.back().row_end;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const StepSegment& segment = segments[i];
    const std::size_t rows = segment.row_end - segment.row_begin;
    members_[i]->sequence().experts.add(layer, segment.position, rows,
                                        ids.subspan(segment.row_begin * k, rows * k));
  }
}

void SchedulerImpl::plan_checkpoints(RunningGeneration& generation,
                                     const PrefixCache::Match& match) {
  if (!prefixes_.is_on()) return;
  const std::size_t begin = generation.position();
  const std::size_t end = generation.request().prompt.size();
  std::set<std::size_t> wanted;
  for (const std::size_t at : generation.request().checkpoints) {
    if (at > begin && at < end) wanted.insert(at);
  }
  std::set<std::size_t>& checkpoints = generation.checkpoints();
  // The next prompt leaves this one at its last turns, unless it was edited.
  std::size_t likeliest = 0;
  for (auto it = wanted.rbegin(); it != wanted.rend() && likeliest < kLikeliestCount; ++it) {
    // Shortly after the one that it begins with, only the last is worth its memory.
    if (likeliest++ == 0 || *it > begin + kWorthwhileTokens) checkpoints.insert(*it);
  }
  // Where it leaves what was seen before, others will, too.
  if (match.common >= begin + kWorthwhileTokens && match.common + kWorthwhileTokens <= end) {
    checkpoints.insert(match.common);
  }
  // An edit may begin with any turn, or within a long one.
  const std::size_t spacing = checkpoint_spacing(generation);
  std::size_t last = begin;
  for (const std::size_t at : wanted) {
    if (at < last + spacing) continue;
    checkpoints.insert(at);
    last = at;
  }
  const std::size_t interval = std::max(kCheckpointInterval, spacing);
  std::vector<std::size_t> stops(checkpoints.begin(), checkpoints.end());
  stops.push_back(end);
  std::size_t at = begin;
  for (const std::size_t stop : stops) {
    for (; at + interval + interval / 2 < stop; at += interval) checkpoints.insert(at + interval);
    at = stop;
  }
}

/// How far apart the checkpoints of a prompt may be kept such that together they take no more than
/// a share of the cache, which is for other conversations as well.
std::size_t SchedulerImpl::checkpoint_spacing(RunningGeneration& generation) const {
  const std::size_t tokens = generation.request().prompt.size();
  // Beside its own state, each has a copy of the blocks that the sequence went on to write.
  const StateLayout& state = parts_.resources.model->state_layout();
  const std::uint64_t written = state.kv_bytes(1, 1) + state.snapshot_bytes() - state.fixed_bytes();
  const std::uint64_t bytes =
      generation.sequence().own_bytes() + tokens * sizeof(std::int32_t) + written;
  const std::uint64_t count = std::clamp<std::uint64_t>(
      prefixes_.budget_bytes() / kPromptShare / bytes, kLikeliestCount, kPromptCheckpointsMax);
  return std::max<std::size_t>(kWorthwhileTokens, (tokens - generation.position()) / (count + 1));
}

std::size_t SchedulerImpl::form_step() {
  rows_.clear();
  members_.clear();
  const std::size_t rows_max = parts_.resources.model->rows_max();
  for (const GenerationPtr& generation : running_) {
    if (!generation->is_suspect()) continue;
    rows_.push_back(generation->next_rows(rows_max));
    members_.push_back(generation.get());
    return 0;
  }
  for (const GenerationPtr& generation : running_) {
    if (generation->is_behind()) continue;
    rows_.push_back(generation->next_rows(1));
    members_.push_back(generation.get());
  }
  const std::size_t decoding = rows_.size();
  std::size_t room = pacer_.prompt_rows(decoding);
  for (std::size_t i = 0; i < running_.size() && room > 0; ++i) {
    RunningGeneration& generation = *running_[(turn_ + i) % running_.size()];
    if (!generation.is_behind()) continue;
    rows_.push_back(generation.next_rows(room));
    members_.push_back(&generation);
    room -= rows_.back().ids.size();
  }
  return decoding;
}

void SchedulerImpl::step() {
  const std::size_t decoding = form_step();
  std::size_t prompt_rows = 0;
  for (std::size_t i = decoding; i < rows_.size(); ++i) prompt_rows += rows_[i].ids.size();
  if (++turn_ == returning_until_) returning_experts_ = nullptr;
  open_step();
  Stopwatch watch;
  const Status status = forward(rows_, members_);
  const double seconds = watch.lap();
  close_step();
  if (status.ok() && decoding > 0 && prompt_rows > 0) pacer_.on_mixed_step(prompt_rows, seconds);
  {
    const std::lock_guard lock(mutex_);
    (prompt_rows > 0 ? statistics_.prefill_seconds : statistics_.decode_seconds) += seconds;
    if (prompt_rows == 0) {
      ++statistics_.decode_steps;
      statistics_.decode_rows += decoding;
    }
  }
  if (status.code() == StatusCode::kCancelled) {
    for (RunningGeneration* const member : members_) member->end(FinishReason::kCancelled);
    return;
  }
  status.ok() ? after_step(members_) : after_failure(members_, status);
}

void SchedulerImpl::open_step() {
  const std::lock_guard lock(mutex_);
  for (const RunningGeneration* const member : members_) step_ids_.push_back(member->id());
  stop_step_ = is_step_unwanted();
}

void SchedulerImpl::close_step() {
  const std::lock_guard lock(mutex_);
  step_ids_.clear();
}

Status SchedulerImpl::forward(std::span<const SequenceRows> rows,
                              std::span<RunningGeneration* const> members) {
  last_rows_.clear();
  counts_.clear();
  std::size_t row_count = 0;
  for (const SequenceRows& member : rows) {
    last_rows_.push_back((row_count += member.ids.size()) - 1);
    counts_.push_back(member.sequence->position() + member.ids.size());
  }
  logits_.assign(rows.size(), {});
  const ExpertCounters before = expert_counters(parts_.resources);
  Status status = run_step(
      parts_.resources, rows,
      {.on_logits =
           [&](std::size_t row, MatrixView<const float> logits) {
             for (std::size_t i = 0; i < logits.rows; ++i) {
               const auto last = std::lower_bound(last_rows_.begin(), last_rows_.end(), row + i);
               const auto member = static_cast<std::size_t>(last - last_rows_.begin());
               const std::span<const float> one(logits.row(i), logits.cols);
               const std::size_t count = counts_[member] - (*last - (row + i));
               if (count < members[member]->tokens().size()) {
                 members[member]->score(count, one);
               } else {
                 logits_[member].assign(one.begin(), one.end());
               }
             }
           }},
      {.cancel = &stop_step_});
  const ExpertCounters after = expert_counters(parts_.resources);
  for (RunningGeneration* const member : members) {
    GenerationStatistics& statistics = member->statistics();
    statistics.expert_hits += after.experts.hit_count - before.experts.hit_count;
    statistics.expert_misses += after.experts.miss_count - before.experts.miss_count;
    statistics.expert_wait_seconds += after.experts.wait_seconds - before.experts.wait_seconds;
    statistics.bytes_read += after.reads.bytes_read - before.reads.bytes_read;
  }
  return status;
}

void SchedulerImpl::after_step(std::span<RunningGeneration* const> members) {
  std::size_t picked = 0;
  for (std::size_t i = 0; i < members.size(); ++i) {
    RunningGeneration& generation = *members[i];
    if (generation.has_ended()) continue;
    if (generation.position() <= generation.request().prompt.size()) remember(generation);
    generation.on_consumed();
    if (logits_[i].empty()) continue;
    generation.clear_suspicion();
    const std::size_t before = generation.statistics().generated_tokens;
    generation.pick(logits_[i]);
    picked += generation.statistics().generated_tokens - before;
  }
  const std::lock_guard lock(mutex_);
  statistics_.generated_tokens += picked;
}

/// Which of several needed what could not be read is not known. Each is computed again by itself
/// from its last checkpoint: those that can be go on, to the same tokens.
void SchedulerImpl::after_failure(std::span<RunningGeneration* const> members,
                                  const Status& status) {
  for (RunningGeneration* const member : members) {
    if (member->is_suspect()) {
      member->fail(status);
      continue;
    }
    Result<RememberedSequence> sequence = begin_sequence(*member);
    sequence.ok() ? member->rebuild(std::move(*sequence)) : member->fail(sequence.status());
  }
}

void SchedulerImpl::remember(RunningGeneration& generation) {
  if (!generation.checkpoints().contains(generation.position())) return;
  // Without memory for it the sequence goes on all the same.
  [[maybe_unused]] const Status stored = prefixes_.store_copy(
      generation.tokens().subspan(0, generation.position()), generation.sequence());
}

void SchedulerImpl::remember_end(RunningGeneration& generation, RememberedSequence sequence) {
  const std::size_t consumed = sequence.state.position();
  prefixes_.store(generation.tokens().subspan(0, consumed), std::move(sequence));
}

void SchedulerImpl::retire_ended() {
  for (auto it = running_.begin(); it != running_.end();) {
    RunningGeneration& generation = **it;
    if (!generation.has_ended()) {
      ++it;
      continue;
    }
    if (!generation.sequence().state.broken()) {
      remember_end(generation, std::move(generation.sequence()));
    }
    it = running_.erase(it);
    forget(1);
  }
}

void SchedulerImpl::forget(std::size_t count) {
  const std::lock_guard lock(mutex_);
  unfinished_ -= count;
  if (unfinished_ == 0) idle_.notify_all();
}

void SchedulerImpl::count_end(const RunningGeneration& generation) {
  const GenerationStatistics& ended = generation.statistics();
  const std::lock_guard lock(mutex_);
  --open_;
  ++statistics_.requests;
  if (!generation.status().ok()) {
    ++statistics_.failures;
  } else if (generation.reason() == FinishReason::kCancelled) {
    ++statistics_.cancellations;
  }
  statistics_.prompt_tokens += ended.prompt_tokens;
  statistics_.cached_tokens += ended.cached_tokens;
}

void SchedulerImpl::publish_statistics() {
  const EngineStatistics engine = parts_.statistics();
  const PrefixCache::Statistics prefixes = prefixes_.statistics();
  const std::lock_guard lock(mutex_);
  statistics_.running = running_.size();
  statistics_.waiting = waiting_.size();
  statistics_.checkpoints = prefixes.checkpoint_count;
  statistics_.checkpoint_bytes = prefixes.bytes;
  statistics_.checkpoint_evictions = prefixes.evicted_count;
  statistics_.disk_checkpoints = prefixes.disk_count;
  statistics_.disk_checkpoint_bytes = prefixes.disk_bytes;
  statistics_.disk_checkpoint_loads = prefixes.loaded_count;
  statistics_.engine = engine;
}

}  // namespace flashmoe
