#ifndef FLASHMOE_SERVER_RESPONSE_ITEMS_H_
#define FLASHMOE_SERVER_RESPONSE_ITEMS_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "server/content.h"
#include "server/response_store.h"

namespace flashmoe::server {

/// What /v1/responses puts before a thought where a client asks for it in a form that it may only
/// hand back ("reasoning.encrypted_content").
inline constexpr const char* kThoughtPrefix = "flash-moe:";

/// Brings the items of a response's input or output to the common form, one after the other:
/// messages, thoughts, calls of tools of any kind and what they returned. Placeholders stand for
/// what OpenAI's servers have done or hidden.
class ResponseItemReader {
 public:
  /// `store`: where items are looked up that others only refer to; may be null. `messages`: to be
  /// added to. All must outlive it.
  ResponseItemReader(ResponseStore* store, Json& messages, Omissions& omitted)
      : store_(store), messages_(messages), omitted_(omitted) {}

  /// `where`: the item's field. Errors name it.
  std::optional<ApiError> read(const Json& item, const std::string& where);

 private:
  void read_typed(Fields& fields, const std::string& type, const Json& item,
                  const std::string& where);
  void read_message(Fields& fields);
  void read_reasoning(Fields& fields, const std::string& where);
  void read_mcp_call(Fields& fields, const std::string& where);
  bool read_call_by_type(Fields& fields, std::string_view type);
  std::string read_output(Fields& fields, const std::string& where);
  std::string read_output_part(Fields& fields, const Json& part, const std::string& where);
  void add_call(Fields& fields, const std::string& name, Json arguments);
  void add_result(Fields& fields, std::string text);
  /// The assistant's message at the end, to which calls and thoughts belong; a new one where the
  /// last message is another's.
  Json& assistant_message();

  ResponseStore* const store_;
  Json& messages_;
  Omissions& omitted_;
  std::size_t placeholder_ = static_cast<std::size_t>(-1);  // the message that has no other text
};

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_RESPONSE_ITEMS_H_
