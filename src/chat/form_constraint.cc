#include "chat/form_constraint.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace flashmoe {
namespace {

/// Bytes of white space in a row: enough to indent, and not to go on for ever.
constexpr std::size_t kSpaceMax = 16;

bool is_plain(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) {
    // A character may be cut between tokens: those go the long way.
    return c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20 ||
           static_cast<unsigned char>(c) >= 0x80;
  });
}

}  // namespace

FormConstraint::FormConstraint(std::shared_ptr<const TokenTable> tokens,
                               std::shared_ptr<const OutputForm> form)
    : tokens_(std::move(tokens)), form_(std::move(form)) {
  for (const OutputForm::Track& track : form_->tracks) enter({.track = &track}, places_);
}

/// Adds the place at the beginning of a part; a part that may be empty is also passed over.
void FormConstraint::enter(Place place, Places& out) {
  place.matched = 0;
  place.value.reset();
  if (place.part < place.track->size()) {
    if (const auto* value = std::get_if<OutputForm::Value>(&(*place.track)[place.part])) {
      place.value.emplace(value->schema->root(), JsonAutomaton::Options{.space_max = kSpaceMax});
    }
  }
  out.push_back(std::move(place));
}

void FormConstraint::step(Place place, char c, Places& out) {
  if (place.part == place.track->size()) return;
  const OutputForm::Part& part = (*place.track)[place.part];
  const auto next = [&] {
    ++place.part;
    enter(std::move(place), out);
  };
  if (const auto* literal = std::get_if<OutputForm::Literal>(&part)) {
    if (literal->text[place.matched] != c) return;
    if (++place.matched == literal->text.size()) return next();
    out.push_back(std::move(place));
    return;
  }
  if (const auto* until = std::get_if<OutputForm::Until>(&part)) {
    // Marks begin with a byte that they do not have again: no need to go back far.
    if (until->mark[place.matched] == c) {
      ++place.matched;
    } else {
      place.matched = until->mark[0] == c ? 1 : 0;
    }
    if (place.matched == until->mark.size()) return next();
    out.push_back(std::move(place));
    return;
  }
  // A value that may end here may be followed by the next part as well.
  if (place.value->can_end()) {
    Place after{.track = place.track, .part = place.part + 1};
    Places entered;
    enter(std::move(after), entered);
    for (Place& then : entered) step(std::move(then), c, out);
  }
  // White space before a value says nothing, and after it neither.
  const bool is_leading_space =
      place.matched == 0 && (c == ' ' || c == '\n' || c == '\t' || c == '\r');
  if (place.value->must_end() || is_leading_space || !place.value->push(c)) return;
  place.matched = 1;
  out.push_back(std::move(place));
}

bool FormConstraint::push(Places& places, std::string_view text) {
  Places next;
  for (const char c : text) {
    next.clear();
    for (Place& place : places) step(std::move(place), c, next);
    if (next.empty()) return false;
    places.swap(next);
  }
  return true;
}

bool FormConstraint::can_end(const Places& places) {
  return std::any_of(places.begin(), places.end(), [](const Place& place) {
    return place.part == place.track->size() ||
           (place.part + 1 == place.track->size() && place.value && place.value->can_end());
  });
}

bool FormConstraint::is_eos(std::int32_t id) const {
  return std::find(tokens_->eos_ids.begin(), tokens_->eos_ids.end(), id) != tokens_->eos_ids.end();
}

bool FormConstraint::is_in_free_text() const {
  return places_.size() == 1 && places_.front().value && places_.front().value->is_in_free_text();
}

bool FormConstraint::allows(std::int32_t id) {
  if (is_eos(id)) return can_end(places_);
  const auto index = static_cast<std::size_t>(id);
  if (index >= tokens_->bytes.size() || tokens_->bytes[index].empty()) return false;
  const std::string& text = tokens_->bytes[index];
  if (is_in_free_text() && is_plain(text)) return true;
  if (!first_bytes_) {
    first_bytes_.emplace();
    for (std::size_t byte = 0; byte < first_bytes_->size(); ++byte) {
      Places trial = places_;
      const char c = static_cast<char>(byte);
      (*first_bytes_)[byte] = push(trial, std::string_view(&c, 1));
    }
  }
  if (!(*first_bytes_)[static_cast<unsigned char>(text.front())]) return false;
  Places trial = places_;
  return push(trial, text);
}

void FormConstraint::accept(std::int32_t id) {
  if (is_eos(id)) return;
  FM_CHECK(push(places_, tokens_->bytes[static_cast<std::size_t>(id)]));
  first_bytes_.reset();
}

}  // namespace flashmoe
