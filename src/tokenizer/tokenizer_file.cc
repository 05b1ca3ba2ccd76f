#include "tokenizer/tokenizer_file.h"

#include <istream>
#include <limits>
#include <utility>

#include "base/check.h"

namespace flashmoe {
namespace {

using nlohmann::json;

constexpr std::size_t kDepthMax = 32;
// Spans count in 32 bits; the largest real file is 33 MB.
constexpr std::size_t kTextSizeMax = std::size_t{1} << 30;

// Receives the events of nlohmann's parser, which itself never recurses. model.vocab and
// model.merges go into spans, the rest into a document. Returning false stops the parser.
class FileBuilder {
 public:
  explicit FileBuilder(TokenizerFile& file) : file_(file) {}

  const std::string& failure() const { return failure_; }

  bool null() { return add(json()); }
  bool boolean(bool value) { return add(json(value)); }
  bool number_float(double value, const std::string&) { return add(json(value)); }
  bool number_integer(std::int64_t value) { return add_integer(value, json(value)); }
  bool number_unsigned(std::uint64_t value) {
    const bool fits = value <= std::uint64_t{std::numeric_limits<std::int64_t>::max()};
    // An id this large is refused with all the others out of range.
    return add_integer(fits ? static_cast<std::int64_t>(value) : -1, json(value));
  }
  bool binary(json::binary_t&) { return fail("binary values are no JSON"); }

  bool string(std::string& value) {
    if (section_ != Section::kMerges) return add(json(std::move(value)));
    if (depth_ == kMergesDepth) {  // "left right"
      const std::size_t space = value.find(' ');
      if (space == std::string::npos || value.find(' ', space + 1) != std::string::npos) {
        return fail_merge("is not two tokens with one space between them");
      }
      return add_merge(std::string_view(value).substr(0, space),
                       std::string_view(value).substr(space + 1));
    }
    if (merge_parts_.size() == 2) return fail_merge("has more than two tokens");
    merge_parts_.push_back(std::move(value));
    return true;
  }

  bool start_object(std::size_t) {
    if (section_ != Section::kNone) return add(json::object());
    if (depth_ == 2 && path_is("model", "vocab")) {
      return start_section(Section::kVocab, has_vocab_);
    }
    return start_container(json::object());
  }
  bool end_object() { return end_container(); }

  bool start_array(std::size_t) {
    if (section_ == Section::kMerges && depth_ == kMergesDepth) {
      ++depth_;
      return true;
    }
    if (section_ != Section::kNone) return add(json::array());
    if (depth_ == 2 && path_is("model", "merges")) {
      return start_section(Section::kMerges, file_.has_merges);
    }
    return start_container(json::array());
  }
  bool end_array() {
    if (section_ == Section::kMerges && depth_ > kMergesDepth) {
      --depth_;
      if (merge_parts_.size() != 2) return fail_merge("has fewer than two tokens");
      const bool added = add_merge(merge_parts_[0], merge_parts_[1]);
      merge_parts_.clear();
      return added;
    }
    return end_container();
  }

  bool key(std::string& name) {
    if (section_ == Section::kNone) {
      if (depth_ == 1) top_key_ = name;
      if (depth_ == 2) second_key_ = name;
    }
    key_ = std::move(name);
    return true;
  }

  bool parse_error(std::size_t offset, const std::string& /*token*/, const json::exception& e) {
    // nlohmann's text ends with what it read last, which may be long.
    return fail(fmt::format("is not valid JSON at byte {}: {}", offset,
                            std::string_view(e.what()).substr(0, 300)));
  }

 private:
  enum class Section : std::uint8_t { kNone, kVocab, kMerges };
  static constexpr std::size_t kMergesDepth = 3;

  bool path_is(std::string_view top, std::string_view second) const {
    return top_key_ == top && second_key_ == second && open_.size() == 2 && open_[1]->is_object();
  }

  bool fail(std::string message) {
    failure_ = std::move(message);
    return false;
  }
  bool fail_merge(std::string_view what) {
    return fail(fmt::format("model.merges[{}] {}", file_.merges.size(), what));
  }

  bool start_section(Section section, bool& seen) {
    if (seen) return fail(fmt::format("model.{} appears twice", second_key_));
    seen = true;
    section_ = section;
    ++depth_;
    return true;
  }

  bool start_container(json container) {
    if (++depth_ > kDepthMax) {
      return fail(fmt::format("nests deeper than {} levels", kDepthMax));
    }
    open_.push_back(place(std::move(container)));
    return true;
  }

  bool end_container() {
    --depth_;
    if (section_ != Section::kNone) {
      section_ = Section::kNone;
    } else {
      open_.pop_back();
    }
    return true;
  }

  bool add_integer(std::int64_t value, json as_json) {
    if (section_ != Section::kVocab) return add(std::move(as_json));
    if (file_.vocab_text.size() + key_.size() > kTextSizeMax)
      return fail("model.vocab is too long");
    file_.vocab.push_back({.begin = static_cast<std::uint32_t>(file_.vocab_text.size()),
                           .size = static_cast<std::uint32_t>(key_.size()),
                           .id = value});
    file_.vocab_text += key_;
    return true;
  }

  bool add_merge(std::string_view left, std::string_view right) {
    if (file_.merge_text.size() + left.size() + right.size() > kTextSizeMax) {
      return fail("model.merges is too long");
    }
    file_.merges.push_back({.begin = static_cast<std::uint32_t>(file_.merge_text.size()),
                            .left_size = static_cast<std::uint32_t>(left.size()),
                            .right_size = static_cast<std::uint32_t>(right.size())});
    file_.merge_text += left;
    file_.merge_text += right;
    return true;
  }

  // A scalar, or the beginning of a container where none belongs.
  bool add(json value) {
    if (section_ == Section::kVocab) {
      return fail(fmt::format("model.vocab: the id of {} is a JSON {}; expected an integer",
                              json(key_).dump().substr(0, 100), value.type_name()));
    }
    if (section_ == Section::kMerges) {
      return fail_merge(fmt::format(
          "is a JSON {}; expected \"left right\" or [\"left\", \"right\"]", value.type_name()));
    }
    place(std::move(value));
    return true;
  }

  // Puts `value` where the document continues.
  json* place(json value) {
    if (open_.empty()) {
      file_.document = std::move(value);
      return &file_.document;
    }
    json& parent = *open_.back();
    if (parent.is_array()) return &parent.emplace_back(std::move(value));
    return &(parent[key_] = std::move(value));
  }

  TokenizerFile& file_;
  std::vector<json*> open_;  // containers of the document that have begun and not ended
  std::size_t depth_ = 0;
  Section section_ = Section::kNone;
  bool has_vocab_ = false;
  std::string key_;         // the last one read
  std::string top_key_;     // the last one of the document
  std::string second_key_;  // the last one of an object in the document
  std::vector<std::string> merge_parts_;
  std::string failure_;
};

template <typename Input>
Result<TokenizerFile> parse_input(Input&& input) {
  TokenizerFile file;
  FileBuilder builder(file);
  if (!json::sax_parse(std::forward<Input>(input), &builder)) {
    return Status(StatusCode::kCorrupt, builder.failure());
  }
  if (!file.document.is_object()) {
    return Status(StatusCode::kCorrupt, "is not a JSON object");
  }
  return file;
}

}  // namespace

Result<TokenizerFile> TokenizerFile::parse(std::istream& json) { return parse_input(json); }

Result<TokenizerFile> TokenizerFile::parse(std::string_view json) { return parse_input(json); }

}  // namespace flashmoe
