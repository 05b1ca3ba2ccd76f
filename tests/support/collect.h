#ifndef FLASHMOE_TESTS_SUPPORT_COLLECT_H_
#define FLASHMOE_TESTS_SUPPORT_COLLECT_H_

#include <cstdint>
#include <span>
#include <vector>

#include "flashmoe/engine.h"

namespace flashmoe::testing {

/// All that a forward pass shows.
struct Collected {
  std::vector<float> logits;               // [tokens, vocab]
  std::vector<std::vector<float>> hidden;  // [layers + 1][tokens, hidden]
};

/// Runs `ids` through a new session of `engine`.
inline Result<Collected> collect(Engine& engine, std::span<const std::int32_t> ids) {
  Result<std::unique_ptr<Session>> session = engine.new_session();
  if (!session.ok()) return session.status();
  Collected collected;
  collected.hidden.resize(engine.info().layer_count + 1);
  ForwardObserver observer;
  observer.on_logits = [&](std::size_t, std::size_t, std::span<const float> logits) {
    collected.logits.insert(collected.logits.end(), logits.begin(), logits.end());
    return Status();
  };
  observer.on_hidden = [&](std::size_t index, std::size_t, std::size_t,
                           std::span<const float> hidden) {
    collected.hidden[index].insert(collected.hidden[index].end(), hidden.begin(), hidden.end());
    return Status();
  };
  const Status status = (*session)->forward(ids, observer);
  if (!status.ok()) return status;
  return collected;
}

}  // namespace flashmoe::testing

#endif  // FLASHMOE_TESTS_SUPPORT_COLLECT_H_
