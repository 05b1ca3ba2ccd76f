#ifndef FLASHMOE_FORMAT_GGUF_CONFIG_WRITER_H_
#define FLASHMOE_FORMAT_GGUF_CONFIG_WRITER_H_

#include <nlohmann/json.hpp>
#include <string_view>

#include "base/result.h"
#include "format/gguf_writer.h"

namespace flashmoe {

/// Errors: kUnsupported for a model_type that no architecture here is for, naming those that have
/// one.
Status check_gguf_holds(std::string_view model_type);

/// Adds what `config` says as GGUF's metadata: what read_gguf_config() reads back. `config` is in
/// the words that this gives, and whole: the words of a model that was read, not those of any
/// config.json. Its model_type must be one that check_gguf_holds().
void write_gguf_config(const nlohmann::json& config, GgufValues& values);

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_GGUF_CONFIG_WRITER_H_
