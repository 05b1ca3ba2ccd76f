// Continues a prompt with a model, within a memory budget: embed MODEL PROMPT [BUDGET_BYTES]

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "flashmoe/engine.h"

namespace {

int fail(const flashmoe::Status& status) {
  std::fprintf(stderr, "embed: %s\n", status.message().c_str());
  return EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s MODEL PROMPT [BUDGET_BYTES]\n", argv[0]);
    return EXIT_FAILURE;
  }
  flashmoe::EngineOptions options;
  options.model = argv[1];
  if (argc > 3) options.memory_bytes = std::strtoull(argv[3], nullptr, 10);
  const auto engine = flashmoe::Engine::open(options);
  if (!engine.ok()) return fail(engine.status());

  const auto prompt = (*engine)->tokenize_raw(argv[2]);
  if (!prompt.ok()) return fail(prompt.status());

  const auto session = (*engine)->new_session();
  if (!session.ok()) return fail(session.status());

  flashmoe::GenerateOptions generate;
  generate.max_tokens = 40;
  generate.sampling = (*engine)->recommended_sampling();
  generate.on_text = [](std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
    return true;
  };
  const auto result = (*session)->generate(*prompt, generate);
  if (!result.ok()) return fail(result.status());
  std::printf("\n");

  const flashmoe::EngineStatistics statistics = (*engine)->statistics();
  std::fprintf(stderr, "%zu tokens; %llu of %llu routed experts were in memory\n",
               result->token_ids.size(), static_cast<unsigned long long>(statistics.expert_hits),
               static_cast<unsigned long long>(statistics.expert_hits + statistics.expert_misses));
  return EXIT_SUCCESS;
}
