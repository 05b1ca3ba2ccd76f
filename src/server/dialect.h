#ifndef FLASHMOE_SERVER_DIALECT_H_
#define FLASHMOE_SERVER_DIALECT_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/api_error.h"
#include "server/chat_request.h"
#include "server/content.h"
#include "server/reply_writer.h"
#include "server/response_store.h"

namespace flashmoe::server {

/// A request that a dialect has read: what is wanted, and who writes the reply.
struct DialectRequest {
  std::variant<ChatRequest, CompletionRequest> wanted;
  std::unique_ptr<ReplyWriter> writer;
  /// The whole answer, where it takes no model: to Ollama's clients that load or unload one.
  std::optional<std::string> answer = {};
  Omissions omitted;  // what placeholders stand for
  /// For the log: what was asked for, and is not done quite so.
  std::vector<std::string> notes = {};
};

/// How each API says that something went wrong.
std::string openai_error_json(const ApiError& error);
std::string anthropic_error_json(const ApiError& error);
std::string ollama_error_json(const ApiError& error);

// Each endpoint's reading of its body. `model`: the id to name in the reply. Errors name the field.
ApiResult<DialectRequest> read_openai_chat(const Json& body, const std::string& model);
ApiResult<DialectRequest> read_openai_completion(const Json& body, const std::string& model);
/// `store`: where responses are kept that later ones go on from; it must outlive the writer.
ApiResult<DialectRequest> read_openai_response(const Json& body, const std::string& model,
                                               ResponseStore& store);
ApiResult<DialectRequest> read_anthropic_messages(const Json& body, const std::string& model);
ApiResult<DialectRequest> read_ollama_chat(const Json& body, const std::string& model);
ApiResult<DialectRequest> read_ollama_generate(const Json& body, const std::string& model);

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_DIALECT_H_
