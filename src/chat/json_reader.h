#ifndef FLASHMOE_CHAT_JSON_READER_H_
#define FLASHMOE_CHAT_JSON_READER_H_

#include <string_view>

#include "chat/form_automaton.h"

namespace flashmoe {

/// Reads one JSON value, of any kind, byte by byte, and finds where it ends.
class JsonReader {
 public:
  JsonReader();

  /// Takes one byte. False, and nothing has changed, if no value goes on with it.
  bool push(char c);
  /// Takes all of `text`. False if not: what it is then is of no use.
  bool push(std::string_view text);

  /// Whether the value may end here, and whether it must.
  bool can_end() const { return automaton_.can_end(state_); }
  bool must_end() const { return automaton_.must_end(state_); }

 private:
  FormAutomaton automaton_;
  FormAutomaton::State state_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_JSON_READER_H_
