#ifndef FLASHMOE_CHAT_FORM_CONSTRAINT_H_
#define FLASHMOE_CHAT_FORM_CONSTRAINT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "chat/form_automaton.h"
#include "chat/output_form.h"
#include "chat/token_table.h"
#include "flashmoe/scheduler.h"

namespace flashmoe {

/// Holds the tokens of one output to a form: each must go on with a text that the form allows, and
/// the model may end only where the form may.
class FormConstraint : public TokenConstraint {
 public:
  FormConstraint(std::shared_ptr<const TokenTable> tokens, std::shared_ptr<const OutputForm> form);

  bool allows(std::int32_t id) override;
  void accept(std::int32_t id) override;

  /// All tokens with bytes that may come now. Valid until the next call.
  const TokenMask& mask();

 private:
  TokenMask compute_mask();
  /// The state that `id` leads to; kDead if it may not come.
  FormAutomaton::State after(std::int32_t id);

  const std::shared_ptr<const TokenTable> tokens_;
  FormAutomaton automaton_;
  FormAutomaton::State state_;
  /// Of states that were met: most come again.
  std::unordered_map<FormAutomaton::State, TokenMask> masks_;
  const TokenMask* mask_ = nullptr;  // of `state_`, if it is known
  std::size_t questions_ = 0;        // about `state_`
};

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_FORM_CONSTRAINT_H_
