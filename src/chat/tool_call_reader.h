#ifndef FLASHMOE_CHAT_TOOL_CALL_READER_H_
#define FLASHMOE_CHAT_TOOL_CALL_READER_H_

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "chat/output_event.h"

namespace flashmoe {

/// How a model writes calls of tools.
enum class ToolSyntax : std::uint8_t {
  kNone,
  kHermes,   // <tool_call> {"name": ..., "arguments": {...}} </tool_call>
  kQwenXml,  // <tool_call> <function=NAME> <parameter=KEY> VALUE </parameter> ... </function>
  kMiniMax,  // <minimax:tool_call> <invoke name="NAME"> <parameter name="KEY">VALUE</parameter> ...
  kGlm,      // <tool_call>NAME <arg_key>KEY</arg_key> <arg_value>VALUE</arg_value> ... </tool_call>
  kDeepSeekV3,   // <｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME, a fence around {...}
  kDeepSeekV31,  // <｜tool▁call▁begin｜>NAME<｜tool▁sep｜>{...}<｜tool▁call▁end｜>
  kKimi,         // <|tool_call_begin|>functions.NAME:0<|tool_call_argument_begin|>{...}
  kMistral,      // [TOOL_CALLS]NAME[ARGS]{...}
  kSeed,         // as kQwenXml, within <seed:tool_call>, and values without lines of their own
};

/// The parameters of each tool of a request, by the tool's name: JSON schemas.
using ToolSchemas = std::map<std::string, nlohmann::ordered_json, std::less<>>;

/// Reads one call, from behind the mark that begins it to behind the one that ends it, as its text
/// comes. The arguments it tells are valid JSON when put together, if the call is complete.
class ToolCallReader {
 public:
  enum class Verdict : std::uint8_t { kMore, kDone, kNoCall, kCut };

  virtual ~ToolCallReader() = default;

  /// Takes what it can from the front of `text`, and leaves what depends on what comes next.
  /// kNoCall: nothing has been told, `text` is as the model wrote it.
  virtual Verdict read(std::string& text, OutputEvents& events) = 0;
  /// `text` is all that is left, the output ends with it. Takes all of it, or says kNoCall. kCut:
  /// so far it might have become a call, of which nothing can be told.
  virtual Verdict finish(std::string& text, OutputEvents& events) = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_TOOL_CALL_READER_H_
