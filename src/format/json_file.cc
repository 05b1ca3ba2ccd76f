#include "format/json_file.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/model_download.h"
#include "base/units.h"
#include "format/printable.h"
#include "io/file.h"

namespace flashmoe {
namespace {

using nlohmann::json;

/// The number an object {"__float__": "Infinity"} stands for.
std::optional<double> non_finite_number(const json& object) {
  if (object.size() != 1) return std::nullopt;
  const auto field = object.find("__float__");
  if (field == object.end()) return std::nullopt;
  if (*field == "Infinity") return std::numeric_limits<double>::infinity();
  if (*field == "-Infinity") return -std::numeric_limits<double>::infinity();
  if (*field == "NaN") return std::numeric_limits<double>::quiet_NaN();
  return std::nullopt;
}

/// `text` with every bare NaN, Infinity and -Infinity outside strings as MLX writes it.
std::string with_numbers_as_objects(std::string_view text) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at + 1;
    std::string_view number;
    if (text[at] == '"') {
      while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
      end = std::min(end + 1, text.size());
    } else {
      for (const std::string_view name : {"NaN", "Infinity", "-Infinity"}) {
        if (text.substr(at).starts_with(name)) number = name;
      }
    }
    if (number.empty()) {
      result += text.substr(at, end - at);
    } else {
      result += fmt::format(R"({{"__float__":"{}"}})", number);
      end = at + number.size();
    }
    at = end;
  }
  return result;
}

bool has_bare_number(std::string_view text) {
  return text.find("NaN") != std::string_view::npos ||
         text.find("Infinity") != std::string_view::npos;
}

/// Whether only comments keep `text` from being JSON.
bool has_comments(std::string_view text) {
  return text.find('/') != std::string_view::npos &&
         json::accept(text.begin(), text.end(), /*ignore_comments=*/true);
}

/// Builds a json value from parser events; unlike the library's own builder it bounds the depth and
/// refuses an object that says a key twice.
class JsonBuilder : public nlohmann::json_sax<json> {
 public:
  explicit JsonBuilder(std::size_t depth_limit) : depth_limit_(depth_limit) {}

  json take() { return std::move(root_); }
  const std::string& complaint() const { return complaint_; }
  std::string_view remedy() const { return remedy_; }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return false; }  // never sent for text

  bool start_object(std::size_t) override { return open(json::object()); }
  bool end_object() override {
    json* object = open_.back();
    open_.pop_back();
    if (const auto number = non_finite_number(*object)) *object = *number;
    return true;
  }
  bool start_array(std::size_t) override { return open(json::array()); }
  bool end_array() override {
    open_.pop_back();
    return true;
  }

  bool key(string_t& name) override {
    if (open_.back()->contains(name)) {
      complaint_ = fmt::format("the key \"{}\" appears twice in one object", printable(name));
      remedy_ = "keep the one that is meant";
      return false;
    }
    key_ = std::move(name);
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const json::exception& exception) override {
    complaint_ = json_error_text(exception);
    return false;
  }

 private:
  bool add(json value) {
    place(std::move(value));
    return true;
  }

  bool open(json container) {
    if (open_.size() >= depth_limit_) {
      complaint_ = fmt::format("objects and lists are nested more than {} deep", depth_limit_);
      return false;
    }
    open_.push_back(place(std::move(container)));
    return true;
  }

  /// Puts `value` into the innermost open container. The pointer stays valid while it is open: only
  /// the innermost container grows.
  json* place(json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    json& container = *open_.back();
    if (container.is_array()) {
      container.push_back(std::move(value));
      return &container.back();
    }
    json& member = container[std::move(key_)];
    member = std::move(value);
    return &member;
  }

  std::size_t depth_limit_;
  json root_;
  std::vector<json*> open_;
  std::string key_;
  std::string complaint_;
  std::string_view remedy_ = "download the file again";
};

}  // namespace

Result<json> parse_json(std::string_view text, std::string_view file, const JsonLimits& limits) {
  if (text.size() > limits.size_bytes) {
    return error(StatusCode::kCorrupt, "{}: {}, more than the {} such a file may have", file,
                 format_size(text.size()), format_size(limits.size_bytes));
  }
  const std::string rewritten = has_bare_number(text) ? with_numbers_as_objects(text) : "";
  if (!rewritten.empty()) text = rewritten;
  JsonBuilder builder(limits.depth);
  if (!json::sax_parse(text.begin(), text.end(), &builder)) {
    return error(StatusCode::kCorrupt, "{}: not usable JSON: {}; {}", file, builder.complaint(),
                 has_comments(text) ? "JSON has no comments: remove them" : builder.remedy());
  }
  return builder.take();
}

Result<std::string> read_text_file(const std::filesystem::path& path,
                                   std::uint64_t size_limit_bytes) {
  FM_ASSIGN_OR_RETURN(const File file, File::open(path, File::Mode::kBuffered));
  if (file.size() > size_limit_bytes) {
    return error(StatusCode::kCorrupt, "{}: {}, more than the {} such a file may have",
                 path.string(), format_size(file.size()), format_size(size_limit_bytes));
  }
  std::string text(static_cast<std::size_t>(file.size()), '\0');
  FM_RETURN_IF_ERROR(file.read_at(0, std::as_writable_bytes(std::span(text))));
  return text;
}

Result<json> load_json_file(const std::filesystem::path& path, const JsonLimits& limits) {
  FM_RETURN_IF_ERROR(check_downloaded_text(path));
  FM_ASSIGN_OR_RETURN(const std::string text, read_text_file(path, limits.size_bytes));
  return parse_json(text, path.string(), limits);
}

std::string json_error_text(const json::exception& exception) {
  const std::string_view text = exception.what();
  const std::size_t end_of_code = text.find("] ");
  return printable(end_of_code == std::string_view::npos ? text : text.substr(end_of_code + 2));
}

}  // namespace flashmoe
