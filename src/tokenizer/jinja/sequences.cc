// The parts of operations.h that look inside strings, lists and dicts.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "tokenizer/jinja/operations.h"
#include "tokenizer/jinja/text.h"

namespace flashmoe::jinja {
namespace {

// Bytes that a string of one character occupies on the heap, for reserve().
constexpr std::size_t kCharacterValueBytes = 128;

// The indices that Python's slice.indices(length) would visit.
struct SliceRange {
  std::int64_t start = 0;
  std::int64_t step = 1;
  std::size_t count = 0;
};

Result<std::optional<std::int64_t>> bound(const Value& value) {
  if (value.is_none()) return std::optional<std::int64_t>();
  if (const auto integer = value.to_integer()) return integer;
  return wrong_type("slice bounds must be ints or none", value);
}

Result<SliceRange> slice_range(const Value& start, const Value& stop, const Value& step,
                               std::int64_t length) {
  FM_ASSIGN_OR_RETURN(const auto step_value, bound(step));
  FM_ASSIGN_OR_RETURN(const auto start_value, bound(start));
  FM_ASSIGN_OR_RETURN(const auto stop_value, bound(stop));
  // Steps beyond the length visit one item at most; clamped, no arithmetic below can overflow.
  const std::int64_t by =
      std::clamp<std::int64_t>(step_value.value_or(1), -(length + 1), length + 1);
  if (by == 0) return fail("slice step cannot be zero");
  const std::int64_t lower = by < 0 ? -1 : 0;
  const std::int64_t upper = by < 0 ? length - 1 : length;
  const auto clamp = [&](std::optional<std::int64_t> at, std::int64_t fallback) {
    if (!at) return fallback;
    const std::int64_t limited = std::clamp<std::int64_t>(*at, -length - 1, length + 1);
    return std::clamp(limited < 0 ? limited + length : limited, lower, upper);
  };
  const std::int64_t first = clamp(start_value, by < 0 ? upper : lower);
  const std::int64_t end = clamp(stop_value, by < 0 ? lower : upper);
  const std::int64_t span = by > 0 ? end - first : first - end;
  const std::int64_t stride = by > 0 ? by : -by;
  const std::int64_t count = span <= 0 ? 0 : (span - 1) / stride + 1;
  return SliceRange{first, by, static_cast<std::size_t>(count)};
}

Result<Value> slice_text(const MarkedText& whole, const Value& start, const Value& stop,
                         const Value& step, Heap& heap) {
  const std::string& text = whole.bytes();
  FM_RETURN_IF_ERROR(heap.spend_bytes(text.size()));
  const std::size_t length = count_code_points(text);
  FM_ASSIGN_OR_RETURN(const SliceRange range,
                      slice_range(start, stop, step, static_cast<std::int64_t>(length)));
  if (range.step == 1) {
    const std::size_t begin = offset_of(text, static_cast<std::size_t>(range.start));
    const std::string_view tail = std::string_view(text).substr(begin);
    return heap.part_of(whole, tail.substr(0, offset_of(tail, range.count)));
  }
  FM_RETURN_IF_ERROR(heap.reserve(length * sizeof(std::string_view)));
  std::vector<std::string_view> characters;
  characters.reserve(length);
  for (std::string_view rest = text; !rest.empty();) {
    characters.push_back(rest.substr(0, decode(rest).size));
    rest.remove_prefix(characters.back().size());
  }
  MarkedText out;
  std::int64_t at = range.start;
  for (std::size_t i = 0; i < range.count; ++i, at += range.step) {
    out.append_part(whole, characters[static_cast<std::size_t>(at)]);
  }
  return heap.text(std::move(out));
}

// The item at `index`, which may count from the end; null when outside.
std::optional<std::size_t> item_index(std::int64_t index, std::size_t size) {
  const auto length = static_cast<std::int64_t>(size);
  if (index < -length || index >= length) return std::nullopt;
  return static_cast<std::size_t>(index < 0 ? index + length : index);
}

}  // namespace

Result<std::vector<Value>> items_of(const Value& value, Heap& heap) {
  std::vector<Value> items;
  if (value.is_undefined()) return items;
  if (value.list() != nullptr) {
    FM_RETURN_IF_ERROR(heap.spend_bytes(value.list()->items.size() * sizeof(Value)));
    return value.list()->items;
  }
  if (value.dict() != nullptr) {
    FM_RETURN_IF_ERROR(heap.spend_bytes(value.dict()->entries.size() * sizeof(Value)));
    for (const auto& entry : value.dict()->entries) items.push_back(entry.first);
    return items;
  }
  if (!value.is_text()) return fail("{} is not iterable", value.type_name());
  FM_RETURN_IF_ERROR(heap.reserve(value.as_text().size() * kCharacterValueBytes));
  FM_RETURN_IF_ERROR(heap.spend(value.as_text().size()));
  for (std::string_view rest = value.as_text(); !rest.empty();) {
    const std::size_t size = decode(rest).size;
    items.push_back(heap.part_of(value.marked_text(), rest.substr(0, size)));
    rest.remove_prefix(size);
  }
  return items;
}

Result<Value> subscript(const Value& object, const Value& key, Heap& heap) {
  if (object.is_undefined()) return wrong_type("", object);
  const auto absent = [&key] {
    return key.is_text() ? Value::undefined(key.shared_text()) : Value();
  };
  if (object.dict() != nullptr) {
    FM_RETURN_IF_ERROR(heap.spend_on_key(key));
    const Value* found = object.dict()->find(key);
    return found == nullptr ? absent() : *found;
  }
  const auto index = key.to_integer();
  if (!index) return absent();
  if (object.list() != nullptr) {
    const auto at = item_index(*index, object.list()->items.size());
    return at ? object.list()->items[*at] : absent();
  }
  if (object.is_text()) {
    const std::string& text = object.as_text();
    FM_RETURN_IF_ERROR(heap.spend_bytes(text.size()));
    const auto at = item_index(*index, count_code_points(text));
    if (!at) return absent();
    const std::string_view tail = std::string_view(text).substr(offset_of(text, *at));
    return heap.part_of(object.marked_text(), tail.substr(0, decode(tail).size));
  }
  return absent();
}

Result<Value> slice(const Value& object, const Value& start, const Value& stop, const Value& step,
                    Heap& heap) {
  if (object.is_text()) return slice_text(object.marked_text(), start, stop, step, heap);
  if (object.list() == nullptr) return wrong_type("only a str or list can be sliced", object);
  const List& list = *object.list();
  FM_RETURN_IF_ERROR(heap.spend_bytes(list.items.size() * sizeof(Value)));
  FM_ASSIGN_OR_RETURN(const SliceRange range,
                      slice_range(start, stop, step, static_cast<std::int64_t>(list.items.size())));
  std::vector<Value> items;
  items.reserve(range.count);
  std::int64_t at = range.start;
  for (std::size_t i = 0; i < range.count; ++i, at += range.step) {
    items.push_back(list.items[static_cast<std::size_t>(at)]);
  }
  return heap.list(std::move(items), list.is_tuple);
}

}  // namespace flashmoe::jinja
