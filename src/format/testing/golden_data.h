#ifndef FLASHMOE_FORMAT_TESTING_GOLDEN_DATA_H_
#define FLASHMOE_FORMAT_TESTING_GOLDEN_DATA_H_

#include <filesystem>
#include <optional>
#include <string_view>

namespace flashmoe {

/// The folder or file `name` of the golden data: in tests/golden/data, or in the larger collection
/// that FLASHMOE_SHARED names (default: the folder "shared" beside the repository), where a clone
/// has one. Nothing if neither has it: skip the test.
std::optional<std::filesystem::path> find_golden(std::string_view name);

/// The model that ships with the repository.
std::filesystem::path shipped_model();

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_TESTING_GOLDEN_DATA_H_
