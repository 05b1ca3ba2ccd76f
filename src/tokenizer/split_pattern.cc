#include "tokenizer/split_pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <utility>

#include "base/check.h"
#include "base/utf8.h"

namespace flashmoe {
namespace {

// Real patterns are a few hundred bytes.
constexpr std::size_t kPatternSizeMax = 64 << 10;
constexpr std::size_t kJitStackSizeStart = 32 << 10;
constexpr std::size_t kJitStackSizeMax = 1 << 20;
constexpr std::uint32_t kHeapLimitKiB = 64 << 10;
// Backtracking steps allowed from one start position: linear work always fits (\s* over a run of
// spaces steps once per space), exponential work never does.
constexpr std::uint32_t kMatchLimitBase = 20'000;
constexpr std::uint32_t kMatchLimitPerByte = 4;

// PCRE2's own \s takes U+180E for a space (no White_Space since Unicode 6.3), and its \w knows no
// combining marks. Both lists are written for the inside of a bracket.
constexpr std::string_view kWhiteSpace =
    R"(\x{9}-\x{D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
constexpr std::string_view kWord = R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc})";

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The size of an interval such as {1,3} at the beginning of `text`; 0 if there is none.
std::size_t interval_size(std::string_view text) {
  if (text.empty() || text[0] != '{') return 0;
  std::size_t i = 1;
  bool any_digit = false;
  for (; i < text.size() && (is_digit(text[i]) || text[i] == ','); ++i) {
    any_digit |= is_digit(text[i]);
  }
  return any_digit && i < text.size() && text[i] == '}' ? i + 1 : 0;
}

std::string pcre2_message(int code) {
  PCRE2_UCHAR text[256] = {};
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

}  // namespace

// Not in the namespace without a name: State has members of it.
struct FreePcre2 {
  void operator()(pcre2_compile_context* p) const { pcre2_compile_context_free(p); }
  void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
  void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
  void operator()(pcre2_jit_stack* p) const { pcre2_jit_stack_free(p); }
};

Result<std::string> translate_pattern(std::string_view pattern) {
  std::string out;
  bool in_brackets = false;
  for (std::size_t i = 0; i < pattern.size();) {
    const char c = pattern[i];
    const std::string_view rest = pattern.substr(i);
    if (c == '\\' && rest.size() >= 2) {
      const char escaped = rest[1];
      std::size_t size = 2;
      if (escaped == 's' || escaped == 'w') {
        const std::string_view list = escaped == 's' ? kWhiteSpace : kWord;
        out += in_brackets ? std::string(list) : fmt::format("[{}]", list);
      } else if ((escaped == 'S' || escaped == 'W') && !in_brackets) {
        out += fmt::format("[^{}]", escaped == 'S' ? kWhiteSpace : kWord);
      } else if (std::string_view("hHRXKGQEgkyY").find(escaped) != std::string_view::npos) {
        return error(StatusCode::kUnsupported,
                     "regular expression {}: \\{} is not supported (PCRE2 and Oniguruma read it "
                     "differently)",
                     pattern, escaped);
      } else {
        if ((escaped == 'p' || escaped == 'P' || escaped == 'x') && rest.size() > 2 &&
            rest[2] == '{') {
          const std::size_t close = rest.find('}');
          if (close != std::string_view::npos) size = close + 1;
        }
        out += rest.substr(0, size);
      }
      i += size;
      continue;
    }
    if (in_brackets) {
      if (rest.starts_with("[:")) {
        const std::size_t close = rest.find(":]");
        if (close != std::string_view::npos) {
          out += rest.substr(0, close + 2);
          i += close + 2;
          continue;
        }
      }
      if (c == '[' || rest.starts_with("&&")) {
        return error(StatusCode::kUnsupported,
                     "regular expression {}: a bracket inside a bracket, or &&, is not supported",
                     pattern);
      }
      if (c == ']') in_brackets = false;
    } else if (c == '[') {
      in_brackets = true;
      // A ] that comes first stands for itself.
      std::size_t size = rest.starts_with("[^") ? 2 : 1;
      if (size < rest.size() && rest[size] == ']') ++size;
      out += rest.substr(0, size);
      i += size;
      continue;
    } else if (const std::size_t size = interval_size(rest); size > 0) {
      if (size < rest.size() && rest[size] == '+') {
        return error(StatusCode::kUnsupported,
                     "regular expression {}: + after an interval is not supported (possessive in "
                     "PCRE2, a repetition in Oniguruma)",
                     pattern);
      }
      out += rest.substr(0, size);
      i += size;
      continue;
    }
    out.push_back(c);
    ++i;
  }
  return out;
}

struct PatternScratch::State {
  std::unique_ptr<pcre2_match_data, FreePcre2> match_data;
  std::unique_ptr<pcre2_match_context, FreePcre2> context;
  std::unique_ptr<pcre2_jit_stack, FreePcre2> jit_stack;
};

PatternScratch::PatternScratch() : state_(std::make_unique<State>()) {
  state_->match_data.reset(pcre2_match_data_create(1, nullptr));
  state_->context.reset(pcre2_match_context_create(nullptr));
  FM_CHECK(state_->match_data != nullptr);
  FM_CHECK(state_->context != nullptr);
  // Null where there is no JIT, which then does not ask for it.
  state_->jit_stack.reset(pcre2_jit_stack_create(kJitStackSizeStart, kJitStackSizeMax, nullptr));
  pcre2_jit_stack_assign(state_->context.get(), nullptr, state_->jit_stack.get());
  pcre2_set_heap_limit(state_->context.get(), kHeapLimitKiB);
}

PatternScratch::PatternScratch(PatternScratch&&) noexcept = default;
PatternScratch& PatternScratch::operator=(PatternScratch&&) noexcept = default;
PatternScratch::~PatternScratch() = default;

Result<SplitPattern> SplitPattern::regex(std::string_view pattern) {
  FM_ASSIGN_OR_RETURN(const std::string translated, translate_pattern(pattern));
  const std::unique_ptr<pcre2_compile_context, FreePcre2> context(
      pcre2_compile_context_create(nullptr));
  FM_CHECK(context != nullptr);
  pcre2_set_max_pattern_length(context.get(), kPatternSizeMax);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int code = 0;
  std::size_t offset = 0;
  // Oniguruma's ^ and $ always match at line ends. \C could cut a code point.
  pcre2_code* compiled =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &code,
                    &offset, context.get());
  if (compiled == nullptr) {
    return error(StatusCode::kCorrupt, "regular expression {}: {} (at byte {} of its translation)",
                 pattern.substr(0, 1000), pcre2_message(code), offset);
  }
  SplitPattern result;
  result.jit_ = pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE) == 0;
  result.code_ = std::shared_ptr<const pcre2_code>(
      compiled, [](const pcre2_code* code) { pcre2_code_free(const_cast<pcre2_code*>(code)); });
  result.source_ = pattern;
  return result;
}

SplitPattern SplitPattern::literal(std::string text) {
  SplitPattern result;
  result.source_ = std::move(text);
  return result;
}

Result<std::optional<SplitPattern::Match>> SplitPattern::find(std::string_view text,
                                                              std::size_t from,
                                                              PatternScratch& scratch) const {
  if (code_ == nullptr) {
    const std::size_t begin = source_.empty() ? std::string_view::npos : text.find(source_, from);
    if (begin == std::string_view::npos) return std::optional<Match>();
    return std::optional<Match>({.begin = begin, .end = begin + source_.size()});
  }
  pcre2_match_data* match_data = scratch.state_->match_data.get();
  pcre2_match_context* context = scratch.state_->context.get();
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  while (from < text.size()) {
    int count = jit_ ? pcre2_jit_match(code_.get(), subject, text.size(), from, PCRE2_NO_UTF_CHECK,
                                       match_data, context)
                     : PCRE2_ERROR_JIT_STACKLIMIT;
    if (count == PCRE2_ERROR_JIT_STACKLIMIT) {  // the interpreter keeps its state on the heap
      count = pcre2_match(code_.get(), subject, text.size(), from,
                          PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, match_data, context);
    }
    if (count == PCRE2_ERROR_NOMATCH) break;
    if (count < 0) {
      return error(
          StatusCode::kInvalidArgument,
          "regular expression {}: gave up at byte {} of {}: {}; the pattern backtracks too "
          "much on this text",
          source_, from, text.size(), pcre2_message(count));
    }
    const std::size_t* offsets = pcre2_get_ovector_pointer(match_data);
    if (offsets[1] > offsets[0]) {
      return std::optional<Match>({.begin = offsets[0], .end = offsets[1]});
    }
    from = offsets[0];
    if (from < text.size()) next_code_point(text, from);
  }
  return std::optional<Match>();
}

Status SplitPattern::split(std::string_view text, PatternScratch& scratch,
                           std::vector<Stretch>& out, std::size_t count_max) const {
  const std::size_t limit = kMatchLimitBase + kMatchLimitPerByte * text.size();
  pcre2_set_match_limit(scratch.state_->context.get(),
                        static_cast<std::uint32_t>(std::min<std::size_t>(limit, UINT32_MAX)));
  std::size_t done = 0;
  while (done < text.size()) {
    FM_ASSIGN_OR_RETURN(const std::optional<Match> match, find(text, done, scratch));
    if (!match.has_value()) break;
    if (out.size() > count_max) {
      return error(StatusCode::kOutOfBudget, "the text has more than {} words", count_max);
    }
    if (match->begin > done) out.push_back({.begin = done, .end = match->begin});
    out.push_back({.begin = match->begin, .end = match->end, .is_match = true});
    done = match->end;
  }
  if (done < text.size()) out.push_back({.begin = done, .end = text.size()});
  return Status();
}

}  // namespace flashmoe
