#include "server/json_body.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/units.h"

namespace flashmoe::server {
namespace {

/// How deep a request's JSON may be nested: parsers and templates are recursive.
constexpr std::size_t kDepthMax = 128;

/// Members of an object are found by looking through them: more would take time squared.
constexpr std::size_t kMembersMax = 10'000;

/// What nodes take beside their text: in a list that has just grown, in an object, and of a text or
/// container on the heap.
constexpr std::size_t kItemBytes = 2 * sizeof(Json);
constexpr std::size_t kMemberBytes = 2 * sizeof(Json::object_t::value_type);
constexpr std::size_t kHeapBytes = 48;

/// A payload is longer than what people write without a blank, and keeps enough of its beginning to
/// say what it is.
constexpr std::size_t kPayloadSizeMin = 4096;
constexpr std::size_t kPayloadKept = 64;

bool is_base64(std::string_view text) {
  return std::ranges::all_of(text, [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/' || c == '=' || c == '-' || c == '_' || c == '\n' || c == '\r';
  });
}

/// What a text takes when it is written as JSON again.
std::size_t written_size(std::string_view text) {
  std::size_t size = text.size();
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20) size += c == '\n' || c == '\t' || c == '\r' ? 1 : 5;
    if (c == '"' || c == '\\') ++size;
  }
  return size;
}

/// Builds the value as its parts come, and counts what it takes.
class BodyReader : public nlohmann::json_sax<Json> {
 public:
  explicit BodyReader(std::size_t memory_max) : memory_max_(memory_max) {}

  Json& value() { return root_; }
  const std::string& complaint() const { return complaint_; }
  bool is_too_large() const { return is_too_large_; }

  bool null() override { return add(nullptr, 0); }
  bool boolean(bool value) override { return add(value, 0); }
  bool number_integer(number_integer_t value) override { return add(value, 0); }
  bool number_unsigned(number_unsigned_t value) override { return add(value, 0); }
  bool number_float(number_float_t value, const string_t&) override { return add(value, 0); }
  bool binary(binary_t&) override { return fail("it has binary values"); }
  bool string(string_t& text) override {
    if (is_payload(text)) text.resize(kPayloadKept);
    const std::size_t size = kHeapBytes + written_size(text);
    // Checked before it is copied.
    if (used_ + size > memory_max_) return fail_as_too_large();
    return add(text, size);
  }

  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    Level& level = levels_.back();
    if (level.value->size() >= kMembersMax) {
      return fail(fmt::format("an object has more than {} members", kMembersMax));
    }
    level.key = name;
    return take(kMemberBytes + kHeapBytes + written_size(name));
  }
  bool parse_error(std::size_t, const std::string&,
                   const nlohmann::detail::exception& failure) override {
    return fail(failure.what());
  }

 private:
  /// An object or list that has not ended.
  struct Level {
    Json* value = nullptr;
    std::string key;             // of an object: the member that is being read
    bool is_ours_to_cut = true;  // no part of what a tool is called with, or takes
  };

  bool fail(std::string complaint) {
    if (complaint_.empty()) complaint_ = std::move(complaint);
    return false;
  }
  bool fail_as_too_large() {
    is_too_large_ = true;
    return fail("");
  }
  bool take(std::size_t size) {
    used_ += size;
    return used_ <= memory_max_ || fail_as_too_large();
  }

  bool add(Json value, std::size_t size) {
    return take(kItemBytes + size) && place(std::move(value)) != nullptr;
  }
  /// Where the value is now. Only the innermost container grows, so those around it stay in place.
  Json* place(Json value) {
    if (levels_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Level& level = levels_.back();
    if (level.value->is_array()) {
      level.value->push_back(std::move(value));
      return &level.value->back();
    }
    // Of members that come twice the last counts.
    Json& member = (*level.value)[level.key];
    member = std::move(value);
    return &member;
  }
  bool open(Json value) {
    if (levels_.size() >= kDepthMax) return fail("it is nested too deeply");
    if (!take(kItemBytes + kHeapBytes)) return false;
    bool is_ours_to_cut = levels_.empty() || levels_.back().is_ours_to_cut;
    if (value.is_object() && !levels_.empty()) {
      const std::string& key = levels_.back().key;
      if (key == "input" || key == "arguments" || key == "parameters" || key == "input_schema") {
        is_ours_to_cut = false;
      }
    }
    Json* const placed = place(std::move(value));
    levels_.push_back({.value = placed, .key = {}, .is_ours_to_cut = is_ours_to_cut});
    return true;
  }
  bool close() {
    levels_.pop_back();
    return true;
  }

  /// Anthropic's source.data, OpenAI's image_url (or its url), file_data and input_audio.data,
  /// Ollama's images.
  bool is_payload(std::string_view text) const {
    if (text.size() < kPayloadSizeMin || levels_.empty() || !levels_.back().is_ours_to_cut) {
      return false;
    }
    const std::string& key = levels_.back().key;
    const std::string around = levels_.size() > 1 ? levels_[levels_.size() - 2].key : "";
    if (levels_.back().value->is_array()) return around == "images" && is_base64(text);
    if (text.starts_with("data:")) {
      const std::size_t comma = text.substr(0, 256).find(',');
      return (key == "url" || key == "image_url" || key == "file_data") &&
             comma != std::string_view::npos && is_base64(text.substr(comma + 1));
    }
    const bool is_data = key == "data" && (around == "source" || around == "input_audio");
    return (is_data || key == "file_data") && is_base64(text);
  }

  const std::size_t memory_max_;
  std::size_t used_ = 0;
  Json root_;
  std::vector<Level> levels_;
  std::string complaint_;
  bool is_too_large_ = false;
};

}  // namespace

ApiResult<Json> parse_body(std::string_view body, std::size_t memory_max) {
  BodyReader reader(memory_max);
  const bool is_whole = Json::sax_parse(body, &reader);
  if (reader.is_too_large()) {
    return ApiError{.status = 400,
                    .message = fmt::format("the body takes more than the {} of memory that "
                                           "this server has for a request that is read; shorten "
                                           "it, or start the server with more --memory",
                                           format_size(memory_max)),
                    .code = kBodyTooLarge};
  }
  if (is_whole && reader.value().is_object()) return std::move(reader.value());
  return bad_request({}, "the body is not the JSON that is wanted here: " +
                             (is_whole ? "it must be an object" : reader.complaint()));
}

}  // namespace flashmoe::server
