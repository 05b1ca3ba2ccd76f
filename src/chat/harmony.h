#ifndef FLASHMOE_CHAT_HARMONY_H_
#define FLASHMOE_CHAT_HARMONY_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/call_syntax.h"

namespace flashmoe {

// Harmony, as gpt-oss writes it: an answer is messages, each a header, <|message|> and a body. The
// header says to whom the message goes and in which channel: thoughts are in `analysis`, calls and
// what is said before them in `commentary`, the answer in `final`. <|start|>assistant, with which a
// header begins, is the prompt's before the first one.

/// What a prompt has begun of the answer that it asks for: what stands behind its last <|start|>.
std::string_view harmony_opening(std::string_view prompt);

/// Where an answer begins.
enum class HarmonyPlace : std::uint8_t {
  kHeader,    // behind <|start|>assistant, or some of a header
  kThoughts,  // in the body of a message in `analysis`
  kText,      // in that of any other
};
HarmonyPlace harmony_place(std::string_view opening);

/// Whether its marks are made of `text`, among others.
bool harmony_spells(std::string_view text);

/// What headers, and calls, stand between, from mark to mark.
std::vector<std::pair<std::string_view, std::string_view>> harmony_headers();

/// Takes an answer in messages apart: OutputParser's part for them.
class HarmonyReader {
 public:
  /// `calls`: null where calls are text like any other. `schemas` must outlive this.
  HarmonyReader(std::string_view opening, const CallSyntax* calls, const ToolSchemas& schemas);

  /// Takes what is certain from the front of `text`; `received`: bytes of the output with it.
  void read(std::string& text, std::size_t received, OutputEvents& events);
  /// `text` is all that is left. `is_cut`: it was to go on.
  void finish(std::string& text, std::size_t received, bool is_cut, OutputEvents& events);

  /// Whether the output ended within a call's markup, before there was a name to tell.
  bool ends_in_call() const { return ends_in_call_; }

 private:
  enum class State : std::uint8_t { kHeader, kBody, kCall };

  void run(std::string& text, std::size_t received, OutputEvents& events);
  /// These are false where more has to come.
  bool run_header(std::string& text);
  bool run_body(std::string& text, std::size_t received, OutputEvents& events);
  bool run_call(std::string& text, OutputEvents& events);
  void take_as_text(std::string& text);
  void tell(std::string_view body, std::size_t begin, OutputEvents& events);

  const CallSyntax* const calls_;
  const ToolSchemas& schemas_;
  State state_ = State::kHeader;
  std::string head_;  // of the header, what the prompt has begun
  OutputEvent::Kind kind_ = OutputEvent::Kind::kText;
  bool is_new_ = true;     // nothing of the body is told
  bool has_text_ = false;  // of some message is told
  bool has_reasoning_ = false;
  bool is_last_ = false;
  bool is_cut_ = false;
  bool ends_in_call_ = false;
  std::unique_ptr<ToolCallReader> call_;
};

/// What an answer in messages is held to.
struct HarmonyAnswer {
  std::vector<OutputForm::Track> texts;  // what the body in `final` is; without `has_free_text`
  bool has_free_text = false;            // any, and more messages behind it
  std::vector<OutputForm::Track> calls;  // each from its syntax's block_open on
  bool has_thoughts = true;              // messages in `analysis` may come
  bool has_preambles = false;            // and messages in `commentary` that go to no function
  bool is_open = false;                  // what is thought or said first may end the output
};

/// The form of an answer that begins at `place`, one of these; their rules are added to `form`.
std::vector<OutputForm::Track> harmony_answer(CallForm& form, const HarmonyAnswer& answer,
                                              HarmonyPlace place);

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_HARMONY_H_
