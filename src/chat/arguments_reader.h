#ifndef FLASHMOE_CHAT_ARGUMENTS_READER_H_
#define FLASHMOE_CHAT_ARGUMENTS_READER_H_

#include <cstdint>
#include <string>

#include "chat/json_reader.h"
#include "chat/output_event.h"

namespace flashmoe {

/// Reads the arguments of a call as they come, to where their own form says that they end.
class ArgumentsReader {
 public:
  enum class Verdict : std::uint8_t { kMore, kComplete, kBroken };

  virtual ~ArgumentsReader() = default;

  /// Takes what it can from the front of `text`, of which the first byte is none of white space if
  /// none has come. Tells the arguments, and the end of the call where they end or go wrong.
  virtual Verdict read(std::string& text, OutputEvents& events) = 0;
  bool has_begun() const { return has_begun_; }

  /// Nothing has come, and nothing will: those of a call that takes none.
  static void tell_none(OutputEvents& events);
  static void tell_end(OutputEvents& events, bool is_complete);

 protected:
  static void tell(std::string json, OutputEvents& events);

  bool has_begun_ = false;
};

/// Arguments that are JSON: passed on word for word.
class JsonArguments : public ArgumentsReader {
 public:
  Verdict read(std::string& text, OutputEvents& events) override;

 private:
  JsonReader json_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_ARGUMENTS_READER_H_
