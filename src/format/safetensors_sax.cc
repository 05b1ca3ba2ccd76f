#include "format/safetensors_sax.h"

#include <limits>
#include <utility>

#include "format/json_file.h"
#include "format/printable.h"

namespace flashmoe::internal {
namespace {

constexpr std::size_t kRankMax = 16;
constexpr std::size_t kMetadataCountMax = 10'000;

/// What an event in the wrong place is compared with, in words.
constexpr std::string_view kHeaderForm = "an object of tensors by name";

}  // namespace

bool SafetensorsSax::fail(StatusCode code, std::string_view reason) {
  if (entry_.name.empty()) {
    failure_ = error(code, "{}: safetensors header: {}", file_, reason);
  } else {
    failure_ = error(code, "{}: tensor {}: {}", file_, printable(entry_.name), reason);
  }
  return false;
}

bool SafetensorsSax::unexpected(std::string_view found) {
  std::string_view field;
  std::string_view expected;
  switch (state_) {
    case State::kEntry:
      expected = "an object with dtype, shape and data_offsets";
      break;
    case State::kMetadata:
    case State::kMetadataValue:
      field = "__metadata__";
      expected = "an object of strings";
      break;
    case State::kDtype:
      field = "dtype";
      expected = "a string";
      break;
    case State::kShape:
    case State::kShapeList:
      field = "shape";
      expected = "a list of whole numbers";
      break;
    case State::kOffsets:
    case State::kOffsetsList:
      field = "data_offsets";
      expected = "a list of two whole numbers";
      break;
    case State::kStart:
    case State::kName:
    case State::kMetadataKey:
    case State::kField:
    case State::kEnd:
      expected = kHeaderForm;
      break;
  }
  if (field.empty()) {
    return fail(StatusCode::kCorrupt, fmt::format("found {} instead of {}", found, expected));
  }
  return fail(StatusCode::kCorrupt,
              fmt::format("field {}: found {} instead of {}", field, found, expected));
}

bool SafetensorsSax::number_unsigned(number_unsigned_t value) {
  if (state_ == State::kShapeList) {
    if (entry_.shape.size() == kRankMax) {
      return fail(StatusCode::kCorrupt,
                  fmt::format("field shape: more than {} dimensions", kRankMax));
    }
    entry_.shape.push_back(value);
    return true;
  }
  if (state_ == State::kOffsetsList) {
    if (offset_count_ == offsets_.size()) {
      return fail(StatusCode::kCorrupt, "field data_offsets: more than two numbers");
    }
    offsets_[offset_count_++] = value;
    return true;
  }
  return unexpected("a number");
}

bool SafetensorsSax::string(string_t& value) {
  if (state_ == State::kDtype) {
    const auto dtype = parse_dtype(value);
    if (!dtype) {
      return fail(StatusCode::kUnsupported,
                  fmt::format("field dtype: element type \"{}\" is not known to flash-moe; use a "
                              "checkpoint converted by mlx_lm.convert, or the original bf16 one",
                              printable(value)));
    }
    entry_.dtype = *dtype;
    state_ = State::kField;
    return true;
  }
  if (state_ == State::kMetadataValue) {
    if (!header_.metadata.emplace(metadata_key_, std::move(value)).second) {
      return fail(StatusCode::kCorrupt, fmt::format("field __metadata__: \"{}\" appears twice",
                                                    printable(metadata_key_)));
    }
    if (header_.metadata.size() > kMetadataCountMax) {
      return fail(StatusCode::kCorrupt,
                  fmt::format("field __metadata__: more than {} strings", kMetadataCountMax));
    }
    state_ = State::kMetadataKey;
    return true;
  }
  return unexpected("a string");
}

bool SafetensorsSax::null() {
  if (state_ != State::kMetadata) return unexpected("null");
  state_ = State::kName;  // MLX writes null where it was given no metadata
  return true;
}

bool SafetensorsSax::start_object(std::size_t) {
  switch (state_) {
    case State::kStart:
      state_ = State::kName;
      return true;
    case State::kEntry:
      state_ = State::kField;
      return true;
    case State::kMetadata:
      state_ = State::kMetadataKey;
      return true;
    default:
      return unexpected("an object");
  }
}

bool SafetensorsSax::begin_field(bool& seen, State state, std::string_view name) {
  if (seen) return fail(StatusCode::kCorrupt, fmt::format("field {} appears twice", name));
  seen = true;
  state_ = state;
  return true;
}

bool SafetensorsSax::key(string_t& name) {
  switch (state_) {
    case State::kName:
      if (name == "__metadata__") return begin_field(has_metadata_, State::kMetadata, name);
      if (name.empty()) return fail(StatusCode::kCorrupt, "a tensor has an empty name");
      entry_ = SafetensorsEntry();
      entry_.name = std::move(name);
      has_dtype_ = has_shape_ = has_offsets_ = false;
      offset_count_ = 0;
      state_ = State::kEntry;
      return true;
    case State::kMetadataKey:
      metadata_key_ = std::move(name);
      state_ = State::kMetadataValue;
      return true;
    case State::kField:
      if (name == "dtype") return begin_field(has_dtype_, State::kDtype, name);
      if (name == "shape") return begin_field(has_shape_, State::kShape, name);
      if (name == "data_offsets") return begin_field(has_offsets_, State::kOffsets, name);
      return fail(
          StatusCode::kCorrupt,
          fmt::format("field \"{}\" is none of dtype, shape, data_offsets", printable(name)));
    default:
      return unexpected("a key");
  }
}

bool SafetensorsSax::end_object() {
  switch (state_) {
    case State::kName:
      state_ = State::kEnd;
      return true;
    case State::kMetadataKey:
      state_ = State::kName;
      return true;
    case State::kField:
      return finish_entry();
    default:
      return unexpected("the end of an object");
  }
}

bool SafetensorsSax::start_array(std::size_t) {
  if (state_ == State::kShape) {
    state_ = State::kShapeList;
    return true;
  }
  if (state_ == State::kOffsets) {
    state_ = State::kOffsetsList;
    return true;
  }
  return unexpected("a list");
}

bool SafetensorsSax::end_array() {
  if (state_ == State::kOffsetsList && offset_count_ != offsets_.size()) {
    return fail(StatusCode::kCorrupt, "field data_offsets: fewer than two numbers");
  }
  state_ = State::kField;
  return true;
}

bool SafetensorsSax::parse_error(std::size_t, const std::string&,
                                 const nlohmann::json::exception& exception) {
  return fail(StatusCode::kCorrupt, json_error_text(exception));
}

bool SafetensorsSax::finish_entry() {
  if (!has_dtype_) return fail(StatusCode::kCorrupt, "field dtype is absent");
  if (!has_shape_) return fail(StatusCode::kCorrupt, "field shape is absent");
  if (!has_offsets_) return fail(StatusCode::kCorrupt, "field data_offsets is absent");

  const auto [begin, end] = offsets_;
  if (begin > end) {
    return fail(StatusCode::kCorrupt,
                fmt::format("field data_offsets: begins at {}, after its end at {}", begin, end));
  }
  std::uint64_t size = size_of(entry_.dtype);
  bool is_empty = false;
  for (const std::uint64_t dimension : entry_.shape) is_empty |= dimension == 0;
  for (const std::uint64_t dimension : entry_.shape) {
    if (is_empty) {
      size = 0;
    } else if (__builtin_mul_overflow(size, dimension, &size)) {
      return fail(StatusCode::kCorrupt, "field shape: the product of its dimensions overflows");
    }
  }
  if (size != end - begin) {
    return fail(StatusCode::kCorrupt,
                fmt::format("shape and dtype {} make {} bytes, but data_offsets span {}",
                            to_string(entry_.dtype), size, end - begin));
  }
  entry_.offset = begin;
  entry_.size = size;
  header_.tensors.push_back(std::move(entry_));
  entry_ = SafetensorsEntry();
  state_ = State::kName;
  return true;
}

}  // namespace flashmoe::internal
