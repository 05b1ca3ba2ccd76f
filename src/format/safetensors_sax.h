#ifndef FLASHMOE_FORMAT_SAFETENSORS_SAX_H_
#define FLASHMOE_FORMAT_SAFETENSORS_SAX_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"
#include "format/safetensors.h"

namespace flashmoe::internal {

/// Receives the JSON of a safetensors header event by event, so that a header of 74,391 names never
/// becomes a tree. Checks the form of each entry and its size; its place in the file, and what
/// entries have to do with each other, are left to parse_safetensors_header. An entry's offset is
/// relative to the data section here.
class SafetensorsSax : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit SafetensorsSax(std::string_view file) : file_(file) {}

  SafetensorsHeader& header() { return header_; }
  /// Why the last event was refused.
  const Status& failure() const { return failure_; }

  bool null() override;
  bool boolean(bool) override { return unexpected("true or false"); }
  bool number_integer(number_integer_t) override { return unexpected("a negative number"); }
  bool number_unsigned(number_unsigned_t value) override;
  bool number_float(number_float_t, const string_t&) override {
    return unexpected("a number that is not whole or too large");
  }
  bool string(string_t& value) override;
  bool binary(binary_t&) override { return unexpected("binary data"); }
  bool start_object(std::size_t) override;
  bool key(string_t& name) override;
  bool end_object() override;
  bool start_array(std::size_t) override;
  bool end_array() override;
  bool parse_error(std::size_t, const std::string&,
                   const nlohmann::json::exception& exception) override;

 private:
  /// Where in the header the next event belongs.
  enum class State : std::uint8_t {
    kStart,          // before the outer brace
    kName,           // between entries
    kEntry,          // the value of a tensor's name
    kMetadata,       // the value of __metadata__
    kMetadataKey,    // inside it
    kMetadataValue,  // after one of its keys
    kField,          // inside a tensor's object
    kDtype,          // after "dtype"
    kShape,          // after "shape"
    kShapeList,      // inside its list
    kOffsets,        // after "data_offsets"
    kOffsetsList,    // inside its list
    kEnd,
  };

  bool unexpected(std::string_view found);
  bool fail(StatusCode code, std::string_view reason);
  bool begin_field(bool& seen, State state, std::string_view name);
  bool finish_entry();

  std::string_view file_;
  SafetensorsHeader header_;
  Status failure_;
  State state_ = State::kStart;
  bool has_metadata_ = false;
  std::string metadata_key_;

  SafetensorsEntry entry_;  // the one being read, and what has been seen of it:
  bool has_dtype_ = false;
  bool has_shape_ = false;
  bool has_offsets_ = false;
  std::array<std::uint64_t, 2> offsets_ = {};
  std::size_t offset_count_ = 0;
};

}  // namespace flashmoe::internal

#endif  // FLASHMOE_FORMAT_SAFETENSORS_SAX_H_
