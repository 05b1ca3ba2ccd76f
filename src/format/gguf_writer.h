#ifndef FLASHMOE_FORMAT_GGUF_WRITER_H_
#define FLASHMOE_FORMAT_GGUF_WRITER_H_

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
#include "tensor/ggml_type.h"

namespace flashmoe {

/// Metadata to be written, in the order added. A key is added once.
class GgufValues {
 public:
  void text(std::string_view key, std::string_view value);
  void u32(std::string_view key, std::uint32_t value);
  void f32(std::string_view key, float value);
  void boolean(std::string_view key, bool value);
  void texts(std::string_view key, std::span<const std::string> values);
  void u32s(std::string_view key, std::span<const std::uint32_t> values);
  void i32s(std::string_view key, std::span<const std::int32_t> values);
  void booleans(std::string_view key, const std::vector<bool>& values);

  std::uint64_t count() const { return count_; }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
  std::uint64_t count_ = 0;
};

/// Writes a GGUF file of version 3 (docs/formats.md) piece by piece. All tensors are declared
/// first; their data may then come in any order and pieces. There is no file until finish()
/// (partial_file.h). Move-only. Threads: write() may be called by several at a time, anything else
/// by one.
class GgufWriter {
 public:
  struct Tensor {
    std::string name;
    const GgmlType* type = nullptr;
    std::vector<std::uint64_t> shape;  // outermost dimension first; the last is whole blocks
  };

  /// Bytes of a tensor's data. Errors: kInvalidArgument if its shape overflows.
  static Result<std::uint64_t> data_size(const Tensor& tensor);

  /// What stands before the data, with the tensors in the order given, and in `size` the bytes of
  /// the whole file. Errors: kInvalidArgument if the tensors are no valid set.
  static Result<std::string> header(const GgufValues& values, std::span<const Tensor> tensors,
                                    std::uint64_t* size);

  /// Creates the file, with room for all of it. Errors: those of header() and of PartialFile.
  static Result<GgufWriter> create(const std::filesystem::path& path, const GgufValues& values,
                                   std::span<const Tensor> tensors);

  /// Writes bytes of the tensor `name` from byte `offset` of its data on. Every byte is to be
  /// written once. Errors: kIo.
  Status write(std::string_view name, std::uint64_t offset, std::span<const std::byte> bytes);

  /// Flushes to disk and gives the file its name. All tensors must be complete. Errors: kIo.
  Status finish();

 private:
  struct Slot {
    std::uint64_t offset = 0;  // in the file
    std::uint64_t size = 0;
    std::uint64_t written = 0;
  };
  using Slots = std::map<std::string, Slot, std::less<>>;

  GgufWriter(PartialFile file, Slots slots) : file_(std::move(file)), slots_(std::move(slots)) {}
  /// Where the data of `tensors` lies, behind a header of `header_size` bytes.
  static Result<Slots> place(std::span<const Tensor> tensors, std::uint64_t header_size,
                             std::uint64_t* end);

  PartialFile file_;
  Slots slots_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_GGUF_WRITER_H_
