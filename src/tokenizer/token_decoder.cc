#include "tokenizer/token_decoder.h"

#include <charconv>
#include <cstdint>
#include <optional>

namespace flashmoe {
namespace {

// The byte that "<0x41>" spells.
std::optional<char> byte_of_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return std::nullopt;
  unsigned value = 0;
  const char* end = token.data() + 5;
  const auto parsed = std::from_chars(token.data() + 3, end, value, 16);
  if (parsed.ptr != end) return std::nullopt;
  return static_cast<char>(value);
}

}  // namespace

Result<TokenDecoder> TokenDecoder::from_json(const JsonNode& node) {
  TokenDecoder decoder;
  if (node.is_null()) return node.corrupt("is missing; expected how tokens become text");
  FM_RETURN_IF_ERROR(decoder.add_steps(node));
  return decoder;
}

Status TokenDecoder::add_steps(const JsonNode& node) {
  FM_ASSIGN_OR_RETURN(const std::string type, node.type());
  if (type == "Sequence") {
    FM_ASSIGN_OR_RETURN(const std::vector<JsonNode> parts, node.array("decoders"));
    for (const JsonNode& part : parts) FM_RETURN_IF_ERROR(add_steps(part));
    return Status();
  }
  if (type == "Strip") return add_strip(node);
  if (fused_ || byte_level_) {
    return node.unsupported(type + " after Fuse or ByteLevel is not supported; only Strip is");
  }
  if (type == "ByteLevel") {
    if (!steps_.empty()) return node.unsupported("ByteLevel after other decoders");
    byte_level_ = true;
  } else if (type == "Fuse") {
    fused_ = true;
  } else if (type == "ByteFallback") {
    steps_.emplace_back(ByteFallback{});
  } else if (type == "Replace") {
    return add_replace(node);
  } else if (type == "Metaspace") {
    FM_ASSIGN_OR_RETURN(std::string replacement, node.string("replacement"));
    if (replacement.empty()) return node.corrupt("replacement is empty");
    FM_ASSIGN_OR_RETURN(const bool prefix_space, node.boolean("add_prefix_space", true));
    FM_ASSIGN_OR_RETURN(const std::optional<std::string> scheme,
                        node.optional_string("prepend_scheme"));
    steps_.emplace_back(Replace{std::move(replacement), " "});
    if (scheme.value_or(prefix_space ? "always" : "never") != "never") {
      leading_ = " ";
      leading_count_ = 1;
    }
  } else {
    return node.unsupported(
        fmt::format("decoder type {} is not supported; known are ByteLevel, Metaspace, Replace, "
                    "ByteFallback, Fuse, Strip and Sequence",
                    type));
  }
  return Status();
}

Status TokenDecoder::add_replace(const JsonNode& node) {
  const JsonNode pattern = node.field("pattern");
  if (!pattern.field("Regex").is_null()) {
    return pattern.unsupported("a regular expression in a decoder is not supported");
  }
  FM_ASSIGN_OR_RETURN(std::string from, pattern.string("String"));
  if (from.empty()) return pattern.corrupt("String is empty");
  FM_ASSIGN_OR_RETURN(std::string to, node.string("content"));
  steps_.emplace_back(Replace{std::move(from), std::move(to)});
  return Status();
}

Status TokenDecoder::add_strip(const JsonNode& node) {
  FM_ASSIGN_OR_RETURN(std::string content, node.string("content"));
  FM_ASSIGN_OR_RETURN(const std::int64_t start, node.field("start").as_integer());
  FM_ASSIGN_OR_RETURN(const std::int64_t stop, node.field("stop").as_integer());
  if (content.empty()) return node.corrupt("content is empty");
  if (start < 0 || stop < 0) return node.corrupt("start and stop must not be negative");
  if (!fused_) {
    steps_.emplace_back(
        Strip{std::move(content), static_cast<std::size_t>(start), static_cast<std::size_t>(stop)});
    return Status();
  }
  if (stop != 0) return node.unsupported("stop after Fuse: the end of a stream is not known");
  if (leading_count_ != 0) return node.unsupported("a second Strip after Fuse is not supported");
  leading_ = std::move(content);
  leading_count_ = static_cast<std::size_t>(start);
  return Status();
}

void TokenDecoder::apply(const Step& step, std::string& token) {
  if (const Replace* replace = std::get_if<Replace>(&step)) {
    std::string out;
    std::size_t done = 0;
    for (std::size_t at; (at = token.find(replace->from, done)) != std::string::npos;) {
      out += std::string_view(token).substr(done, at - done);
      out += replace->to;
      done = at + replace->from.size();
    }
    token = out + token.substr(done);
  } else if (const Strip* strip = std::get_if<Strip>(&step)) {
    const std::string& content = strip->content;
    for (std::size_t i = 0; i < strip->start && token.starts_with(content); ++i) {
      token.erase(0, content.size());
    }
    for (std::size_t i = 0; i < strip->stop && token.ends_with(content); ++i) {
      token.resize(token.size() - content.size());
    }
  } else if (const auto byte = byte_of_token(token)) {
    token.assign(1, *byte);
  }
}

void TokenDecoder::append_bytes(std::string_view token, std::string& out) const {
  if (steps_.empty()) {
    out += token;
    return;
  }
  std::string text(token);
  for (const Step& step : steps_) apply(step, text);
  out += text;
}

}  // namespace flashmoe
