#include "validation/prompts.h"

#include <array>

namespace flashmoe {

std::span<const ValidationPrompt> validation_prompts() {
  static const std::array<ValidationPrompt, 12> prompts = {{
      {.name = "English: relativity",
       .turns = {"General relativity describes gravity as the curvature of space and time. In "
                 "simple terms, this means that"},
       .script = Script::kLatin,
       .domain = "english",
       .origin_predictive = "1.2",
       .origin_async = "5.6",
       .origin_async_quality = "Coherent"},
      {.name = "English: First World War",
       .turns = {"The causes of the First World War are still debated by historians. The most "
                 "important of them were"},
       .script = Script::kLatin,
       .domain = "english",
       .origin_predictive = "1.6",
       .origin_async = "5.3",
       .origin_async_quality = "Coherent"},
      {.name = "Code: A* in Python",
       .turns = {"import heapq\n\n\ndef a_star(grid, start, goal):\n    \"\"\"Return the shortest "
                 "path from start to goal with the A* algorithm.\"\"\"\n    open_set = [(0, "
                 "start)]\n"},
       .script = Script::kLatin,
       .domain = "python",
       .origin_predictive = "1.8",
       .origin_async = "12.9",
       .origin_async_quality = "Coherent"},
      {.name = "Code: React chat",
       .turns = {"import React, { useState, useEffect } from 'react'\n\n// A chat window that "
                 "shows messages and sends new ones.\nexport function Chat({ socket, user }) {\n  "
                 "const [messages, setMessages] = useState([])\n"},
       .script = Script::kLatin,
       .domain = "web",
       .origin_predictive = "1.6",
       .origin_async = "2.2",
       .origin_async_quality = "Coherent"},
      {.name = "Code: hash map in Rust",
       .turns = {"use std::collections::hash_map::DefaultHasher;\nuse std::hash::{Hash, "
                 "Hasher};\n\n/// A hash map with open addressing.\npub struct HashMap<K, V> {\n  "
                 "  entries: Vec<Option<(K, V)>>,\n"},
       .script = Script::kLatin,
       .domain = "rust",
       .origin_predictive = "1.6",
       .origin_async = "3.6",
       .origin_async_quality = "Coherent"},
      {.name = "Math: primes",
       .turns = {"Theorem. There are infinitely many prime numbers.\nProof. Suppose that there are "
                 "only finitely many,"},
       .script = Script::kLatin,
       .domain = "math",
       .origin_predictive = "1.6",
       .origin_async = "5.0",
       .origin_async_quality = "Coherent"},
      {.name = "Chinese: quantum computing",
       .turns = {"量子计算是一种利用量子力学原理进行计算的方法。与传统计算机不同，"},
       .script = Script::kHan,
       .domain = "chinese",
       .origin_predictive = "2.1",
       .origin_async = "3.8",
       .origin_async_quality = "Coherent"},
      {.name = "Chinese: poem",
       .turns = {"《春日即事》\n春风"},
       .script = Script::kHan,
       .domain = "poetry_zh",
       .origin_predictive = "2.0",
       .origin_async = "5.8",
       .origin_async_quality = "Mixed"},
      {.name = "Japanese: AI",
       .turns = {"人工知能（AI）の未来は、私たちの生活を大きく変える可能性があります。"},
       .script = Script::kJapanese,
       .domain = "japanese",
       .origin_predictive = "2.2",
       .origin_async = "5.8",
       .origin_async_quality = "Mixed"},
      {.name = "Logic: river crossing",
       .turns = {"A farmer has to bring a wolf, a goat and a cabbage across a river. The boat "
                 "holds the farmer and one of them. Step 1:"},
       .script = Script::kLatin,
       .domain = "english",
       .origin_predictive = "2.3",
       .origin_async = "5.0",
       .origin_async_quality = "Degraded"},
      {.name = "Conversation: Python, Chinese, Rust",
       .turns = {"def fibonacci(n):\n    \"\"\"Return the n-th Fibonacci number.\"\"\"\n",
                 "\n\n用中文解释一下这段代码：", "\n\n// The same in Rust:\npub fn fibonacci("},
       .script = Script::kLatin,
       .domain = "rust",
       .origin_predictive = "5.5",
       .origin_async = "3.8",
       .origin_async_quality = "Mixed"},
      {.name = "Code and analysis: sorting",
       .turns = {"def merge_sort(items):\n    \"\"\"Sort items. Time complexity: O(n log n), since "
                 "\"\"\"\n    if len(items) < 2:\n"},
       .script = Script::kLatin,
       .domain = "python",
       .origin_predictive = "1.7",
       .origin_async = "crashed",
       .origin_async_quality = "OOM"},
  }};
  return prompts;
}

}  // namespace flashmoe
