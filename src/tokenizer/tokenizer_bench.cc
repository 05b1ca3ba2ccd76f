// Bytes of text per second on one core, by tokenizer and kind of text, and the time to load.
// Texts: the shipped model's held-out files; tokenizers: the shipped one and those of ../shared (or
// $FLASHMOE_SHARED). What is not there is left out. Texts above 256 KiB start with an empty piece
// cache every time (encode_workspace.h).
#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace flashmoe {
namespace {

namespace fs = std::filesystem;

fs::path shared_dir() {
  const char* from_environment = std::getenv("FLASHMOE_SHARED");
  return from_environment != nullptr ? fs::path(from_environment)
                                     : fs::path(FLASHMOE_SOURCE_DIR) / "../shared";
}

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::unique_ptr<Tokenizer> load_or_exit(const fs::path& folder) {
  auto tokenizer = Tokenizer::load(folder);
  if (!tokenizer.ok()) {
    std::fprintf(stderr, "%s\n", tokenizer.status().message().c_str());
    std::exit(1);
  }
  return std::move(tokenizer).value();
}

// Peak memory so far, of which the texts take 25 MB; meaningful when a filter leaves one load.
double peak_rss_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024;
}

void bench_load(benchmark::State& state, const fs::path& folder) {
  for (auto _ : state) benchmark::DoNotOptimize(load_or_exit(folder));
  state.counters["peak_rss_bytes"] = peak_rss_bytes();
}

void bench_encode(benchmark::State& state, const fs::path& folder, const std::string& text) {
  const auto tokenizer = load_or_exit(folder);
  std::size_t id_count = 0;
  for (auto _ : state) id_count = tokenizer->encode(text).value().size();
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
  state.counters["bytes_per_token"] =
      static_cast<double>(text.size()) / static_cast<double>(id_count);
}

void bench_decode(benchmark::State& state, const fs::path& folder, const std::string& text) {
  const auto tokenizer = load_or_exit(folder);
  const std::vector<TokenId> ids = tokenizer->encode(text).value();
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer->decode(ids).value());
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
}

void register_all() {
  const fs::path shared = shared_dir();
  std::string mix;
  std::vector<std::pair<std::string, std::string>> texts;
  for (const char* name : {"english", "chinese", "japanese", "python", "rust"}) {
    const std::string text =
        read_text(shared / "models/sprout-89m-4bit/valid" / (std::string(name) + ".txt"));
    if (text.empty()) continue;
    mix += text;
    texts.emplace_back(name, text);
  }
  if (!mix.empty()) texts.emplace_back("mix", mix);
  const std::pair<std::string, fs::path> tokenizers[] = {
      {"sprout", fs::path(FLASHMOE_SOURCE_DIR) / "models/sprout-89m-4bit"},
      {"qwen3", shared / "tokenizers/qwen3"},
      {"deepseek_v3", shared / "tokenizers/deepseek_v3"},
      {"gptoss", shared / "tokenizers/gptoss"}};
  for (const auto& [tokenizer, folder] : tokenizers) {
    if (!fs::exists(folder / "tokenizer.json")) continue;
    benchmark::RegisterBenchmark(("load/" + tokenizer).c_str(), bench_load, folder)
        ->Unit(benchmark::kMillisecond);
    for (const auto& [name, text] : texts) {
      benchmark::RegisterBenchmark(("encode/" + tokenizer + "/" + name).c_str(), bench_encode,
                                   folder, text)
          ->Unit(benchmark::kMillisecond);
    }
    if (!mix.empty()) {
      benchmark::RegisterBenchmark(("decode/" + tokenizer + "/mix").c_str(), bench_decode, folder,
                                   mix)
          ->Unit(benchmark::kMillisecond);
    }
  }
}

}  // namespace
}  // namespace flashmoe

int main(int argc, char** argv) {
  flashmoe::register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
