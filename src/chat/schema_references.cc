#include "chat/schema_references.h"

#include <cstddef>
#include <cstdint>

#include "chat/characters.h"

namespace flashmoe {
namespace {

using ReferenceJson = nlohmann::ordered_json;

constexpr std::size_t kNameDepthMax = 128;

std::string percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool is_code = text[i] == '%' && i + 2 < text.size() && hex_value(text[i + 1]) >= 0 &&
                         hex_value(text[i + 2]) >= 0;
    if (!is_code) {
      out += text[i];
      continue;
    }
    out += static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
    i += 2;
  }
  return out;
}

}  // namespace

SchemaReferences::SchemaReferences(const ReferenceJson& document) : document_(document) {
  collect(document, "", 0);
}

void SchemaReferences::collect(const ReferenceJson& value, const std::string& place,
                               std::size_t depth) {
  if (depth > kNameDepthMax) return;
  if (value.is_object()) {
    for (const auto& [key, inner] : value.items()) {
      const auto* const name = inner.get_ptr<const std::string*>();
      const bool is_anchor = key == "$anchor" || key == "$dynamicAnchor";
      if (name != nullptr && (is_anchor || key == "$id" || key == "id")) {
        std::string own = *name;
        if (own.ends_with('#')) own.pop_back();
        // Draft 4 has anchors as ids that begin with #.
        const bool has_hash = own.starts_with('#');
        if (has_hash) own.erase(0, 1);
        (is_anchor || has_hash ? anchors_ : names_).emplace(std::move(own), Named{&value, place});
      }
      if (!inner.is_structured()) continue;
      ReferenceJson::json_pointer step;
      step /= key;
      collect(inner, place + step.to_string(), depth + 1);
    }
  } else if (value.is_array()) {
    for (std::size_t i = 0; i < value.size(); ++i) {
      if (value[i].is_structured()) collect(value[i], place + "/" + std::to_string(i), depth + 1);
    }
  }
}

SchemaReferences::Target SchemaReferences::find_pointer(const ReferenceJson& from,
                                                        const std::string& place,
                                                        const std::string& pointer) const {
  // A name may have a % of its own: as it stands comes first.
  for (const std::string& way : {pointer, percent_decoded(pointer)}) {
    try {
      const ReferenceJson::json_pointer parsed(way);
      if (from.contains(parsed)) return {Outcome::kFound, &from.at(parsed), place + way};
    } catch (const ReferenceJson::exception&) {
    }
  }
  return {};
}

SchemaReferences::Target SchemaReferences::find(const std::string& reference) const {
  if (const auto name = names_.find(reference); name != names_.end()) {
    return {Outcome::kFound, name->second.schema, name->second.place};
  }
  const std::size_t hash = reference.find('#');
  const std::string base = reference.substr(0, hash);
  const std::string fragment = hash == std::string::npos ? "" : reference.substr(hash + 1);
  const ReferenceJson* from = &document_;
  std::string place;
  if (!base.empty()) {
    const auto name = names_.find(base);
    if (name == names_.end()) return {.outcome = Outcome::kElsewhere};
    from = name->second.schema;
    place = name->second.place;
  }
  if (!fragment.empty() && fragment.front() != '/') {
    const auto anchor = anchors_.find(percent_decoded(fragment));
    if (anchor == anchors_.end()) return {};
    return {Outcome::kFound, anchor->second.schema, anchor->second.place};
  }
  return find_pointer(*from, place, fragment);
}

}  // namespace flashmoe
