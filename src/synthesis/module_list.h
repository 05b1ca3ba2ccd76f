#ifndef FLASHMOE_SYNTHESIS_MODULE_LIST_H_
#define FLASHMOE_SYNTHESIS_MODULE_LIST_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "format/safetensors_writer.h"
#include "model/model_spec.h"
#include "model/tensor_table.h"
#include "synthesis/random_fill.h"
#include "tensor/ggml_type.h"

namespace flashmoe {

/// One tensor to be written.
struct SyntheticTensor {
  SafetensorsWriter::Tensor tensor;
  std::uint64_t size = 0;  // bytes
  RandomFill fill;
  std::vector<std::byte> values = {};   // not empty: what it holds, in place of what is random
  const GgmlType* ggml_type = nullptr;  // of a GGUF file's tensor, in place of the dtype

  void set_values(std::span<const std::byte> bytes);
};

/// The tensors of one module: a matrix with its scales and biases, or one parameter.
struct SyntheticModule {
  std::string path;
  std::uint32_t bits = 0;          // 0: not quantised
  std::uint64_t weight_count = 0;  // unpacked
  std::vector<SyntheticTensor> tensors;

  std::uint64_t size() const;  // bytes of all tensors
};

inline constexpr std::uint32_t kGroupSize = 64;
inline constexpr std::uint32_t kBits = 4;
inline constexpr std::uint32_t kRouterBits = 8;

/// The modules of a model as an MLX 4-bit conversion has them. Asks the model what it needs, as the
/// loader does (Network::declare), and adds the routed experts, stacked, behind each router.
/// Errors: kInvalidArgument for sizes that overflow.
Result<std::vector<SyntheticModule>> list_modules(const TensorTable& names, const ModelSpec& spec);

}  // namespace flashmoe

#endif  // FLASHMOE_SYNTHESIS_MODULE_LIST_H_
