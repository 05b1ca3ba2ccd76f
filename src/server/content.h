#ifndef FLASHMOE_SERVER_CONTENT_H_
#define FLASHMOE_SERVER_CONTENT_H_

#include <string>
#include <string_view>
#include <vector>

#include "server/fields.h"

namespace flashmoe::server {

/// What a request holds that a text model cannot read. A placeholder stands for it in the prompt: a
/// conversation that once had an image in it must be able to go on.
class Omissions {
 public:
  struct Entry {
    std::string where;  // the field, as "messages[3].content[0]"
    std::string kind;   // "image", "document", or the type that the request gives
  };

  /// Remembers the first of each kind, of which there are few: histories repeat themselves.
  void add(std::string where, std::string kind);
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
};

/// "[image omitted]" or "[file omitted: notes.pdf]", to stand for `block`, a JSON object of the
/// field `where` with a type.
std::string omit(const Json& block, const std::string& where, Omissions& omitted);

/// The text of a block of any dialect: its words, those of a search result or a document of text
/// with its title and source, or a placeholder. `where`: the block's field. Errors through
/// `fields`, of its field `name`: what is no object, or a text that is none.
std::string read_block(Fields& fields, std::string_view name, const Json& block,
                       const std::string& where, Omissions& omitted);

/// The text of a message's content: a text, null, or a list of blocks, a line or more for each.
std::string read_content(Fields& fields, std::string_view name, Omissions& omitted);

/// Appends `line` to `text`, in a line of its own.
void append_line(std::string& text, std::string_view line);

/// The content of a system message: as read_content(), but for the lines of billing and telemetry
/// that agents put in front of a block ("x-anthropic-billing-header: ..."). They say nothing to a
/// model, and change with each request: no prompt would begin like the one before.
std::string read_system_content(Fields& fields, std::string_view name, Omissions& omitted);

/// Adds the system message that a field of its own holds, unless that is telemetry alone.
void add_system_message(Fields& fields, std::string_view name, Json& messages, Omissions& omitted);

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_CONTENT_H_
