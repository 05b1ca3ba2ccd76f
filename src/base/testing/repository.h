#ifndef FLASHMOE_BASE_TESTING_REPOSITORY_H_
#define FLASHMOE_BASE_TESTING_REPOSITORY_H_

#include <filesystem>

namespace flashmoe {

/// The folder of the sources that this build was made of. Only one generated file knows it, so that
/// what a test compiles to does not depend on where the clone lies: ccache serves every clone.
std::filesystem::path source_folder();
/// The program `flash-moe` of this build.
std::filesystem::path program_path();

}  // namespace flashmoe

#endif  // FLASHMOE_BASE_TESTING_REPOSITORY_H_
