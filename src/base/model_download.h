#ifndef FLASHMOE_BASE_MODEL_DOWNLOAD_H_
#define FLASHMOE_BASE_MODEL_DOWNLOAD_H_

#include <filesystem>
#include <string>

#include "base/result.h"

namespace flashmoe {

// What downloads of models leave on a disk, whole or not. For every room that opens their files.

/// Whether `path` is a file as it was published; one that is not there is no error here. Errors:
/// kCorrupt, with the remedy, for the pointer that git leaves in its place without Git LFS, and for
/// a link into the hub's cache whose file is not there.
Status check_downloaded(const std::filesystem::path& path);

/// The same for a file of text (JSON, a chat template), of which also these are kCorrupt: an empty
/// one, a web page, and the hub's own answers to requests that failed, which tools save under the
/// file's name.
Status check_downloaded_text(const std::filesystem::path& path);

/// The folder with the model's files that a user means by `path`: itself, or the snapshot of a
/// repository in the hub's cache ("models--org--name" with its folders refs and snapshots): the one
/// that refs/main names, else the newest, unless another has more of a model, by the names of its
/// files; `remark` then says so. Also the folder "snapshots" in it will do, and a cache of one
/// model. Paths of other kinds are returned as they are. Errors: kNotFound where a cache has no
/// snapshot, or none with a file in it; kInvalidArgument where it has several models, which it
/// lists.
Result<std::filesystem::path> find_model_folder(const std::filesystem::path& path,
                                                std::string* remark = nullptr);

/// What people call the model at `path`: its folder's name, ORG/NAME in the hub's cache, or a GGUF
/// file's name, without the number of a part.
std::string model_name(const std::filesystem::path& path);

}  // namespace flashmoe

#endif  // FLASHMOE_BASE_MODEL_DOWNLOAD_H_
