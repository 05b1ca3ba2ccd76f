#include "engine/text_files.h"

#include <utility>

#include "format/embedded_tokenizer.h"

namespace flashmoe {

Result<TextFiles> load_text_files(ModelFiles& files) {
  const ModelPackage& package = files.package();
  const EmbeddedTokenizer* const embedded = package.embedded_tokenizer().get();
  TextFiles text;
  Result<std::unique_ptr<Tokenizer>> tokenizer =
      embedded != nullptr ? Tokenizer::load(*embedded) : Tokenizer::load(package.text_folder());
  if (tokenizer.ok()) {
    text.tokenizer = std::move(tokenizer).value();
    for (const TokenId end : text.tokenizer->end_ids()) files.add_end_token(end);
  } else if (tokenizer.status().code() == StatusCode::kNotFound) {
    text.tokenizer_status = tokenizer.status();
  } else {
    return tokenizer.status();
  }
  Result<ChatTemplate> chat_template = embedded != nullptr
                                           ? ChatTemplate::load(*embedded)
                                           : ChatTemplate::load(package.text_folder());
  if (chat_template.ok()) {
    text.chat_template = std::move(chat_template).value();
  } else {
    text.chat_template_status = chat_template.status();
  }
  return text;
}

}  // namespace flashmoe
