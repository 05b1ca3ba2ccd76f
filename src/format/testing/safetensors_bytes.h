#ifndef FLASHMOE_FORMAT_TESTING_SAFETENSORS_BYTES_H_
#define FLASHMOE_FORMAT_TESTING_SAFETENSORS_BYTES_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace flashmoe {

/// The bytes of a safetensors file with this header, right or wrong, and `data_size` zero bytes.
std::string safetensors_bytes(std::string_view header, std::size_t data_size);

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_TESTING_SAFETENSORS_BYTES_H_
