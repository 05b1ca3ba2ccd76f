#ifndef FLASHMOE_CHAT_OUTPUT_EVENT_H_
#define FLASHMOE_CHAT_OUTPUT_EVENT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace flashmoe {

/// A part of what a model says, taken apart. A call is kCallBegin, any number of kCallArguments,
/// then kCallEnd; calls do not overlap.
struct OutputEvent {
  enum class Kind : std::uint8_t {
    kText,
    kReasoning,
    kCallBegin,      // text: the function's name
    kCallArguments,  // text: the next part of the arguments' JSON
    kCallEnd,        // is_complete: or the output broke off, or went wrong, within it
  };
  Kind kind = Kind::kText;
  std::string text;
  bool is_complete = true;
  std::size_t begin = 0;   // of kText: where in the output its text begins, in bytes
  bool is_layout = false;  // it stands nowhere there, but between two texts, or thoughts
};

using OutputEvents = std::vector<OutputEvent>;

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_OUTPUT_EVENT_H_
