#include "engine/dense_loader.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/page_warmer.h"
#include "format/weight_catalog.h"
#include "tensor/dtype.h"

namespace flashmoe {
namespace {

/// Matrices begin on a cache line.
constexpr std::uint64_t kPartAlignment = 64;

/// Reads are cut to this size, so that the device has several to work on and progress shows.
constexpr std::uint64_t kReadSize = std::uint64_t{4} << 20;

/// Reads handed to the queue at a time.
constexpr std::size_t kReadsInFlight = 32;

}  // namespace

std::uint64_t DenseLoader::place(const TensorRecord& tensor) {
  const std::uint64_t offset = size_;
  parts_.push_back({&tensor, offset});
  size_ += (tensor.size + kPartAlignment - 1) / kPartAlignment * kPartAlignment;
  return offset;
}

bool DenseLoader::has_matrix(const TensorRef& tensor) const {
  return has_weight(package_, tensor.name);
}

Status DenseLoader::matrix(const TensorRef& tensor, const MatrixShape& shape, WeightView* out) {
  FM_ASSIGN_OR_RETURN(const WeightRecord record,
                      find_weight(package_, tensor.name, shape.stack, shape.rows, shape.cols));
  *out = {.type = record.type, .rows = shape.stack * shape.rows, .cols = shape.cols};
  Matrix matrix{.out = out, .path = tensor.name, .planes = record.planes};
  for (std::size_t i = 0; i < record.type->plane_count; ++i) {
    const std::string name = fmt::format("{}{}", tensor.name, record.type->planes()[i].suffix);
    // One view is of all of the stack.
    if (record.type->planes()[i].is_shared && shape.stack > 1) {
      return error(
          StatusCode::kUnsupported,
          "{}: a stack of matrices that are no experts can have no scales of whole matrices; "
          "use another checkpoint",
          package_.place_of(name, *record.planes[i]));
    }
    matrix.offsets[i] = place(*record.planes[i]);
  }
  matrices_.push_back(matrix);
  return Status();
}

Result<const TensorRecord*> DenseLoader::find(const std::string& name) const {
  const TensorRecord* const tensor = package_.find(name);
  if (tensor != nullptr) return tensor;
  return error(StatusCode::kNotFound,
               "{}: tensor {} is not in the checkpoint; download the model again",
               package_.path().string(), name);
}

Status DenseLoader::vector(const TensorRef& wanted, std::span<const TensorShape> accepted_shapes,
                           std::vector<float>* out) {
  const std::string& name = wanted.name;
  FM_ASSIGN_OR_RETURN(const TensorRecord* const tensor, find(name));
  if (std::find(accepted_shapes.begin(), accepted_shapes.end(), tensor->shape) ==
      accepted_shapes.end()) {
    return error(StatusCode::kCorrupt, "{} has shape [{}] where {} implies [{}]",
                 package_.place_of(name, *tensor), fmt::join(tensor->shape, ", "),
                 package_.config_name(), fmt::join(accepted_shapes.front(), ", "));
  }
  if (!is_float(tensor->dtype)) {
    return error(StatusCode::kUnsupported, "{} has dtype {}; expected F32, BF16 or F16",
                 package_.place_of(name, *tensor), tensor->type_name());
  }
  vectors_.push_back({tensor, name, wanted.stored, out, place(*tensor)});
  widened_size_ += tensor->element_count() * sizeof(float);
  return Status();
}

Status DenseLoader::integers(const TensorRef& wanted, std::size_t count,
                             std::vector<std::int64_t>* out) {
  FM_ASSIGN_OR_RETURN(const TensorRecord* const tensor, find(wanted.name));
  if (tensor->shape != TensorShape{count}) {
    return error(StatusCode::kCorrupt, "{} has shape [{}] where {} implies [{}]",
                 package_.place_of(wanted.name, *tensor), fmt::join(tensor->shape, ", "),
                 package_.config_name(), count);
  }
  if (tensor->dtype != DType::kI64) {
    return error(StatusCode::kUnsupported, "{} has dtype {}; expected I64",
                 package_.place_of(wanted.name, *tensor), tensor->type_name());
  }
  integers_.push_back({out, count, place(*tensor)});
  widened_size_ += count * sizeof(std::int64_t);
  return Status();
}

Status DenseLoader::row_table(std::span<const TensorRef> parts, std::uint64_t rows,
                              std::size_t cols, std::size_t* index) {
  RowTable table = {.cols = cols};
  for (const TensorRef& part : parts) {
    FM_ASSIGN_OR_RETURN(const TensorRecord* const tensor, find(part.name));
    if (tensor->shape.size() != 2 || tensor->shape[0] == 0 || tensor->shape[1] != cols ||
        tensor->shape[0] > rows - table.rows) {
      return error(StatusCode::kCorrupt,
                   "{} has shape [{}] where {} implies rows of {}, of which all parts of the table "
                   "have {}; the model does not match it, download it again",
                   package_.place_of(part.name, *tensor), fmt::join(tensor->shape, ", "),
                   package_.config_name(), cols, rows);
    }
    if (table.parts.empty()) table.dtype = tensor->dtype;
    if (!is_float(tensor->dtype) || tensor->dtype != table.dtype) {
      return error(StatusCode::kUnsupported,
                   "{} has dtype {}; expected F32, BF16 or F16, the same in all parts of the table",
                   package_.place_of(part.name, *tensor), tensor->type_name());
    }
    table.parts.push_back(
        {.file_index = tensor->file_index, .offset = tensor->offset, .row_begin = table.rows});
    table.rows += tensor->shape[0];
  }
  if (table.rows != rows) {
    return error(
        StatusCode::kCorrupt,
        "{}: the {} parts of {} have {} rows where {} implies {}; download the model again",
        package_.path().string(), parts.size(), parts.front().name, table.rows,
        package_.config_name(), rows);
  }
  *index = tables_.size();
  tables_.push_back(std::move(table));
  return Status();
}

Status DenseLoader::read_parts(
    std::span<const File> files, ReadQueue& queue, AlignedBuffer& buffer,
    const std::function<void(std::uint64_t, std::uint64_t)>& on_progress) {
  std::sort(parts_.begin(), parts_.end(), [](const Part& a, const Part& b) {
    return std::pair(a.tensor->file_index, a.tensor->offset) <
           std::pair(b.tensor->file_index, b.tensor->offset);
  });
  std::vector<ReadRequest> requests;
  std::uint64_t total = 0;
  for (const Part& part : parts_) {
    for (std::uint64_t at = 0; at < part.tensor->size; at += kReadSize) {
      const std::uint64_t size = std::min(kReadSize, part.tensor->size - at);
      requests.push_back({.file = &files[part.tensor->file_index],
                          .offset = part.tensor->offset + at,
                          .destination = buffer.data() + part.buffer_offset + at,
                          .size = size,
                          .tag = size});
      total += size;
    }
  }

  std::array<ReadCompletion, kReadsInFlight> completions;
  std::uint64_t done = 0;
  std::size_t next = 0;
  Status failure;
  while (next < requests.size() || queue.in_flight_count() > 0) {
    if (failure.ok() && next < requests.size()) {
      const std::size_t count =
          std::min(requests.size() - next, kReadsInFlight - queue.in_flight_count());
      failure = queue.submit(std::span(requests).subspan(next, count));
      next += count;
    }
    const std::size_t finished = queue.poll(completions, /*wait=*/true);
    for (std::size_t i = 0; i < finished; ++i) {
      if (failure.ok()) failure = completions[i].status;
      done += completions[i].tag;
    }
    if (!failure.ok()) next = requests.size();
    if (on_progress && failure.ok()) on_progress(done, total);
  }
  return failure;
}

Result<AlignedBuffer> DenseLoader::load(
    std::span<const File> files, ReadQueue& queue,
    const std::function<void(std::uint64_t, std::uint64_t)>& on_progress) {
  FM_ASSIGN_OR_RETURN(AlignedBuffer buffer,
                      AlignedBuffer::allocate(std::max<std::uint64_t>(size_, 1)));
  PageWarmer warmer(buffer.bytes());
  warmer.want(buffer.size());
  FM_RETURN_IF_ERROR(read_parts(files, queue, buffer, on_progress).with_prefix("loading weights"));
  for (const Matrix& matrix : matrices_) {
    for (std::size_t i = 0; i < matrix.out->type->plane_count; ++i) {
      matrix.out->planes[i] = buffer.data() + matrix.offsets[i];
      const WeightPlane& plane = matrix.out->type->planes()[i];
      if (has_bad_scale(plane.code, {matrix.out->planes[i], matrix.planes[i]->size})) {
        return error(StatusCode::kCorrupt, "{} holds a scale that is NaN; download the model again",
                     package_.place_of(matrix.path + std::string(plane.suffix), *matrix.planes[i]));
      }
    }
  }
  for (const Vector& vector : vectors_) {
    vector.out->resize(vector.tensor->element_count());
    widen(vector.tensor->dtype, buffer.data() + vector.offset, *vector.out);
    const Status restored = restore(vector.stored, vector.tensor->shape, *vector.out);
    if (!restored.ok()) {
      return error(restored.code(), "{} {}; download the model again",
                   package_.place_of(vector.name, *vector.tensor), restored.message());
    }
  }
  for (const Integers& integers : integers_) {
    integers.out->resize(integers.count);
    std::memcpy(integers.out->data(), buffer.data() + integers.offset,
                integers.count * sizeof(std::int64_t));
  }
  return buffer;
}

}  // namespace flashmoe
