// Tiny random models in GGUF files, and one model in every type of blocks, against transformers on
// the weights read back from each file (the collection's golden/gguf).
#include <gtest/gtest.h>

#include <fstream>
#include <functional>

#include "base/testing/temporary_folder.h"
#include "flashmoe/inspection.h"
#include "format/gguf.h"
#include "format/model_package.h"
#include "format/testing/expect_failure.h"
#include "format/testing/gguf_bytes.h"
#include "support/collect.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

/// The same model in several files, the first without tensors.
std::filesystem::path split_file(const std::filesystem::path& path, const TemporaryFolder& folder,
                                 std::size_t parts) {
  const std::string bytes = read_bytes(path);
  const GgufHeader header =
      parse_gguf_header(std::as_bytes(std::span(bytes)), bytes.size(), "golden").value().value();
  std::vector<GgufBytes> files(parts);
  for (const auto& [key, value] : header.metadata.values()) files[0].value(key, value);
  for (std::size_t i = 0; i < header.tensors.size(); ++i) {
    const GgufTensor& tensor = header.tensors[i];
    files[1 + i % (parts - 1)].tensor(tensor.name, {tensor.shape.rbegin(), tensor.shape.rend()},
                                      tensor.type->id, bytes.substr(tensor.offset, tensor.size));
  }
  for (std::size_t i = 0; i < parts; ++i) {
    files[i].u32("split.no", static_cast<std::uint32_t>(i));
    files[i].u32("split.count", static_cast<std::uint32_t>(parts));
    files[i].u32("split.tensors.count", static_cast<std::uint32_t>(header.tensors.size()));
    folder.write(fmt::format("m-{:05}-of-{:05}.gguf", i + 1, parts), files[i].bytes());
  }
  return folder.path();
}

class GgufModels : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const auto golden = shared_path(fmt::format("golden/gguf/{}.golden.safetensors", GetParam()));
    const auto model = shared_path(fmt::format("golden/gguf/{}.gguf", GetParam()));
    if (!golden || !model) GTEST_SKIP() << GetParam() << " is not on this machine";
    golden_.emplace(*golden);
    model_ = *model;
  }

  std::unique_ptr<Engine> open(const std::filesystem::path& path, std::uint64_t memory_bytes,
                               std::size_t prefill_chunk) const {
    Result<std::unique_ptr<Engine>> engine =
        Engine::open({.model = path, .memory_bytes = memory_bytes, .prefill_chunk = prefill_chunk});
    EXPECT_TRUE(engine.ok()) << engine.status().message();
    return engine.ok() ? std::move(engine).value() : nullptr;
  }

  std::optional<GoldenFile> golden_;
  std::filesystem::path model_;
};

TEST_P(GgufModels, GiveTheLogitsAndIdsOfTheReference) {
  const auto engine = open(model_, std::uint64_t{1} << 30, 512);
  ASSERT_NE(engine, nullptr);
  const Result<Collected> got = collect(*engine, golden_->ints("input_ids"));
  ASSERT_TRUE(got.ok()) << got.status().message();
  EXPECT_LT(relative_rms(got->logits, golden_->floats("logits")), 1e-3);

  // Ids are the reference's up to where its own choice is close.
  std::vector<std::int32_t> expected = golden_->ints("greedy_ids");
  const std::vector<float> margins = golden_->floats("greedy_margin");
  const auto close = std::find_if(margins.begin(), margins.end(), [](float m) { return m < 1e-2; });
  expected.resize(static_cast<std::size_t>(close - margins.begin()));
  const std::unique_ptr<Session> session = std::move(engine->new_session()).value();
  const Result<GenerateResult> greedy = session->generate(
      golden_->ints("input_ids"), {.max_tokens = expected.size(), .ignore_eos = true});
  ASSERT_TRUE(greedy.ok()) << greedy.status().message();
  EXPECT_EQ(greedy->token_ids, expected);
}

TEST_P(GgufModels, GiveTheSameBitsAtTheSmallestBudget) {
  const Result<ModelInspection> inspection = inspect_model({.model = model_});
  ASSERT_TRUE(inspection.ok()) << inspection.status().message();
  EXPECT_EQ(inspection->layout, "gguf");
  for (const InspectedTensor& tensor : inspection->tensors) {
    EXPECT_NE(tensor.role, TensorRole::kUnused) << tensor.name;
  }
  const auto resident = open(model_, std::uint64_t{1} << 30, 512);
  const auto streamed = open(model_, inspection->minimum.budget_bytes_min + (1u << 20), 7);
  ASSERT_TRUE(resident != nullptr && streamed != nullptr);
  const Result<Collected> a = collect(*resident, golden_->ints("input_ids"));
  const Result<Collected> b = collect(*streamed, golden_->ints("input_ids"));
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_TRUE(std::ranges::equal(a->logits, b->logits));
}

TEST_P(GgufModels, GiveTheSameBitsFromSeveralParts) {
  TemporaryFolder folder;
  const auto parts = split_file(model_, folder, 3);
  const auto whole = open(model_, std::uint64_t{1} << 30, 512);
  const auto split = open(parts, std::uint64_t{1} << 30, 512);
  ASSERT_TRUE(whole != nullptr && split != nullptr);
  EXPECT_EQ(split->info().file_format, "gguf");
  std::uint64_t bytes = 0;
  for (const auto& part : std::filesystem::directory_iterator(parts)) bytes += part.file_size();
  EXPECT_EQ(split->info().file_bytes, bytes);
  const Result<Collected> a = collect(*whole, golden_->ints("input_ids"));
  const Result<Collected> b = collect(*split, golden_->ints("input_ids"));
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_TRUE(std::ranges::equal(a->logits, b->logits));
}

INSTANTIATE_TEST_SUITE_P(
    Golden, GgufModels,
    ::testing::Values("qwen3moe-bf16", "qwen3moe-q8_0", "qwen3next-q8_0", "qwen35moe-q8_0",
                      "llama-mixtral-q8_0", "olmoe-q8_0", "minimax-m2-q8_0", "glm4moe-q8_0",
                      "deepseek2-q8_0", "deepseek2-lite-q8_0", "deepseek2-glm-q8_0",
                      "gpt-oss-mxfp4", "gemma4-q8_0", "types-q4_0", "types-q4_1", "types-q5_0",
                      "types-q5_1", "types-q2_k", "types-q3_k", "types-q4_k", "types-q4_k_m",
                      "types-q5_k", "types-q6_k", "types-iq4_nl", "types-iq4_xs", "types-mxfp4"),
    [](const auto& info) {
      std::string name = info.param;
      for (char& c : name) c = c == '-' ? '_' : c;
      return name;
    });

/// A GGUF file with what `add` puts into it.
std::string copy_with(const std::filesystem::path& model,
                      const std::function<void(GgufBytes&)>& add) {
  const std::string bytes = read_bytes(model);
  const GgufHeader header =
      parse_gguf_header(std::as_bytes(std::span(bytes)), bytes.size(), "golden").value().value();
  GgufBytes file;
  for (const auto& [key, value] : header.metadata.values()) file.value(key, value);
  for (const GgufTensor& tensor : header.tensors) {
    file.tensor(tensor.name, {tensor.shape.rbegin(), tensor.shape.rend()}, tensor.type->id,
                bytes.substr(tensor.offset, tensor.size));
  }
  add(file);
  return file.bytes();
}

TEST(GgufFiles, RotateByTheDivisorsThatTheyHave) {
  const auto golden = shared_path("golden/gguf/llama-mixtral-q8_0.gguf");
  if (!golden) GTEST_SKIP() << "llama-mixtral-q8_0 is not on this machine";
  const TemporaryFolder folder;
  const auto pairs = ModelPackage::open(*golden)->config()["rotary_dim"].get<std::size_t>() / 2;
  const auto divided = [](float first, float others, std::size_t count) {
    std::vector<float> divisors(count, others);
    divisors.front() = first;
    return [=](GgufBytes& file) {
      file.tensor("rope_freqs.weight", {count}, find_ggml_type("F32")->id,
                  {reinterpret_cast<const char*>(divisors.data()), count * sizeof(float)});
    };
  };
  const auto logits_with = [&](const std::function<void(GgufBytes&)>& add) {
    const auto engine = Engine::open({.model = folder.write("scaled.gguf", copy_with(*golden, add)),
                                      .memory_bytes = std::uint64_t{1} << 30});
    EXPECT_TRUE(engine.ok()) << engine.status().message();
    const std::vector<std::int32_t> ids = {3, 14, 15, 9, 2, 6, 5, 35};
    return engine.ok() ? collect(**engine, ids).value().logits : std::vector<float>();
  };
  const std::vector<float> plain = logits_with([](GgufBytes&) {});
  EXPECT_EQ(logits_with(divided(1, 1, pairs)), plain);
  // All the same: what linear scaling does.
  const std::vector<float> linear = logits_with([](GgufBytes& file) {
    file.text("llama.rope.scaling.type", "linear").f32("llama.rope.scaling.factor", 8);
  });
  EXPECT_NE(linear, plain);
  EXPECT_EQ(logits_with(divided(8, 8, pairs)), linear);
  const std::vector<float> mixed = logits_with(divided(1, 8, pairs));
  EXPECT_NE(mixed, plain);
  EXPECT_NE(mixed, linear);

  const auto status_with = [&](const std::function<void(GgufBytes&)>& add) {
    return inspect_model({.model = folder.write("wrong.gguf", copy_with(*golden, add))}).status();
  };
  expect_failure(status_with(divided(1, 1, 2 * pairs)), StatusCode::kCorrupt,
                 {"wrong.gguf", "one for each rotary pair"});
  expect_failure(status_with(divided(1, 0, pairs)), StatusCode::kCorrupt,
                 {"wrong.gguf", "divisors[1]"});
}

TEST(GgufFiles, AreRefusedByTypeAndTensorWhereThereIsNoKernel) {
  const auto path = shared_path("golden/gguf/types-q4_k.gguf");
  if (!path) GTEST_SKIP() << "types-q4_k is not on this machine";
  const std::string bytes = read_bytes(*path);
  const GgufHeader header =
      parse_gguf_header(std::as_bytes(std::span(bytes)), bytes.size(), "golden").value().value();
  const GgmlType& other = *find_ggml_type("IQ2_XXS");
  GgufBytes file;
  for (const auto& [key, value] : header.metadata.values()) file.value(key, value);
  for (const GgufTensor& tensor : header.tensors) {
    const bool is_other = tensor.name == "blk.0.ffn_up_exps.weight";
    const std::uint64_t blocks = tensor.size / tensor.type->block_size;
    file.tensor(tensor.name, {tensor.shape.rbegin(), tensor.shape.rend()},
                is_other ? other.id : tensor.type->id,
                is_other ? std::string(blocks * other.block_size, '\0')
                         : bytes.substr(tensor.offset, tensor.size));
  }
  TemporaryFolder folder;
  const auto model = folder.write("other.gguf", file.bytes());
  expect_failure(
      inspect_model({.model = model}).status(), StatusCode::kUnsupported,
      {"other.gguf", "blk.0.ffn_up_exps.weight", "ggml type IQ2_XXS", "another quantisation"});
}

}  // namespace
}  // namespace flashmoe::testing
