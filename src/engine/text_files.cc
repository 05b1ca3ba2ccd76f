#include "engine/text_files.h"

#include <utility>

namespace flashmoe {

Result<TextFiles> load_text_files(ModelFiles& files) {
  const std::filesystem::path& folder = files.checkpoint().folder();
  TextFiles text;
  Result<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::load(folder);
  if (tokenizer.ok()) {
    text.tokenizer = std::move(tokenizer).value();
    for (const TokenId end : text.tokenizer->end_ids()) files.add_end_token(end);
  } else if (tokenizer.status().code() == StatusCode::kNotFound) {
    text.tokenizer_status = tokenizer.status();
  } else {
    return tokenizer.status();
  }
  Result<ChatTemplate> chat_template = ChatTemplate::load(folder);
  if (chat_template.ok()) {
    text.chat_template = std::move(chat_template).value();
  } else {
    text.chat_template_status = chat_template.status();
  }
  return text;
}

}  // namespace flashmoe
