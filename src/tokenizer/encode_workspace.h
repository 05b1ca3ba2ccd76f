#ifndef FLASHMOE_TOKENIZER_ENCODE_WORKSPACE_H_
#define FLASHMOE_TOKENIZER_ENCODE_WORKSPACE_H_

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "flashmoe/chat_prompt.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe_model.h"
#include "tokenizer/piece_cache.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/split_pattern.h"

namespace flashmoe {

/// Everything one call of Tokenizer::encode writes to besides its result.
struct EncodeWorkspace {
  PatternScratch patterns;
  std::vector<AddedTokenFinder::Section> raw_sections;
  std::vector<AddedTokenFinder::Section> normalized_sections;
  std::string normalized;
  std::vector<TextSpan> quoted;  // of the section that is being normalised
  PieceList pieces;
  BpeScratch bpe;
  PieceCache cache;
};

/// Lends workspaces to concurrent calls. A call locks once, on its way in and out, and not per
/// piece as a cache shared between threads would; caches stay warm from call to call, which those
/// of threads that come and go would not. Thread-safe.
class EncodeWorkspacePool {
 public:
  std::unique_ptr<EncodeWorkspace> borrow() {
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        std::unique_ptr<EncodeWorkspace> workspace = std::move(idle_.back());
        idle_.pop_back();
        return workspace;
      }
    }
    return std::make_unique<EncodeWorkspace>();
  }

  /// `text_size`: of the text it was used for. Workspaces that have grown large are not kept.
  void give_back(std::unique_ptr<EncodeWorkspace> workspace, std::size_t text_size) {
    if (text_size > kKeptTextSizeMax) return;
    const std::lock_guard lock(mutex_);
    if (idle_.size() < kIdleMax) idle_.push_back(std::move(workspace));
  }

 private:
  // What may stay allocated: 4 × (1 MiB of cache + some 20 bytes per byte of text).
  static constexpr std::size_t kIdleMax = 4;
  static constexpr std::size_t kKeptTextSizeMax = 256 << 10;

  std::mutex mutex_;
  std::vector<std::unique_ptr<EncodeWorkspace>> idle_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_TOKENIZER_ENCODE_WORKSPACE_H_
