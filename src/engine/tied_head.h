#ifndef FLASHMOE_ENGINE_TIED_HEAD_H_
#define FLASHMOE_ENGINE_TIED_HEAD_H_

#include "base/result.h"
#include "format/checkpoint.h"
#include "model/tensor_table.h"

namespace flashmoe {

/// Whether the files hold an lm_head other than the embedding: in another format, or with other
/// bytes. Of two in one format it reads as much as they have in common, a few MiB at a time: all of
/// both where one is a copy, next to nothing where it is not. Errors: those of reading.
Result<bool> has_own_head(const Checkpoint& checkpoint, const TensorTable& names);

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_TIED_HEAD_H_
