#include "chat/schema_scalars.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <unordered_set>
#include <utility>
#include <vector>

#include "chat/decimal.h"
#include "chat/pattern.h"

namespace flashmoe {
namespace {

using Term = RegularLanguage::Term;
using Relation = RegularLanguage::Relation;

/// Of a number's remainders as many are kept apart.
constexpr std::uint32_t kMultipleMax = 10'000;
constexpr std::size_t kMultipleDigitsMax = 12;
/// Of integers, where bounds do not ask for more: what programs can read, and models come to an end
/// with.
constexpr std::size_t kIntegerDigits = 18;
/// What one string's language may take, and how many of its terms are tried.
constexpr std::size_t kTrialSizeMax = 200'000;
constexpr std::size_t kTrialTermsMax = 200;

/// Whether its terms stay few and small, as far as a trial tells. In a language of its own: what a
/// bad one takes is given back.
bool is_manageable(RegularLanguage& trial, Term term) {
  if (trial.texts_of(term) == RegularLanguage::Texts::kOpen) return false;
  std::unordered_set<Term> seen = {term};
  std::vector<Term> order = {term};
  for (std::size_t i = 0; i < order.size() && order.size() < kTrialTermsMax; ++i) {
    const RegularLanguage::Row row = trial.row(order[i]);
    for (const RegularLanguage::Step& step : row) {
      if (seen.insert(step.to).second) order.push_back(step.to);
    }
    if (trial.size() > kTrialSizeMax) return false;
  }
  return trial.size() <= kTrialSizeMax;
}

/// Texts of one graph, and trials of one schema, that are not too complex.
constexpr std::size_t kTextsMax = 1'000'000;
constexpr std::size_t kTrialsMax = 3'000'000;

Status check_size(SchemaContext& context, const SchemaJson& schema) {
  if (context.graph.texts.size() <= kTextsMax) return Status();
  return context.fail(schema, "patterns, lengths and bounds are too complex together");
}

/// A pattern that can be held to, in `out`; or it is said that it cannot.
Status add_pattern(SchemaContext& context, const SchemaJson& schema, std::string_view pattern,
                   const std::string& what, std::vector<Term>& out) {
  if (const auto known = context.patterns.find(pattern); known != context.patterns.end()) {
    out.push_back(known->second);
    return Status();
  }
  if (context.trials_size > kTrialsMax) {
    return context.not_held(schema, fmt::format("{} (there are too many)", what));
  }
  RegularLanguage trial;
  const Result<Term> tried = compile_pattern(pattern, trial);
  if (!tried.ok()) {
    return context.not_held(schema, fmt::format("{} ({})", what, tried.status().message()));
  }
  const bool is_good = is_manageable(trial, *tried);
  context.trials_size += trial.size();
  if (!is_good) {
    return context.not_held(schema, fmt::format("{} (it is too complex)", what));
  }
  FM_ASSIGN_OR_RETURN(const Term term, compile_pattern(pattern, context.graph.texts));
  context.patterns.emplace(pattern, term);
  out.push_back(term);
  return Status();
}

/// Bounds of a number, and what follows from them for its length.
struct Bounds {
  std::vector<Term> terms;
  std::size_t digits = kIntegerDigits;  // before the point
};

Status add_bound(SchemaContext& context, const SchemaJson& schema, const char* name,
                 Relation relation, Bounds& out) {
  const auto value = schema.find(name);
  if (value == schema.end() || value->is_null()) return Status();
  // Draft 4 has true and false here: they are read with the bound that they go with.
  if (value->is_boolean()) return Status();
  const std::optional<Decimal> bound = Decimal::of(*value);
  if (!bound) return context.fail(schema, "{} must be a number", name);
  out.terms.push_back(context.graph.texts.compared(relation, *bound));
  out.digits = std::max(out.digits, bound->integer.size() + 1);
  return Status();
}

Status add_multiple(SchemaContext& context, const SchemaJson& schema, std::vector<Term>& out) {
  const auto value = schema.find("multipleOf");
  if (value == schema.end()) return Status();
  const std::optional<Decimal> of = Decimal::of(*value);
  const bool is_positive = value->is_number() && value->get<double>() > 0;
  if (!is_positive) return context.fail(schema, "multipleOf must be a number above 0");
  const std::string digits = of ? of->integer + of->fraction : std::string();
  std::uint64_t m = 0;
  if (digits.size() <= kMultipleDigitsMax) {
    for (const char c : digits) m = m * 10 + static_cast<std::uint64_t>(c - '0');
  }
  if (!of || m == 0 || m > kMultipleMax) {
    return context.not_held(schema,
                            fmt::format("multipleOf {} (without its point it must be at most {})",
                                        value->dump(), kMultipleMax));
  }
  out.push_back(context.graph.texts.multiple_of(static_cast<std::uint32_t>(m),
                                                static_cast<std::uint32_t>(of->fraction.size())));
  return Status();
}

}  // namespace

Result<std::uint32_t> read_count(SchemaContext& context, const SchemaJson& schema, const char* name,
                                 std::uint32_t absent) {
  const auto value = schema.find(name);
  if (value == schema.end() || value->is_null()) return absent;
  // 3.0 is a count, too.
  const bool is_whole =
      (value->is_number_integer() && *value >= 0) ||
      (value->is_number_float() && value->get<double>() >= 0 && value->get<double>() < 1e18 &&
       value->get<double>() == static_cast<double>(value->get<std::int64_t>()));
  if (!is_whole) return context.fail(schema, "{} must be a count", name);
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint32_t>::max() - 1;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(value->get<std::uint64_t>(), kMost));
}

Result<Term> string_language(SchemaContext& context, const SchemaList& schemas) {
  RegularLanguage& language = context.graph.texts;
  FM_RETURN_IF_ERROR(check_size(context, *schemas.front()));
  std::uint32_t length_min = 0;
  std::uint32_t length_max = RegularLanguage::kUnlimited;
  std::vector<Term> terms;
  for (const SchemaJson* const schema : schemas) {
    FM_ASSIGN_OR_RETURN(const std::uint32_t min, read_count(context, *schema, "minLength", 0));
    FM_ASSIGN_OR_RETURN(const std::uint32_t max,
                        read_count(context, *schema, "maxLength", RegularLanguage::kUnlimited));
    length_min = std::max(length_min, min);
    length_max = std::min(length_max, max);
    if (const auto pattern = schema->find("pattern"); pattern != schema->end()) {
      const auto* const text = pattern->get_ptr<const std::string*>();
      if (text == nullptr) return context.fail(*schema, "pattern must be a text");
      FM_RETURN_IF_ERROR(
          add_pattern(context, *schema, *text, fmt::format("pattern \"{}\"", *text), terms));
    }
    if (const auto format = schema->find("format"); format != schema->end()) {
      const auto* const name = format->get_ptr<const std::string*>();
      if (name == nullptr) return context.fail(*schema, "format must be a text");
      const std::string_view pattern = format_pattern(*name);
      if (pattern.empty()) {
        FM_RETURN_IF_ERROR(context.not_held(*schema, fmt::format("format \"{}\"", *name)));
      } else {
        FM_RETURN_IF_ERROR(
            add_pattern(context, *schema, pattern, fmt::format("format \"{}\"", *name), terms));
      }
    }
  }
  if (length_min > length_max) return RegularLanguage::kNothing;
  const Term length = language.repeat(RegularLanguage::kAnyCharacter, length_min, length_max);
  std::vector<Term> all = terms;
  all.push_back(length);
  const Term whole = language.both(std::move(all));
  const RegularLanguage::Texts texts = language.texts_of(whole);
  if (texts == RegularLanguage::Texts::kNone) return RegularLanguage::kNothing;
  if (texts == RegularLanguage::Texts::kSome) return whole;
  FM_RETURN_IF_ERROR(context.not_held(*schemas.front(), "pattern with a length so large"));
  return length;
}

Result<Term> number_language(SchemaContext& context, const SchemaList& schemas, bool is_integer) {
  RegularLanguage& language = context.graph.texts;
  FM_RETURN_IF_ERROR(check_size(context, *schemas.front()));
  Bounds bounds;
  std::vector<Term>& terms = bounds.terms;
  for (const SchemaJson* const schema : schemas) {
    const auto is_true = [&](const char* name) {
      const auto value = schema->find(name);
      return value != schema->end() && value->is_boolean() && value->get<bool>();
    };
    FM_RETURN_IF_ERROR(
        add_bound(context, *schema, "minimum",
                  is_true("exclusiveMinimum") ? Relation::kMoreThan : Relation::kAtLeast, bounds));
    FM_RETURN_IF_ERROR(
        add_bound(context, *schema, "maximum",
                  is_true("exclusiveMaximum") ? Relation::kLessThan : Relation::kAtMost, bounds));
    FM_RETURN_IF_ERROR(
        add_bound(context, *schema, "exclusiveMinimum", Relation::kMoreThan, bounds));
    FM_RETURN_IF_ERROR(
        add_bound(context, *schema, "exclusiveMaximum", Relation::kLessThan, bounds));
    FM_RETURN_IF_ERROR(add_multiple(context, *schema, terms));
    const auto format = schema->find("format");
    if (format != schema->end() && (*format == "int32" || *format == "int64")) {
      const std::int64_t most = *format == "int32" ? std::numeric_limits<std::int32_t>::max()
                                                   : std::numeric_limits<std::int64_t>::max();
      terms.push_back(language.compared(Relation::kAtMost, *Decimal::of(SchemaJson(most))));
      terms.push_back(language.compared(Relation::kAtLeast, *Decimal::of(SchemaJson(-most))));
    }
  }
  if (terms.empty() && !is_integer) return context.graph.number;
  // Numbers with an exponent are compared by no automaton.
  FM_ASSIGN_OR_RETURN(const Term shape,
                      compile_pattern(fmt::format("^-?(0|[1-9]\\d{{0,{}}}){}$", bounds.digits - 1,
                                                  is_integer ? "" : "(\\.\\d{1,20})?"),
                                      language));
  terms.push_back(shape);
  const Term whole = language.both(std::move(terms));
  const RegularLanguage::Texts texts = language.texts_of(whole);
  if (texts == RegularLanguage::Texts::kNone) return RegularLanguage::kNothing;
  if (texts == RegularLanguage::Texts::kSome) return whole;
  FM_RETURN_IF_ERROR(context.not_held(*schemas.front(), "combination of bounds and multiples"));
  return shape;
}

}  // namespace flashmoe
