#ifndef FLASHMOE_CHAT_PATTERN_H_
#define FLASHMOE_CHAT_PATTERN_H_

#include <string_view>

#include "base/result.h"
#include "chat/regular_language.h"

namespace flashmoe {

/// All texts in which a regular expression finds something, as ECMA-262 reads it with the flag u:
/// classes, groups, alternatives, bounded repetition, anchors, lookahead behind a leading ^. \A, \Z
/// and \z are anchors, as they are in other dialects. Errors: kInvalidArgument for what is no
/// regular expression, and for what no automaton holds: other lookaround, back references, word
/// boundaries, Unicode properties.
Result<RegularLanguage::Term> compile_pattern(std::string_view pattern, RegularLanguage& language);

/// The texts of a `format` of JSON schema; none: it is not known. They are no more than those that
/// validators take, and may be fewer: an e-mail address has no comments here.
std::string_view format_pattern(std::string_view format);

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_PATTERN_H_
