#include "chat/call_form.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "chat/characters.h"

namespace flashmoe {
namespace {

/// Parameters of a call that are told apart.
constexpr std::size_t kParametersMax = 256;

}  // namespace

OutputForm::Rule CallForm::add_rule(std::vector<Track> tracks) {
  if (form_.rules.empty()) form_.rules.emplace_back();
  form_.rules.push_back(std::move(tracks));
  return static_cast<Rule>(form_.rules.size() - 1);
}

SchemaNode::Id CallForm::add_node(SchemaNode node) {
  form_.graph.nodes.push_back(std::move(node));
  return static_cast<SchemaNode::Id>(form_.graph.nodes.size() - 1);
}

SchemaNode::Id CallForm::add_text_node(const std::string& text) {
  SchemaNode node{.kind = SchemaNode::Kind::kString};
  node.text = form_.graph.texts.literal(characters_of(text).value_or(std::u32string()));
  return add_node(std::move(node));
}

std::optional<OutputForm::Rule> CallForm::add_parameters(SchemaNode::Id arguments,
                                                         const ParameterMarks& marks, Track end) {
  const SchemaNode object = form_.graph.nodes[arguments];
  const bool is_plain = object.kind == SchemaNode::Kind::kObject && object.others.empty() &&
                        object.count_min == 0 && object.count_max == SchemaNode::kUnlimited &&
                        object.properties.size() <= kParametersMax;
  if (!is_plain) return std::nullopt;
  Rule rest = add_rule({std::move(end)});
  for (std::size_t i = object.properties.size(); i-- > 0;) {
    const SchemaNode::Property& property = object.properties[i];
    const Rule rule = add_rule();
    const Rule value = add_rule();
    add_value_tracks(property.value, marks, value);
    Track track = marks.open(nlohmann::ordered_json::parse(property.key).get<std::string>());
    track.push_back(OutputForm::Reference{value});
    track.push_back(OutputForm::Reference{rest});
    form_.rules[rule].push_back(std::move(track));
    if (!property.is_required) form_.rules[rule].push_back({OutputForm::Reference{rest}});
    rest = rule;
  }
  return rest;
}

void CallForm::add_value_tracks(SchemaNode::Id value, const ParameterMarks& marks, Rule rule) {
  const SchemaNode node = form_.graph.nodes[value];
  RegularLanguage& texts = form_.graph.texts;
  const OutputForm::Free anything{.marks = {{.text = marks.close}}};
  Track track;
  switch (node.kind) {
    case SchemaNode::Kind::kAnyOf:
      for (const SchemaNode::Id each : node.alternatives) add_value_tracks(each, marks, rule);
      return;
    case SchemaNode::Kind::kAny:
      track = {anything};
      break;
    case SchemaNode::Kind::kString: {
      if (node.text == RegularLanguage::kAnything) {
        track = {anything};
        break;
      }
      const std::u32string within =
          characters_of(std::string(marks.within)).value_or(std::u32string());
      const RegularLanguage::Term mark =
          texts.sequence(RegularLanguage::kAnything,
                         texts.sequence(texts.literal(within), RegularLanguage::kAnything));
      track = {OutputForm::Text{texts.both({node.text, texts.complement(mark)})},
               OutputForm::Literal{marks.close}};
      break;
    }
    default:
      track = {OutputForm::Value{value}, OutputForm::Literal{marks.close}};
      break;
  }
  form_.rules[rule].push_back(std::move(track));
}

}  // namespace flashmoe
