#ifndef FLASHMOE_TOKENIZER_JINJA_MARKED_TEXT_H_
#define FLASHMOE_TOKENIZER_JINJA_MARKED_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace flashmoe::jinja {

/// Who wrote a text, the most trusted first.
enum class Origin : std::uint8_t {
  kTemplate,  // the template, or the checkpoint's own files
  kReply,     // the model, in an earlier turn
  kOutside,   // whoever else: users, tools, the client
};

/// A string that knows who wrote which of its bytes, through all that a template does to it. A text
/// of one origin, as most are, costs no more than its bytes.
class MarkedText {
 public:
  /// A stretch of one origin; it begins where the one before it ends.
  struct Run {
    std::size_t end = 0;
    Origin origin = Origin::kTemplate;
    bool operator==(const Run&) const = default;
  };

  MarkedText() = default;
  MarkedText(std::string bytes, Origin origin) : bytes_(std::move(bytes)), origin_(origin) {}

  const std::string& bytes() const { return bytes_; }
  std::string take_bytes() && { return std::move(bytes_); }
  std::size_t size() const { return bytes_.size(); }
  /// Memory beside the object itself.
  std::size_t heap_bytes() const { return bytes_.size() + runs_.size() * sizeof(Run); }

  /// The stretches that the text consists of, none of them empty; none for an empty text.
  std::vector<Run> runs() const;
  /// The least trusted origin of any byte.
  Origin least_trusted() const;

  void append(std::string_view bytes, Origin origin);
  void append(const MarkedText& text) { append_part(text, text.bytes_); }
  /// `part` lies in `whole.bytes()`.
  void append_part(const MarkedText& whole, std::string_view part);
  /// Punctuation between what was said: it counts as what stands before it, so that a printed
  /// structure is one run.
  void append_joint(std::string_view bytes) { append(bytes, last_origin()); }
  void reserve(std::size_t bytes) { bytes_.reserve(bytes); }

  /// Calls use(begin, end, origin) for the stretches of bytes [begin, end), in order.
  template <typename Use>
  void for_each_run(std::size_t begin, std::size_t end, Use use) const {
    for (std::size_t i = run_at(begin); begin < end; ++i) {
      const std::size_t run_end = runs_.empty() || runs_[i].end > end ? end : runs_[i].end;
      use(begin, run_end, runs_.empty() ? origin_ : runs_[i].origin);
      begin = run_end;
    }
  }

 private:
  std::size_t run_at(std::size_t offset) const;
  Origin last_origin() const { return runs_.empty() ? origin_ : runs_.back().origin; }

  std::string bytes_;
  Origin origin_ = Origin::kTemplate;  // of all bytes, where runs_ is empty
  std::vector<Run> runs_;              // else at least two
};

}  // namespace flashmoe::jinja

#endif  // FLASHMOE_TOKENIZER_JINJA_MARKED_TEXT_H_
