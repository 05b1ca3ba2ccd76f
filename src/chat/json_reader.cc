#include "chat/json_reader.h"

#include <algorithm>
#include <memory>

namespace flashmoe {
namespace {

std::shared_ptr<const OutputForm> any_json() {
  static const std::shared_ptr<const OutputForm> form = [] {
    auto any = std::make_shared<OutputForm>();
    any->rules = {{{OutputForm::Value{SchemaGraph::kAny}}}};
    return any;
  }();
  return form;
}

}  // namespace

JsonReader::JsonReader()
    : automaton_(any_json(), {.takes_any_space = true, .may_repeat_keys = true}),
      state_(automaton_.start()) {}

bool JsonReader::push(char c) {
  const FormAutomaton::State to = automaton_.next(state_, static_cast<unsigned char>(c));
  if (to == FormAutomaton::kDead) return false;
  state_ = automaton_.is_large() ? automaton_.forget_others(to) : to;
  return true;
}

bool JsonReader::push(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [this](char c) { return push(c); });
}

}  // namespace flashmoe
