#include "tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <type_traits>

#include "base/check.h"
#include "base/units.h"
#include "base/utf8.h"

namespace flashmoe {
namespace {

// How long normalised text may get. Compatibility decomposition needs a factor of 11; steps of the
// kind "replace a by aaaa", one after the other, would grow without bound.
constexpr std::size_t kSizeBase = 1 << 20;
constexpr std::size_t kGrowthMax = 32;

// True for code points that canonical composition leaves alone whatever stands around them, as long
// as that is such code points, too: no combining class, no decomposition, no second half of a
// composition. Ranges chosen for being long and common; what is left out is only slower.
bool is_inert(char32_t c) {
  return c < 0x300 ||                     // Latin
         (c >= 0x400 && c <= 0x482) ||    // Cyrillic
         (c >= 0x2010 && c <= 0x20CF) ||  // punctuation
         (c >= 0x2190 && c <= 0x21FF) ||  // arrows
         (c >= 0x2500 && c <= 0x27BF) ||  // box drawing, symbols
         (c >= 0x3001 && c <= 0x3029) ||  // CJK punctuation
         (c >= 0x3041 && c <= 0x3096) ||  // Hiragana
         (c >= 0x309B && c <= 0x30FF) ||  // Katakana
         (c >= 0x4E00 && c <= 0x9FFF) ||  // Han
         (c >= 0xAC00 && c <= 0xD7A3) ||  // Hangul syllables; the vowels that join are not inert
         (c >= 0xFF01 && c <= 0xFFEF) ||  // full width
         (c >= 0x1F300 && c <= 0x1FAFF);  // emoji
}

int combining_class(utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; }

// Canonical ordering: each run of combining marks by class, marks of one class as they stood.
void order_marks(std::vector<utf8proc_int32_t>& code_points) {
  const auto is_mark = [](utf8proc_int32_t c) { return combining_class(c) > 0; };
  for (auto run = code_points.begin(); run != code_points.end();) {
    run = std::find_if(run, code_points.end(), is_mark);
    const auto run_end = std::find_if_not(run, code_points.end(), is_mark);
    if (run_end - run > 1) {
      std::stable_sort(run, run_end, [](utf8proc_int32_t a, utf8proc_int32_t b) {
        return combining_class(a) < combining_class(b);
      });
    }
    run = run_end;
  }
}

// Applies utf8proc to all of `text`, save for the order of marks: utf8proc_decompose swaps
// neighbours until all are in place, which takes an hour for a megabyte of them.
Status map_with_utf8proc(std::string_view text, int options, std::vector<utf8proc_int32_t>& buffer,
                         std::string& out) {
  constexpr utf8proc_ssize_t kPartsMax = 32;  // the longest decomposition, of U+FDFA, has 18
  const auto flags = static_cast<utf8proc_option_t>(options);
  const auto failed = [&](utf8proc_ssize_t code) {
    return error(StatusCode::kInvalidArgument, "normalising {} of text: {}",
                 format_size(text.size()), utf8proc_errmsg(code));
  };
  buffer.clear();
  for (std::size_t offset = 0; offset < text.size();) {
    const auto c = static_cast<utf8proc_int32_t>(next_code_point(text, offset));
    utf8proc_int32_t parts[kPartsMax];
    int unused_bound_class = 0;
    const utf8proc_ssize_t count =
        utf8proc_decompose_char(c, parts, kPartsMax, flags, &unused_bound_class);
    if (count < 0) return failed(count);
    FM_CHECK(count <= kPartsMax);
    buffer.insert(buffer.end(), parts, parts + count);
  }
  order_marks(buffer);
  const utf8proc_ssize_t count =
      utf8proc_normalize_utf32(buffer.data(), static_cast<utf8proc_ssize_t>(buffer.size()), flags);
  if (count < 0) return failed(count);
  for (utf8proc_ssize_t i = 0; i < count; ++i) {
    append_utf8(static_cast<char32_t>(buffer[static_cast<std::size_t>(i)]), out);
  }
  return Status();
}

}  // namespace

Status normalize_nfc(std::string_view text, std::string& out) {
  std::vector<TextSpan> none;
  SpanCarrier spans(none);
  return normalize_nfc(text, out, spans);
}

Status normalize_nfc(std::string_view text, std::string& out, SpanCarrier& spans) {
  std::vector<utf8proc_int32_t> buffer;
  std::size_t copied = 0;    // everything before is in `out`
  std::size_t boundary = 0;  // the last inert code point: what follows may combine with it
  for (std::size_t offset = 0; offset < text.size();) {
    const std::size_t begin = offset;
    if (is_inert(next_code_point(text, offset))) {
      boundary = begin;
      continue;
    }
    std::size_t end = offset;  // of the stretch to normalise: the next inert code point
    while (end < text.size()) {
      std::size_t next = end;
      if (is_inert(next_code_point(text, next))) break;
      end = next;
    }
    const std::size_t start = std::max(boundary, copied);
    out += text.substr(copied, start - copied);
    spans.copied(start, out.size());
    FM_RETURN_IF_ERROR(map_with_utf8proc(text.substr(start, end - start),
                                         UTF8PROC_STABLE | UTF8PROC_COMPOSE, buffer, out));
    spans.rewritten(end, out.size());
    copied = offset = end;
  }
  out += text.substr(copied);
  spans.copied(text.size(), out.size());
  return Status();
}

Result<SplitPattern> pattern_from_json(const JsonNode& node) {
  FM_ASSIGN_OR_RETURN(const std::optional<std::string> regex, node.optional_string("Regex"));
  if (regex.has_value()) {
    Result<SplitPattern> pattern = SplitPattern::regex(*regex);
    if (!pattern.ok()) return pattern.status().with_prefix(node.path());
    return pattern;
  }
  FM_ASSIGN_OR_RETURN(const std::optional<std::string> text, node.optional_string("String"));
  if (!text.has_value()) return node.corrupt("expected an object with Regex or String");
  return SplitPattern::literal(*text);
}

Result<Normalizer> Normalizer::from_json(const JsonNode& node) {
  Normalizer normalizer;
  if (!node.is_null()) FM_RETURN_IF_ERROR(add_steps(node, normalizer.steps_));
  return normalizer;
}

Status Normalizer::add_steps(const JsonNode& node, std::vector<Step>& steps) {
  FM_ASSIGN_OR_RETURN(const std::string type, node.type());
  if (type == "Sequence") {
    FM_ASSIGN_OR_RETURN(const std::vector<JsonNode> parts, node.array("normalizers"));
    for (const JsonNode& part : parts) FM_RETURN_IF_ERROR(add_steps(part, steps));
  } else if (type == "NFC") {
    steps.emplace_back(Form::kNfc);
  } else if (type == "NFD") {
    steps.emplace_back(Form::kNfd);
  } else if (type == "NFKC") {
    steps.emplace_back(Form::kNfkc);
  } else if (type == "NFKD") {
    steps.emplace_back(Form::kNfkd);
  } else if (type == "Lowercase") {
    steps.emplace_back(Lowercase{});
  } else if (type == "Prepend") {
    FM_ASSIGN_OR_RETURN(std::string text, node.string("prepend"));
    steps.emplace_back(Prepend{std::move(text)});
  } else if (type == "Replace") {
    FM_ASSIGN_OR_RETURN(SplitPattern pattern, pattern_from_json(node.field("pattern")));
    FM_ASSIGN_OR_RETURN(std::string content, node.string("content"));
    steps.emplace_back(Replace{std::move(pattern), std::move(content)});
  } else if (type == "Strip") {
    Strip strip;
    FM_ASSIGN_OR_RETURN(strip.left, node.boolean("strip_left", true));
    FM_ASSIGN_OR_RETURN(strip.right, node.boolean("strip_right", true));
    steps.emplace_back(strip);
  } else {
    return node.unsupported(
        fmt::format("normalizer type {} is not supported; known are NFC, NFD, NFKC, NFKD, "
                    "Lowercase, Prepend, Replace, Strip and Sequence",
                    type));
  }
  return Status();
}

Result<std::string> Normalizer::apply_step(const Step& step, std::string_view text,
                                           std::size_t size_max, PatternScratch& scratch,
                                           SpanCarrier& spans) {
  std::string out;
  out.reserve(text.size() + 16);
  if (const Form* form = std::get_if<Form>(&step)) {
    if (*form == Form::kNfc) {
      FM_RETURN_IF_ERROR(normalize_nfc(text, out, spans));
      return out;
    }
    const bool compose = *form == Form::kNfkc;
    const bool compatibility = *form == Form::kNfkc || *form == Form::kNfkd;
    const int flags = UTF8PROC_STABLE | (compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) |
                      (compatibility ? UTF8PROC_COMPAT : 0);
    std::vector<utf8proc_int32_t> buffer;
    // No form changes ASCII, though what follows may combine with it: stretches begin there.
    for (std::size_t begin = 0; begin < text.size();) {
      std::size_t end = begin + 1;
      while (end < text.size() && !is_ascii(text.substr(end, 1))) ++end;
      FM_RETURN_IF_ERROR(map_with_utf8proc(text.substr(begin, end - begin), flags, buffer, out));
      spans.rewritten(end, out.size());
      begin = end;
    }
  } else if (std::holds_alternative<Lowercase>(step)) {
    for (std::size_t offset = 0; offset < text.size();) {
      const char32_t c = next_code_point(text, offset);
      if (c == 0x130) {  // the one code point whose lower case is two
        out += "i\xCC\x87";
      } else {
        append_utf8(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))), out);
      }
      spans.rewritten(offset, out.size());
    }
  } else if (const Prepend* prepend = std::get_if<Prepend>(&step)) {
    if (!text.empty()) out += prepend->text;
    spans.skip_to(0, out.size());
    out += text;
    spans.copied(text.size(), out.size());
  } else if (const Replace* replace = std::get_if<Replace>(&step)) {
    std::vector<SplitPattern::Stretch> stretches;
    FM_RETURN_IF_ERROR(replace->pattern.split(text, scratch, stretches));
    for (const auto& stretch : stretches) {
      out += stretch.is_match ? std::string_view(replace->content)
                              : text.substr(stretch.begin, stretch.end - stretch.begin);
      if (stretch.is_match) {
        spans.rewritten(stretch.end, out.size());
      } else {
        spans.copied(stretch.end, out.size());
      }
      if (out.size() > size_max) break;
    }
  } else {
    const Strip& strip = std::get<Strip>(step);
    const char* const begin = text.data();
    while (strip.left && !text.empty()) {
      std::size_t offset = 0;
      if (!is_white_space(next_code_point(text, offset))) break;
      text.remove_prefix(offset);
    }
    while (strip.right && !text.empty()) {
      const std::size_t last = previous_offset(text, text.size());
      std::size_t offset = last;
      if (!is_white_space(next_code_point(text, offset))) break;
      text = text.substr(0, last);
    }
    out += text;
    const auto stripped = static_cast<std::size_t>(text.data() - begin);
    spans.skip_to(stripped, 0);
    spans.copied(stripped + text.size(), out.size());
  }
  if (out.size() > size_max) {
    return error(StatusCode::kInvalidArgument, "the normalizer makes more than {} of text",
                 format_size(size_max));
  }
  return out;
}

Result<std::string_view> Normalizer::apply(std::string_view text, std::string& buffer,
                                           PatternScratch& scratch,
                                           std::vector<TextSpan>& spans) const {
  const std::size_t size_max = kSizeBase + kGrowthMax * text.size();
  for (const Step& step : steps_) {
    // Normal forms leave ASCII alone, which most text is.
    if (std::holds_alternative<Form>(step) && is_ascii(text)) continue;
    SpanCarrier carrier(spans);
    FM_ASSIGN_OR_RETURN(std::string normalized, apply_step(step, text, size_max, scratch, carrier));
    carrier.finish(normalized.size());
    buffer = std::move(normalized);
    text = buffer;
  }
  return text;
}

}  // namespace flashmoe
