#ifndef FLASHMOE_FORMAT_SAFETENSORS_WRITER_H_
#define FLASHMOE_FORMAT_SAFETENSORS_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "format/partial_file.h"
#include "tensor/dtype.h"

namespace flashmoe {

/// Writes a safetensors file piece by piece, so that logits larger than memory can be written row
/// by row. All tensors are declared first; their data may then come in any order and pieces. There
/// is no file until finish() (partial_file.h). Move-only.
/// Threads: write() may be called by several at a time, anything else by one.
class SafetensorsWriter {
 public:
  struct Tensor {
    std::string name;
    DType dtype = DType::kF32;
    std::vector<std::uint64_t> shape;
  };

  /// Where tensors lie in the file.
  enum class Order : std::uint8_t {
    kWideFirst,  // wider elements first, so that every tensor is aligned to its elements
    kAsGiven,    // as declared, so that what is read together can lie together
  };

  /// Creates the file, with room for all of it where the file system can promise that. An existing
  /// regular file at `path` stays until finish(). Errors: kInvalidArgument if `path` is something
  /// else or the tensors are no valid set; kIo, naming the remedy.
  static Result<SafetensorsWriter> create(const std::filesystem::path& path,
                                          const std::vector<Tensor>& tensors,
                                          const std::map<std::string, std::string>& metadata = {},
                                          Order order = Order::kWideFirst);

  /// Bytes of a tensor's data. Errors: kInvalidArgument if its shape overflows.
  static Result<std::uint64_t> data_size(const Tensor& tensor);

  /// Writes `values` to the tensor `name`, from its element `first_element` (counted row-major) on.
  /// T must have the size of the tensor's dtype, and the values must fit. Every element is to be
  /// written once. Errors: kIo.
  template <typename T>
  Status write(std::string_view name, std::uint64_t first_element, std::span<const T> values) {
    return write_bytes(name, sizeof(T), first_element, std::as_bytes(values));
  }

  /// Flushes to disk and gives the file its name. All tensors must be complete. Errors: kIo; the
  /// file is then removed.
  Status finish();

 private:
  struct Slot {
    std::uint64_t offset = 0;  // in the file
    std::uint64_t size = 0;
    std::uint64_t written = 0;
    std::size_t element_size = 0;
  };

  using Slots = std::map<std::string, Slot, std::less<>>;

  SafetensorsWriter(PartialFile file, Slots slots)
      : file_(std::move(file)), slots_(std::move(slots)) {}
  Status write_bytes(std::string_view name, std::size_t element_size, std::uint64_t first_element,
                     std::span<const std::byte> bytes);

  PartialFile file_;
  Slots slots_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_SAFETENSORS_WRITER_H_
