#ifndef FLASHMOE_ENGINE_TEXT_FILES_H_
#define FLASHMOE_ENGINE_TEXT_FILES_H_

#include <memory>
#include <optional>

#include "base/result.h"
#include "engine/model_files.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace flashmoe {

/// What makes text of ids. A model can do without: whoever asks for text then hears why.
struct TextFiles {
  std::unique_ptr<Tokenizer> tokenizer;  // null where the folder has none
  Status tokenizer_status;
  std::optional<ChatTemplate> chat_template;
  Status chat_template_status;  // kNotFound where the folder has none
};

/// Reads them from the model's folder, and counts what the tokenizer calls an end of text among the
/// model's end tokens. Errors: those of a tokenizer that is there and cannot be used.
Result<TextFiles> load_text_files(ModelFiles& files);

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_TEXT_FILES_H_
