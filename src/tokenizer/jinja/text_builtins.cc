#include "tokenizer/jinja/text_builtins.h"

#include <string>

#include "tokenizer/jinja/printing.h"
#include "tokenizer/jinja/text.h"

namespace flashmoe::jinja {

Result<Value> replace_text(const MarkedText& whole, std::string_view from, const MarkedText& to,
                           std::int64_t count, Heap& heap) {
  const std::string_view text = whole.bytes();
  FM_RETURN_IF_ERROR(heap.spend_on_search(text, from));
  MarkedText out;
  std::size_t at = 0;
  for (; count != 0 && at <= text.size(); count -= count > 0 ? 1 : 0) {
    if (from.empty()) {  // between all characters, and at both ends
      out.append(to);
      if (at == text.size()) {
        ++at;
        break;
      }
      const std::size_t size = decode(text.substr(at)).size;
      out.append_part(whole, text.substr(at, size));
      at += size;
    } else {
      const std::size_t found = text.find(from, at);
      if (found == std::string_view::npos) break;
      out.append_part(whole, text.substr(at, found - at));
      out.append(to);
      at = found + from.size();
    }
    FM_RETURN_IF_ERROR(heap.spend_bytes(to.size()));
    FM_RETURN_IF_ERROR(heap.reserve(out.heap_bytes()));
  }
  if (at < text.size()) out.append_part(whole, text.substr(at));
  return heap.text(std::move(out));
}

Result<Value> join_text(const MarkedText& separator, const std::vector<Value>& items, Heap& heap) {
  MarkedText out;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out.append(separator);
    FM_RETURN_IF_ERROR(heap.spend_bytes(separator.size()));
    FM_RETURN_IF_ERROR(append_str(items[i], heap, out));
  }
  return heap.text(std::move(out));
}

Result<Value> pad_text(const MarkedText& text, std::int64_t width, Align align,
                       const MarkedText& fill, Heap& heap) {
  const auto length = static_cast<std::int64_t>(count_code_points(text.bytes()));
  if (width <= length) return heap.text(text);
  const auto missing = static_cast<std::size_t>(width - length);
  FM_RETURN_IF_ERROR(heap.reserve(missing));
  FM_RETURN_IF_ERROR(heap.spend_bytes(missing));
  // Python's str.center puts the odd space left only if the width is odd too.
  const std::size_t center =
      missing / 2 + (missing % 2 == 1 && width % 2 == 1 ? std::size_t{1} : std::size_t{0});
  const std::size_t left = align == Align::kLeft ? 0 : align == Align::kRight ? missing : center;
  const auto padding = [&fill](std::size_t size) {
    return std::string(size, fill.bytes().front());
  };
  MarkedText out;
  out.append(padding(left), fill.least_trusted());
  out.append(text);
  out.append(padding(missing - left), fill.least_trusted());
  return heap.text(std::move(out));
}

}  // namespace flashmoe::jinja
