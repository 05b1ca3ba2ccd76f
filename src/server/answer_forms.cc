#include "server/answer_forms.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"
#include "chat/characters.h"
#include "chat/json_schema.h"
#include "chat/schema_references.h"

namespace flashmoe::server {
namespace {

using Track = OutputForm::Track;
using Free = OutputForm::Free;
using Literal = OutputForm::Literal;
using Reference = OutputForm::Reference;
using Space = OutputForm::Space;

constexpr const char* kCallOpen = "<tool_call>";
constexpr const char* kFunctionOpen = "<function=";
constexpr const char* kThinkOpen = "<think>";
constexpr const char* kThinkClose = "</think>";
constexpr const char* kParameterClose = "\n</parameter>\n";
/// White space where models put none, a newline, or an empty line.
constexpr std::uint32_t kLayoutMax = 2;
/// Parameters of a call in XML that are told apart.
constexpr std::size_t kParametersMax = 256;

bool is_strict_tool(const ChatRequest& request, const Json& function) {
  return function.value("strict", Json()) == true ||
         request.strict_tools.contains(function["name"].get<std::string>());
}

}  // namespace

Json with_types(const Json& parameters) {
  const auto properties = parameters.find("properties");
  if (!parameters.is_object() || properties == parameters.end() || !properties->is_object()) {
    return parameters;
  }
  Json out = parameters;
  const SchemaReferences references(parameters);
  for (Json& value : out["properties"]) {
    // References to references, and no further than there is anything.
    for (int i = 0; i < 8 && value.is_object() && value.contains("$ref"); ++i) {
      if (!value["$ref"].is_string()) break;
      const auto target = references.find(value["$ref"].get<std::string>());
      if (target.schema == nullptr) break;
      const Json referred = *target.schema;
      value = referred;
    }
  }
  return out;
}

OutputForm::Rule AnswerForms::add_rule(std::vector<Track> tracks) {
  // Rule 0 is the whole output's, and is filled last.
  if (form_->rules.empty()) form_->rules.emplace_back();
  form_->rules.push_back(std::move(tracks));
  return static_cast<Rule>(form_->rules.size() - 1);
}

SchemaNode::Id AnswerForms::add_node(SchemaNode node) {
  form_->graph.nodes.push_back(std::move(node));
  return static_cast<SchemaNode::Id>(form_->graph.nodes.size() - 1);
}

std::optional<ApiError> AnswerForms::read(const CompletionRequest& request,
                                          std::vector<std::string>& notes) {
  answer_ = add_rule();
  return read_answer(request.answer_schema, request.is_schema_strict, notes);
}

std::optional<ApiError> AnswerForms::read(const ChatRequest& request,
                                          std::vector<std::string>& notes) {
  answer_ = add_rule();
  const bool must_call = request.tool_choice.kind == ToolChoice::Kind::kRequired;
  if (must_call && syntax_ == ToolSyntax::kNone) {
    return bad_request("tool_choice", "this model's template does not know tools");
  }
  if (!must_call) {
    if (auto error = read_answer(request.answer_schema, request.is_schema_strict, notes)) {
      return error;
    }
  }
  const bool may_call = must_call || request.tool_choice.kind == ToolChoice::Kind::kAuto;
  if (may_call && (must_call || !request.tools.empty()) && syntax_ != ToolSyntax::kNone) {
    return read_tools(request, notes);
  }
  return std::nullopt;
}

std::optional<ApiError> AnswerForms::read_answer(const std::optional<Json>& schema, bool is_strict,
                                                 std::vector<std::string>& notes) {
  if (!schema) return std::nullopt;
  const Result<SchemaNode::Id> node =
      compile_schema(*schema, {.is_strict = is_strict}, form_->graph, notes);
  if (!node.ok()) return bad_request("response_format", node.status().message());
  form_->rules[answer_].push_back({OutputForm::Value{*node}});
  is_bound_ = true;
  return std::nullopt;
}

std::optional<ApiError> AnswerForms::read_tools(const ChatRequest& request,
                                                std::vector<std::string>& notes) {
  const bool must_call = request.tool_choice.kind != ToolChoice::Kind::kAuto;
  has_calls_in_text_ = !must_call && !is_bound_;
  std::vector<Track> calls;
  for (const Json& tool : request.tools) {
    const Json& function = tool["function"];
    const std::string name = function["name"].get<std::string>();
    if (!request.tool_choice.allows(name)) continue;
    const bool is_strict = is_strict_tool(request, function);
    std::optional<SchemaNode::Id> arguments;
    if (must_call || is_strict) {
      Json parameters = function.value("parameters", Json());
      if (parameters.is_null()) parameters = {{"type", "object"}};
      std::vector<std::string> hints;
      const Result<SchemaNode::Id> node =
          compile_schema(parameters, {.is_strict = is_strict}, form_->graph, hints);
      if (!node.ok()) return bad_request("tools", name + ": " + node.status().message());
      for (const std::string& hint : hints) notes.push_back(fmt::format("tool {}: {}", name, hint));
      arguments = *node;
    }
    calls.push_back(call_of(name, arguments, /*is_free=*/!must_call));
  }
  if (calls.empty()) return bad_request("tool_choice", "names no tool of this request");
  if (must_call) {
    is_bound_ = true;
    for (Track& call : calls) call.insert(call.begin(), Literal{std::string(kCallOpen)});
    form_->rules[answer_] = std::move(calls);
    return std::nullopt;
  }
  if (has_calls_in_text_) {
    Free text{.is_open = true};
    text.marks.push_back({kCallOpen, add_rule(calls)});
    if (syntax_ == ToolSyntax::kQwenXml) {
      // Models forget the mark before it: then the name stands behind this one.
      std::vector<Track> names;
      for (Track& call : calls) {
        Track bare(call.begin() + 1, call.end());
        auto& literal = std::get<Literal>(bare.front());
        literal.text.erase(0, std::string_view(kFunctionOpen).size());
        names.push_back(std::move(bare));
      }
      text.marks.push_back({kFunctionOpen, add_rule(std::move(names))});
    }
    form_->rules[answer_].push_back({std::move(text)});
    return std::nullopt;
  }
  // JSON, or calls: one behind the other, where several are wanted.
  for (Track& call : calls) call.insert(call.begin(), Literal{std::string(kCallOpen)});
  if (syntax_ == ToolSyntax::kQwenXml) {
    for (Track& call : calls) {
      call.push_back(Space{kLayoutMax});
      call.push_back(Literal{"</tool_call>"});
    }
  }
  const Rule call = add_rule(std::move(calls));
  const Rule more = add_rule();
  form_->rules[more].push_back({});
  if (request.has_parallel_calls) {
    form_->rules[more].push_back({Space{kLayoutMax}, Reference{call}, Reference{more}});
  }
  form_->rules[answer_].push_back({Space{kLayoutMax}, Reference{call}, Reference{more}});
  return std::nullopt;
}

/// `is_free`: the model has chosen to call, and writes with as much white space as it likes, up to
/// a point; else word for word as its template does.
Track AnswerForms::call_of(const std::string& name, std::optional<SchemaNode::Id> arguments,
                           bool is_free) {
  if (syntax_ == ToolSyntax::kQwenXml) {
    Track call = xml_call_of(name, arguments);
    if (is_free) {
      call.insert(call.begin(), Space{kLayoutMax});
    } else {
      call.insert(call.begin(), Literal{"\n"});
      call.push_back(Literal{"\n</tool_call>"});
    }
    return call;
  }
  if (!is_free) {
    FM_CHECK(arguments.has_value());
    return {Literal{fmt::format("\n{{\"name\": {}, \"arguments\": ", dump(Json(name)))},
            OutputForm::Value{*arguments}, Literal{"}\n</tool_call>"}};
  }
  SchemaNode text{.kind = SchemaNode::Kind::kString};
  text.text = form_->graph.texts.literal(characters_of(name).value_or(std::u32string()));
  SchemaNode call{.kind = SchemaNode::Kind::kObject};
  const SchemaNode::Id name_node = add_node(std::move(text));
  call.properties = {{"\"name\"", name_node, true},
                     {"\"arguments\"", arguments.value_or(SchemaGraph::kAnyObject), true}};
  const SchemaNode::Id node = add_node(std::move(call));
  return {Space{kLayoutMax}, OutputForm::Value{node}, Space{kLayoutMax}, Literal{"</tool_call>"}};
}

/// From <function= to </function>. Where nothing, or nothing simple, is known of the arguments,
/// they are free.
Track AnswerForms::xml_call_of(const std::string& name, std::optional<SchemaNode::Id> arguments) {
  const std::string open = kFunctionOpen + name + ">";
  if (arguments) {
    if (const std::optional<Rule> parameters = add_parameters(*arguments)) {
      return {Literal{open + "\n"}, Reference{*parameters}};
    }
  }
  return {Literal{open}, Space{kLayoutMax}, Free{.marks = {{.text = "</function>"}}}};
}

/// <parameter=KEY> VALUE </parameter> for each property in order, then </function>.
std::optional<OutputForm::Rule> AnswerForms::add_parameters(SchemaNode::Id arguments) {
  const SchemaNode object = form_->graph.nodes[arguments];
  const bool is_plain = object.kind == SchemaNode::Kind::kObject && object.others.empty() &&
                        object.count_min == 0 && object.count_max == SchemaNode::kUnlimited &&
                        object.properties.size() <= kParametersMax;
  if (!is_plain) return std::nullopt;
  Rule rest = add_rule({{Literal{"</function>"}}});
  for (std::size_t i = object.properties.size(); i-- > 0;) {
    const SchemaNode::Property& property = object.properties[i];
    const std::string key = Json::parse(property.key).get<std::string>();
    const Rule rule = add_rule();
    const Rule value = add_rule();
    add_value_tracks(property.value, {}, value);
    form_->rules[rule].push_back(
        {Literal{"<parameter=" + key + ">\n"}, Reference{value}, Reference{rest}});
    if (!property.is_required) form_->rules[rule].push_back({Reference{rest}});
    rest = rule;
  }
  return rest;
}

/// Texts stand as they are, everything else as JSON.
void AnswerForms::add_value_tracks(SchemaNode::Id value, Track begin, Rule rule) {
  const SchemaNode node = form_->graph.nodes[value];
  RegularLanguage& texts = form_->graph.texts;
  switch (node.kind) {
    case SchemaNode::Kind::kAnyOf:
      for (const SchemaNode::Id each : node.alternatives) add_value_tracks(each, begin, rule);
      return;
    case SchemaNode::Kind::kAny:
      begin.push_back(Free{.marks = {{.text = kParameterClose}}});
      break;
    case SchemaNode::Kind::kString: {
      if (node.text == RegularLanguage::kAnything) {
        begin.push_back(Free{.marks = {{.text = kParameterClose}}});
        break;
      }
      const RegularLanguage::Term mark = texts.sequence(
          RegularLanguage::kAnything,
          texts.sequence(texts.literal(U"</parameter>"), RegularLanguage::kAnything));
      begin.push_back(OutputForm::Text{texts.both({node.text, texts.complement(mark)})});
      begin.push_back(Literal{kParameterClose});
      break;
    }
    default:
      begin.push_back(OutputForm::Value{value});
      begin.push_back(Literal{kParameterClose});
      break;
  }
  form_->rules[rule].push_back(std::move(begin));
}

std::shared_ptr<const OutputForm> AnswerForms::form(Thoughts thoughts) {
  if (!is_bound_ && !has_calls_in_text_) return nullptr;
  const Free thought{.marks = {{.text = kThinkClose}}, .is_open = has_calls_in_text_};
  std::vector<Track>& tracks = form_->rules[0];
  if (thoughts == Thoughts::kBegun) {
    tracks.push_back({thought, Space{kLayoutMax}, Reference{answer_}});
  } else {
    tracks.push_back({Reference{answer_}});
  }
  if (thoughts == Thoughts::kPossible) {
    tracks.push_back({Space{kLayoutMax}, Literal{std::string(kThinkOpen)}, thought,
                      Space{kLayoutMax}, Reference{answer_}});
  }
  return std::move(form_);
}

}  // namespace flashmoe::server
