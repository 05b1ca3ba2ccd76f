#include "server/content.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace flashmoe::server {
namespace {

constexpr std::size_t kKindsMax = 32;
constexpr std::size_t kKindSizeMax = 48;
constexpr std::size_t kNameSizeMax = 120;

/// A member that is a text; null where there is none.
const std::string* text_member(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() ? nullptr : found->get_ptr<const std::string*>();
}

std::string_view type_of(const Json& block) {
  const std::string* const type = text_member(block, "type");
  return type != nullptr ? std::string_view(*type) : std::string_view();
}

/// "image" for image, input_image and image_url; what is no plain word is a "block".
std::string kind_of(std::string_view type) {
  for (const std::string_view prefix : {"input_", "output_"}) {
    if (type.starts_with(prefix)) type.remove_prefix(prefix.size());
  }
  if (type.ends_with("_url")) type.remove_suffix(4);
  const auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
  };
  if (type.empty() || type.size() > kKindSizeMax || !std::ranges::all_of(type, is_plain)) {
    return "block";
  }
  return std::string(type);
}

/// What a block calls itself, in one line; empty where it has no name.
std::string name_of(const Json& block) {
  const std::string* name = nullptr;
  for (const char* const member : {"title", "filename", "tool_name", "name"}) {
    if (name == nullptr) name = text_member(block, member);
  }
  const auto file = block.find("file");
  if (name == nullptr && file != block.end() && file->is_object()) {
    name = text_member(*file, "filename");
  }
  const auto action = block.find("action");
  if (name == nullptr && action != block.end() && action->is_object()) {
    name = text_member(*action, "query");
  }
  if (name == nullptr) return {};
  std::string line = *name;
  if (line.size() > kNameSizeMax) {
    std::size_t end = kNameSizeMax;
    while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xC0) == 0x80) --end;
    line.resize(end);
  }
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  return line;
}

/// Lines of an agent's accounts, which are no part of what it tells the model.
bool is_telemetry(std::string_view line) {
  constexpr std::string_view kPrefix = "x-anthropic-";
  if (!line.starts_with(kPrefix)) return false;
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return false;
  return std::ranges::all_of(line.substr(0, colon),
                             [](char c) { return (c >= 'a' && c <= 'z') || c == '-'; });
}

/// A block without the telemetry that it begins with, and the empty lines after that.
std::string_view without_telemetry(std::string_view text) {
  bool had_telemetry = false;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    const bool is_blank = line.find_first_not_of(" \t\r") == std::string_view::npos;
    if (!is_telemetry(line) && !(had_telemetry && is_blank)) break;
    had_telemetry = true;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return text;
}

/// A list of blocks, or a text. `is_system`: telemetry is left out, block by block.
std::string read_blocks(Fields& fields, std::string_view name, const Json& content,
                        const std::string& where, bool is_system, Omissions& omitted) {
  const auto kept = [is_system](std::string_view text) {
    return is_system ? without_telemetry(text) : text;
  };
  if (const auto* const whole = content.get_ptr<const std::string*>()) {
    return std::string(kept(*whole));
  }
  if (!content.is_array()) {
    fields.fail(name, "must be a text or a list of parts");
    return {};
  }
  std::string text;
  for (std::size_t i = 0; i < content.size(); ++i) {
    const std::string block =
        read_block(fields, name, content[i], fmt::format("{}[{}]", where, i), omitted);
    const std::string_view rest = kept(block);
    if (rest.empty() && !block.empty()) continue;  // nothing but telemetry
    if (!text.empty()) text += '\n';
    text += rest;
  }
  return text;
}

/// Texts one below the other: a title, a source, what was found.
std::string read_search_result(Fields& fields, std::string_view name, const Json& block,
                               const std::string& where, Omissions& omitted) {
  std::string text;
  for (const char* const member : {"title", "source"}) {
    if (const std::string* const line = text_member(block, member)) append_line(text, *line);
  }
  if (const auto content = block.find("content"); content != block.end()) {
    append_line(text, read_blocks(fields, name, *content, where + ".content", false, omitted));
  }
  return text;
}

/// A document whose source is text, or blocks; a placeholder for any other.
std::string read_document(Fields& fields, std::string_view name, const Json& block,
                          const std::string& where, Omissions& omitted) {
  const auto source = block.find("source");
  if (source == block.end() || !source->is_object()) return omit(block, where, omitted);
  const std::string_view type = type_of(*source);
  const std::string* const data = text_member(*source, "data");
  const auto content = source->find("content");
  std::string text;
  for (const char* const member : {"title", "context"}) {
    if (const std::string* const line = text_member(block, member)) append_line(text, *line);
  }
  if (type == "text" && data != nullptr) {
    append_line(text, *data);
  } else if (type == "content" && content != source->end()) {
    append_line(text,
                read_blocks(fields, name, *content, where + ".source.content", false, omitted));
  } else {
    return omit(block, where, omitted);
  }
  return text;
}

}  // namespace

void Omissions::add(std::string where, std::string kind) {
  const bool is_known =
      std::ranges::any_of(entries_, [&](const Entry& entry) { return entry.kind == kind; });
  if (is_known || entries_.size() >= kKindsMax) return;
  entries_.push_back({std::move(where), std::move(kind)});
}

std::string omit(const Json& block, const std::string& where, Omissions& omitted) {
  std::string kind = kind_of(type_of(block));
  const std::string name = name_of(block);
  std::string text = name.empty() ? fmt::format("[{} omitted]", kind)
                                  : fmt::format("[{} omitted: {}]", kind, name);
  omitted.add(where, std::move(kind));
  return text;
}

std::string read_block(Fields& fields, std::string_view name, const Json& block,
                       const std::string& where, Omissions& omitted) {
  if (!block.is_object()) {
    fields.fail(name, fmt::format("{} must be an object", where));
    return {};
  }
  const std::string_view type = type_of(block);
  if (type.empty() || type.ends_with("text") || type == "refusal") {
    const auto words = block.find(type == "refusal" ? "refusal" : "text");
    if (words != block.end() && words->is_string()) return words->get<std::string>();
    if (words != block.end() && words->is_null()) return {};
    fields.fail(name, fmt::format("{} has no text", where));
    return {};
  }
  if (type == "search_result") return read_search_result(fields, name, block, where, omitted);
  if (type == "document") return read_document(fields, name, block, where, omitted);
  if (type == "mcp_tool_result" && block.contains("content")) {
    return read_blocks(fields, name, block["content"], where + ".content", false, omitted);
  }
  return omit(block, where, omitted);
}

std::string read_content(Fields& fields, std::string_view name, Omissions& omitted) {
  const Json* const content = fields.find(name);
  if (content == nullptr) return {};
  return read_blocks(fields, name, *content, fields.path(name), false, omitted);
}

std::string read_system_content(Fields& fields, std::string_view name, Omissions& omitted) {
  const Json* const content = fields.find(name);
  if (content == nullptr) return {};
  return read_blocks(fields, name, *content, fields.path(name), true, omitted);
}

void add_system_message(Fields& fields, std::string_view name, Json& messages, Omissions& omitted) {
  if (!fields.has(name)) return;
  std::string text = read_system_content(fields, name, omitted);
  if (text.empty() && !read_content(fields, name, omitted).empty()) return;
  messages.push_back({{"role", "system"}, {"content", std::move(text)}});
}

void append_line(std::string& text, std::string_view line) {
  if (line.empty()) return;
  if (!text.empty()) text += '\n';
  text += line;
}

}  // namespace flashmoe::server
