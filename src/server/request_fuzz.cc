// Byte 0 chooses the endpoint, the rest is a body: it is read, or refused with a field's name, and
// the writer can put any reply into words.
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>

#include "server/dialect.h"
#include "server/json_body.h"

namespace {

using namespace flashmoe;
using namespace flashmoe::server;

ApiResult<DialectRequest> read_response(const Json& body, const std::string& model) {
  static ResponseStore store(1 << 20);
  return read_openai_response(body, model, store);
}

constexpr ApiResult<DialectRequest> (*kReaders[])(const Json&, const std::string&) = {
    read_openai_chat,        read_openai_completion, read_response,
    read_anthropic_messages, read_ollama_chat,       read_ollama_generate};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  ApiResult<Json> body = parse_body(text);
  if (!body.ok()) return 0;
  ApiResult<DialectRequest> request = kReaders[data[0] % std::size(kReaders)](*body, "model");
  if (!request.ok()) {
    static_cast<void>(openai_error_json(request.error()));
    return 0;
  }
  if (request->answer) return 0;  // Ollama's load: nothing is generated, and nothing written
  ReplyWriter& writer = *request->writer;
  std::string out;
  std::vector<TokenInfo> tokens(1);
  using Kind = OutputEvent::Kind;
  writer.begin(7, 3, out);
  for (const Kind kind : {Kind::kReasoning, Kind::kText, Kind::kCallBegin, Kind::kCallArguments,
                          Kind::kCallEnd, Kind::kText}) {
    writer.event(0, {.kind = kind, .text = "{}"}, tokens, out);
  }
  writer.end_choice(0, {.reason = EndReason::kToolCalls}, tokens, out);
  writer.finish({.prompt_tokens = 7}, out);
  return 0;
}
