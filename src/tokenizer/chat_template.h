#ifndef FLASHMOE_TOKENIZER_CHAT_TEMPLATE_H_
#define FLASHMOE_TOKENIZER_CHAT_TEMPLATE_H_

#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "flashmoe/chat_prompt.h"
#include "tokenizer/jinja/template.h"
#include "tokenizer/reply_marks.h"
#include "tokenizer/token_id.h"

namespace flashmoe {

class Tokenizer;
struct EmbeddedTokenizer;

/// Which of several equivalent forms of a message a template understands. Found out when the
/// template is loaded, by rendering short conversations and looking at the result.
struct ChatTemplateTraits {
  bool takes_argument_objects = false;  // tool_call.function.arguments as an object
  bool takes_argument_strings = false;  // ... as the JSON string that clients send, verbatim
  bool takes_content_parts = false;     // content as a list of {"type": "text", "text": ...}
  bool takes_null_content = false;      // content null beside tool calls
};

/// Turns a conversation into the prompt that a checkpoint was trained on, by the checkpoint's own
/// Jinja template (docs/chat_templates.md). Immutable and safe to share between threads.
class ChatTemplate {
 public:
  /// Reads chat_template.jinja of `model_folder`, else chat_template of its tokenizer_config.json
  /// (a string, or a list of {name, template} of which "default" is taken), else of its
  /// chat_template.json, and the special tokens of tokenizer_config.json; of a GGUF file
  /// (find_gguf_file()) what it has inside. Errors: kNotFound if there is no template; kIo;
  /// kCorrupt and kUnsupported as Template::parse gives them, with the file's name.
  static Result<ChatTemplate> load(const std::filesystem::path& model_folder);

  /// The same of what a GGUF file has inside. Errors: kNotFound, kCorrupt, kUnsupported, naming it.
  static Result<ChatTemplate> load(const EmbeddedTokenizer& embedded);

  /// A template by its source. `special_tokens` is an object of template variables: bos_token, ...
  static Result<ChatTemplate> parse(std::string_view source,
                                    const nlohmann::ordered_json& special_tokens);

  /// Renders OpenAI-style `messages`. `tools` is null or a list; `extra_kwargs` an object of
  /// further variables, which win over all others. Messages are first put into a form that the
  /// template understands: arguments between string and object, content parts joined with newlines,
  /// null content made "". All that comes from there is quoted in the result, save for the reply
  /// marks in what assistants said. Errors (kInvalidArgument) name the message or the template's
  /// line.
  Result<ChatPrompt> render(const nlohmann::ordered_json& messages,
                            const nlohmann::ordered_json& tools, bool add_generation_prompt,
                            const nlohmann::ordered_json& extra_kwargs,
                            const jinja::RenderOptions& options = {}) const;

  /// Finds out which control tokens are reply marks (reply_marks.h): without this, none are.
  /// `end_tokens`: those of turns.
  void learn_reply_marks(const Tokenizer& tokenizer, std::span<const TokenId> end_tokens);
  const ReplyMarks& reply_marks() const { return reply_marks_; }

  const ChatTemplateTraits& traits() const { return traits_; }

 private:
  ChatTemplate(std::string_view source, jinja::Template parsed,
               nlohmann::ordered_json special_tokens)
      : source_(source), template_(std::move(parsed)), special_tokens_(std::move(special_tokens)) {}

  nlohmann::ordered_json variables(const nlohmann::ordered_json& tools, bool add_generation_prompt,
                                   const nlohmann::ordered_json& extra_kwargs) const;
  void probe();

  std::string source_;
  jinja::Template template_;
  nlohmann::ordered_json special_tokens_;
  ChatTemplateTraits traits_;
  ReplyMarks reply_marks_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_TOKENIZER_CHAT_TEMPLATE_H_
