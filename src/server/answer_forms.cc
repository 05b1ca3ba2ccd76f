#include "server/answer_forms.h"

#include <fmt/format.h>

#include <utility>

#include "chat/json_schema.h"
#include "chat/marks.h"
#include "chat/schema_references.h"

namespace flashmoe::server {
namespace {

using Track = OutputForm::Track;
using Free = OutputForm::Free;
using Literal = OutputForm::Literal;
using Reference = OutputForm::Reference;
using Space = OutputForm::Space;

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

std::optional<ApiError> AnswerForms::read(const CompletionRequest& request,
                                          std::vector<std::string>& notes) {
  answer_ = builder_.add_rule();
  return read_answer(request.answer_schema, request.is_schema_strict, notes);
}

std::optional<ApiError> AnswerForms::read(const ChatRequest& request,
                                          std::vector<std::string>& notes) {
  answer_ = builder_.add_rule();
  const bool must_call = request.tool_choice.kind == ToolChoice::Kind::kRequired;
  if (must_call && syntax_ == nullptr) {
    return bad_request("tool_choice", "this model's template does not know tools");
  }
  if (!must_call) {
    if (auto error = read_answer(request.answer_schema, request.is_schema_strict, notes)) {
      return error;
    }
  }
  const bool may_call = must_call || request.tool_choice.kind == ToolChoice::Kind::kAuto;
  if (may_call && (must_call || !request.tools.empty()) && syntax_ != nullptr) {
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
    calls.push_back(syntax_->call(builder_, name, arguments, /*is_free=*/!must_call));
  }
  if (calls.empty()) return bad_request("tool_choice", "names no tool of this request");
  const CallMarks& marks = syntax_->marks();
  const OutputForm::Part layout = Space{CallForm::kLayoutMax};
  if (must_call) {
    is_bound_ = true;
    for (Track& call : calls) call = block_of(std::move(call), syntax_->line());
    form_->rules[answer_] = std::move(calls);
    return std::nullopt;
  }
  if (has_calls_in_text_) {
    Free text{.is_open = true};
    std::vector<Track> firsts = calls;
    for (Track& call : firsts) call.insert(call.begin(), layout);
    text.marks.push_back({std::string(marks.block_open), builder_.add_rule(std::move(firsts))});
    if (!marks.call_open.empty()) {
      // A block's further calls, and those before which models forget to open one: what stands
      // behind this mark.
      for (Track& call : calls) {
        std::get<Literal>(call.front()).text.erase(0, marks.call_open.size());
      }
      text.marks.push_back({std::string(marks.call_open), builder_.add_rule(std::move(calls))});
    }
    form_->rules[answer_].push_back({std::move(text)});
    return std::nullopt;
  }
  // JSON, or calls: one behind the other, where several are wanted.
  for (Track& call : calls) call = block_of(std::move(call), layout);
  const Rule call = builder_.add_rule(std::move(calls));
  const Rule more = builder_.add_rule();
  form_->rules[more].push_back({});
  if (request.has_parallel_calls) {
    form_->rules[more].push_back({layout, Reference{call}, Reference{more}});
  }
  form_->rules[answer_].push_back({layout, Reference{call}, Reference{more}});
  return std::nullopt;
}

/// A block with one call, and `line` between their marks.
Track AnswerForms::block_of(Track call, const OutputForm::Part& line) const {
  const CallMarks& marks = syntax_->marks();
  call.insert(call.begin(), {Literal{std::string(marks.block_open)}, line});
  if (!marks.block_close.empty()) {
    call.push_back(line);
    call.push_back(Literal{std::string(marks.block_close)});
  }
  return call;
}

std::shared_ptr<const OutputForm> AnswerForms::form(Thoughts thoughts) {
  if (!is_bound_ && !has_calls_in_text_) return nullptr;
  const Free thought{.marks = {{.text = std::string(kThinkClose)}}, .is_open = has_calls_in_text_};
  std::vector<Track>& tracks = form_->rules[0];
  if (thoughts == Thoughts::kBegun) {
    tracks.push_back({thought, Space{CallForm::kLayoutMax}, Reference{answer_}});
  } else {
    tracks.push_back({Reference{answer_}});
  }
  if (thoughts == Thoughts::kPossible) {
    tracks.push_back({Space{CallForm::kLayoutMax}, Literal{std::string(kThinkOpen)}, thought,
                      Space{CallForm::kLayoutMax}, Reference{answer_}});
  }
  return std::move(form_);
}

}  // namespace flashmoe::server
