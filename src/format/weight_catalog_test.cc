#include "format/weight_catalog.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/testing/temporary_folder.h"
#include "format/safetensors_writer.h"
#include "format/testing/expect_failure.h"

namespace flashmoe {
namespace {

using Tensors = std::vector<SafetensorsWriter::Tensor>;

/// A checkpoint of zeros with these tensors and this config.json.
class Fixture {
 public:
  Fixture(std::string_view config, const Tensors& tensors) {
    folder_.write("config.json", config);
    auto writer = SafetensorsWriter::create(folder_.path() / "model.safetensors", tensors);
    EXPECT_TRUE(writer.ok()) << writer.status().message();
    for (const auto& tensor : tensors) {
      std::uint64_t count = 1;
      for (const std::uint64_t dimension : tensor.shape) count *= dimension;
      Status written;
      switch (size_of(tensor.dtype)) {
        case 1:
          written = writer->write<std::uint8_t>(tensor.name, 0, std::vector<std::uint8_t>(count));
          break;
        case 2:
          written = writer->write<std::uint16_t>(tensor.name, 0, std::vector<std::uint16_t>(count));
          break;
        default:
          written = writer->write<std::uint32_t>(tensor.name, 0, std::vector<std::uint32_t>(count));
      }
      EXPECT_TRUE(written.ok()) << written.message();
    }
    EXPECT_TRUE(writer->finish().ok());
    auto package = ModelPackage::open(folder_.path());
    EXPECT_TRUE(package.ok()) << package.status().message();
    package_ = std::make_unique<ModelPackage>(std::move(*package));
  }

  Result<WeightRecord> find(std::string_view path, std::uint64_t stack, std::uint64_t rows,
                            std::uint64_t cols) const {
    return find_weight(*package_, path, stack, rows, cols);
  }

  Result<WeightRecord> find_blocks(std::string_view name, std::uint64_t stack, std::uint64_t rows,
                                   std::uint64_t cols) const {
    return find_mxfp4_blocks(*package_, name, stack, rows, cols);
  }

 private:
  TemporaryFolder folder_;
  std::unique_ptr<ModelPackage> package_;
};

/// The three tensors of an affine weight "p" of [rows, cols].
Tensors affine(std::uint64_t rows, std::uint64_t cols, std::uint64_t bits, std::uint64_t group_size,
               DType scales = DType::kBF16) {
  return {{"p.weight", DType::kU32, {rows, cols * bits / 32}},
          {"p.scales", scales, {rows, cols / group_size}},
          {"p.biases", scales, {rows, cols / group_size}}};
}

std::string listed(std::string_view value) {
  return fmt::format(R"({{"quantization": {{"group_size": 64, "bits": 4, "p": {}}}}})", value);
}

Status find_status(std::string_view config, const Tensors& tensors) {
  return Fixture(config, tensors).find("p", 1, 8, 256).status();
}

TEST(WeightCatalog, InfersEveryWidthAndGroupFromTheShapes) {
  for (const std::uint32_t bits : {1, 2, 3, 4, 5, 6, 8}) {
    for (const std::uint32_t group_size : {32, 64, 128}) {
      for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
        const Fixture fixture("{}", affine(8, 256, bits, group_size, dtype));
        const auto record = fixture.find("p", 1, 8, 256);
        ASSERT_TRUE(record.ok()) << record.status().message();
        EXPECT_EQ(record->type, find_affine_weights(bits, group_size, dtype));
        EXPECT_EQ(record->rows, 8u);
        EXPECT_EQ(record->cols, 256u);
        EXPECT_EQ(record->planes[0]->size, 8 * record->type->plane_row_size(0, 256));
        EXPECT_EQ(record->planes[2]->size, 8 * record->type->plane_row_size(2, 256));
      }
    }
  }
}

TEST(WeightCatalog, TakesTheParametersOfAListedModule) {
  const std::pair<const char*, std::uint32_t> cases[] = {
      {R"({"group_size": 64, "bits": 8})", 8},
      {R"({"group_size": null, "bits": 6})", 6},
      {R"({"bits": 3})", 3},
      {R"({"group_size": 64})", 4},
      {R"({"mode": "affine", "bits": 2})", 2},
      {"true", 4},
  };
  for (const auto& [value, bits] : cases) {
    SCOPED_TRACE(value);
    const Fixture fixture(listed(value), affine(8, 256, bits, 64));
    const auto record = fixture.find("p", 1, 8, 256);
    ASSERT_TRUE(record.ok()) << record.status().message();
    EXPECT_EQ(record->type->bits, bits);
    EXPECT_EQ(record->type->block_cols, 64u);
  }
}

TEST(WeightCatalog, AnUnlistedModuleFollowsItsTensorsNotTheGlobalSettings) {
  const Fixture fixture(R"({"quantization": {"group_size": 64, "bits": 4}})",
                        affine(8, 256, 8, 32));
  EXPECT_EQ(fixture.find("p", 1, 8, 256).value().type->bits, 8u);
}

TEST(WeightCatalog, AnOverrideWithoutModeIsAffineWhateverTheGlobalMode) {
  const Fixture fixture(
      R"({"quantization": {"group_size": 32, "bits": 4, "mode": "mxfp4", "p": {"bits": 8}}})",
      affine(8, 256, 8, 64));
  EXPECT_EQ(fixture.find("p", 1, 8, 256).value().type->bits, 8u);
}

TEST(WeightCatalog, ReadsTheCopyWhereTheObjectItselfIsAbsent) {
  const Fixture fixture(R"({"quantization_config": {"bits": 4, "p": {"bits": 8}}})",
                        affine(8, 256, 8, 64));
  EXPECT_EQ(fixture.find("p", 1, 8, 256).value().type->bits, 8u);
  expect_failure(find_status(R"({"quantization_config": {"bits": 4, "p": {"bits": 4}}})",
                             affine(8, 256, 8, 64)),
                 StatusCode::kCorrupt, {"p.weight", "[8, 64]", "[8, 32]"});
}

TEST(WeightCatalog, FindsUnquantisedWeights) {
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    const Fixture fixture(
        "{}", {{"p.weight", dtype, {8, 256}}, {"experts.down_proj", dtype, {4, 8, 256}}});
    const auto record = fixture.find("p", 1, 8, 256);
    ASSERT_TRUE(record.ok()) << record.status().message();
    EXPECT_EQ(record->type, &float_weights(dtype));
    EXPECT_EQ(record->planes[1], nullptr);
    // Fused experts have no ".weight".
    EXPECT_EQ(fixture.find("experts.down_proj", 4, 8, 256).value().stack, 4u);
  }
  for (const char* value : {"false", "null", "{}"}) {
    const Fixture fixture(listed(value), {{"p.weight", DType::kBF16, {8, 256}}});
    EXPECT_EQ(fixture.find("p", 1, 8, 256).value().type, &float_weights(DType::kBF16));
  }
}

TEST(WeightCatalog, FindsStacksOfWeights) {
  const Tensors tensors = {{"p.weight", DType::kU32, {4, 8, 32}},
                           {"p.scales", DType::kBF16, {4, 8, 4}},
                           {"p.biases", DType::kBF16, {4, 8, 4}},
                           {"one.weight", DType::kF16, {1, 8, 256}}};
  const Fixture fixture("{}", tensors);
  const auto record = fixture.find("p", 4, 8, 256);
  ASSERT_TRUE(record.ok()) << record.status().message();
  EXPECT_EQ(record->stack, 4u);
  EXPECT_EQ(record->type->bits, 4u);
  EXPECT_TRUE(fixture.find("one", 1, 8, 256).ok());
  expect_failure(fixture.find("p", 1, 8, 256).status(), StatusCode::kCorrupt, {"p.weight"});
  expect_failure(fixture.find("p", 5, 8, 256).status(), StatusCode::kCorrupt, {"[5, 8, 256]"});
  expect_failure(fixture.find("one", 2, 8, 256).status(), StatusCode::kCorrupt,
                 {"one.weight", "[1, 8, 256]", "[2, 8, 256]"});
}

TEST(WeightCatalog, NamesATensorThatIsAbsent) {
  expect_failure(find_status("{}", {}), StatusCode::kNotFound, {"p.weight is absent", "download"});
  Tensors tensors = affine(8, 256, 4, 64);
  tensors.pop_back();
  expect_failure(find_status("{}", tensors), StatusCode::kNotFound, {"p.biases is absent"});
  tensors.pop_back();
  expect_failure(find_status("{}", tensors), StatusCode::kCorrupt,
                 {"p.weight", "p.scales is absent"});
  expect_failure(find_status(listed("true"), tensors), StatusCode::kNotFound,
                 {"p.scales is absent", "config.json lists p"});
}

TEST(WeightCatalog, RefusesShapesThatContradictConfig) {
  const char* const plain = "{}";
  expect_failure(find_status(plain, {{"p.weight", DType::kBF16, {8, 255}}}), StatusCode::kCorrupt,
                 {"model.safetensors", "p.weight", "[8, 255]", "[8, 256]"});
  expect_failure(find_status(plain, {{"p.weight", DType::kBF16, {256}}}), StatusCode::kCorrupt,
                 {"[256]"});
  expect_failure(find_status(plain, affine(9, 256, 4, 64)), StatusCode::kCorrupt, {"[9, 32]"});
  expect_failure(find_status(plain, affine(8, 224, 4, 32)), StatusCode::kCorrupt, {"[8, 28]"});
  expect_failure(find_status(plain, affine(8, 256, 7, 32)), StatusCode::kCorrupt, {"[8, 56]"});
  expect_failure(find_status(plain, affine(8, 256, 4, 16)), StatusCode::kCorrupt, {"[8, 16]"});
  expect_failure(find_status(plain, affine(8, 0, 4, 16)), StatusCode::kCorrupt, {"[8, 0]"});
  Tensors tensors = affine(8, 256, 4, 64);
  tensors[2].shape = {8, 3};
  expect_failure(find_status(plain, tensors), StatusCode::kCorrupt,
                 {"p.biases", "[8, 3]", "[8, 4]"});
  expect_failure(find_status(listed(R"({"bits": 8})"), affine(8, 256, 4, 64)), StatusCode::kCorrupt,
                 {"p.weight", "[8, 32]", "[8, 64]"});
  expect_failure(find_status(listed(R"({"group_size": 32})"), affine(8, 256, 4, 64)),
                 StatusCode::kCorrupt, {"p.scales", "[8, 4]", "[8, 8]"});
  const Fixture fixture(listed(R"({"group_size": 128})"), affine(8, 192, 4, 64));
  expect_failure(fixture.find("p", 1, 8, 192).status(), StatusCode::kCorrupt,
                 {"p.weight", "groups of 128", "192 inputs"});
}

TEST(WeightCatalog, RefusesDtypesThatNoWeightHas) {
  expect_failure(find_status("{}", {{"p.weight", DType::kF8E5M2, {8, 256}}}),
                 StatusCode::kUnsupported, {"p.weight", "F8_E5M2"});
  Tensors tensors = affine(8, 256, 4, 64);
  tensors[0].dtype = DType::kI32;
  expect_failure(find_status("{}", tensors), StatusCode::kCorrupt, {"p.weight", "U32, not I32"});
  tensors = affine(8, 256, 4, 64);
  tensors[2].dtype = DType::kF16;
  expect_failure(find_status("{}", tensors), StatusCode::kCorrupt, {"p.scales", "BF16", "F16"});
  expect_failure(find_status("{}", affine(8, 256, 4, 64, DType::kI32)), StatusCode::kCorrupt,
                 {"p.scales", "I32"});
}

TEST(WeightCatalog, RefusesAQuantisedTensorThatConfigDenies) {
  expect_failure(find_status(listed("false"), affine(8, 256, 4, 64)), StatusCode::kCorrupt,
                 {"p.scales", "not quantised"});
}

/// The two tensors of a weight "p" of [rows, cols] in a mode of floats.
Tensors packed(std::uint64_t rows, std::uint64_t cols, std::uint64_t bits,
               std::uint64_t group_size) {
  Tensors tensors = affine(rows, cols, bits, group_size, DType::kU8);
  tensors.pop_back();
  return tensors;
}

TEST(WeightCatalog, FindsFloatsOfFewBitsByConfigOrShapes) {
  for (const PackedMode& mode : packed_modes()) {
    const std::string configs[] = {
        "{}",
        R"({"quantization": {"group_size": 64, "bits": 8}})",
        listed(fmt::format(R"({{"mode": "{}"}})", mode.name)),
        listed(fmt::format(R"({{"mode": "{}", "group_size": {}, "bits": {}}})", mode.name,
                           mode.group_size, mode.bits)),
        fmt::format(R"({{"quantization": {{"mode": "{}", "p": true}}}})", mode.name),
    };
    for (const std::string& config : configs) {
      SCOPED_TRACE(config);
      const Fixture fixture(config, packed(8, 256, mode.bits, mode.group_size));
      const auto record = fixture.find("p", 1, 8, 256);
      ASSERT_TRUE(record.ok()) << record.status().message();
      EXPECT_EQ(record->type, &packed_weights(mode, false));
      EXPECT_EQ(record->planes[0]->size, record->type->plane_size(0, 8, 256));
      EXPECT_EQ(record->planes[1]->size, record->type->plane_size(1, 8, 256));
      EXPECT_EQ(record->planes[2], nullptr);
    }
  }
}

TEST(WeightCatalog, FindsScalesOfWholeMatrices) {
  const PackedMode& nvfp4 = *find_packed_mode("nvfp4");
  Tensors tensors = packed(8, 256, 4, 16);
  tensors.push_back({"p.global_scale", DType::kF32, {}});
  for (const std::vector<std::uint64_t>& shape : {std::vector<std::uint64_t>{}, {1}}) {
    tensors[2].shape = shape;
    const Fixture fixture(listed(R"({"mode": "nvfp4", "global_scale": true})"), tensors);
    const auto record = fixture.find("p", 1, 8, 256);
    ASSERT_TRUE(record.ok()) << record.status().message();
    EXPECT_EQ(record->type, &packed_weights(nvfp4, true));
    EXPECT_EQ(record->planes[2]->size, 4u);
  }
  const Tensors stack = {{"p.weight", DType::kU32, {4, 8, 32}},
                         {"p.scales", DType::kU8, {4, 8, 16}},
                         {"p.global_scale", DType::kF32, {4}}};
  EXPECT_EQ(Fixture("{}", stack).find("p", 4, 8, 256).value().type, &packed_weights(nvfp4, true));

  tensors[2].shape = {2};
  expect_failure(find_status("{}", tensors), StatusCode::kCorrupt, {"p.global_scale", "[2]"});
  tensors[2] = {"p.global_scale", DType::kBF16, {1}};
  expect_failure(find_status("{}", tensors), StatusCode::kCorrupt, {"p.global_scale", "BF16"});
  tensors.pop_back();
  expect_failure(find_status(listed(R"({"mode": "nvfp4", "global_scale": true})"), tensors),
                 StatusCode::kNotFound, {"p.global_scale is absent", "download"});
  tensors = packed(8, 256, 4, 32);
  tensors.push_back({"p.global_scale", DType::kF32, {}});
  expect_failure(find_status("{}", tensors), StatusCode::kCorrupt, {"p.global_scale", "mxfp4"});
}

TEST(WeightCatalog, RefusesFloatsOfFewBitsThatContradictConfig) {
  const Tensors mxfp4 = packed(8, 256, 4, 32);
  expect_failure(find_status(listed(R"({"bits": 4})"), mxfp4), StatusCode::kCorrupt,
                 {"p.scales", "U8", "affine"});
  expect_failure(find_status(listed(R"({"mode": "nvfp4"})"), mxfp4), StatusCode::kCorrupt,
                 {"p.scales", "[8, 8]", "[8, 16]"});
  expect_failure(find_status(listed(R"({"mode": "mxfp8"})"), mxfp4), StatusCode::kCorrupt,
                 {"p.weight", "[8, 32]", "[8, 64]"});
  expect_failure(find_status(listed(R"({"mode": "mxfp4"})"), affine(8, 256, 4, 32)),
                 StatusCode::kCorrupt, {"p.scales", "BF16", "U8"});
  expect_failure(find_status("{}", packed(8, 256, 4, 64)), StatusCode::kUnsupported,
                 {"p.weight", "mxfp4, nvfp4 and mxfp8"});
  expect_failure(find_status("{}", packed(8, 0, 4, 16)), StatusCode::kUnsupported, {"p.weight"});
  Tensors tensors = mxfp4;
  tensors[0].dtype = DType::kI32;
  expect_failure(find_status("{}", tensors), StatusCode::kCorrupt, {"p.weight", "U32"});
  const Fixture odd("{}", packed(8, 48, 4, 16));
  expect_failure(odd.find("p", 1, 8, 48).status(), StatusCode::kUnsupported,
                 {"p.weight", "48 inputs"});
  const std::pair<const char*, const char*> fields[] = {
      {R"({"mode": "mxfp4", "group_size": 64})", "quantization.p.group_size"},
      {R"({"mode": "nvfp4", "bits": 8})", "quantization.p.bits"},
      {R"({"mode": "mxfp8", "global_scale": true})", "quantization.p.global_scale"},
      {R"({"mode": "nvfp4", "global_scale": 1})", "quantization.p.global_scale"},
  };
  for (const auto& [value, field] : fields) {
    expect_failure(find_status(listed(value), mxfp4), StatusCode::kCorrupt, {"config.json", field});
  }
}

constexpr const char* kFp8 =
    R"({"quantization_config": {"quant_method": "fp8", "weight_block_size": [48, 100]}})";

/// The two tensors of a weight "p" of [rows, cols] in blocks of 48 x 100.
Tensors fp8(std::uint64_t rows, std::uint64_t cols, DType dtype = DType::kF32) {
  return {{"p.weight", DType::kF8E4M3, {rows, cols}},
          {"p.weight_scale_inv", dtype, {(rows + 47) / 48, (cols + 99) / 100}}};
}

TEST(WeightCatalog, FindsFp8WithScalesOfBlocksAndPartsOfThem) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    const Fixture fixture(kFp8, fp8(100, 250, dtype));
    const auto record = fixture.find("p", 1, 100, 250);
    ASSERT_TRUE(record.ok()) << record.status().message();
    EXPECT_EQ(record->type, find_fp8_weights(48, 100, dtype));
    EXPECT_EQ(record->planes[1]->size, record->type->plane_size(1, 100, 250));
  }
  // What was not converted is what its tensor says.
  const Fixture plain(kFp8, {{"p.weight", DType::kBF16, {8, 256}}});
  EXPECT_EQ(plain.find("p", 1, 8, 256).value().type, &float_weights(DType::kBF16));
}

TEST(WeightCatalog, RefusesFp8ThatCannotBe) {
  const auto status = [](std::string_view config, const Tensors& tensors) {
    return Fixture(config, tensors).find("p", 1, 100, 250).status();
  };
  const auto with = [](std::string_view fields) {
    return fmt::format(R"({{"quantization_config": {{"quant_method": "fp8"{}}}}})", fields);
  };
  Tensors tensors = fp8(100, 250);
  expect_failure(status(with(""), tensors), StatusCode::kUnsupported,
                 {"config.json", "weight_block_size", "[128, 128]"});
  expect_failure(status(with(R"(, "weight_block_size": null)"), tensors), StatusCode::kUnsupported,
                 {"weight_block_size"});
  for (const char* size :
       {"[0, 128]", "[128, 70000]", "[128]", "[1, 2, 3]", R"("128")", "[1.5, 2]"}) {
    SCOPED_TRACE(size);
    expect_failure(status(with(fmt::format(R"(, "weight_block_size": {})", size)), tensors),
                   StatusCode::kCorrupt, {"weight_block_size"});
  }
  expect_failure(status(with(R"(, "fmt": "e5m2", "weight_block_size": [48, 100])"), tensors),
                 StatusCode::kUnsupported, {"quantization_config.fmt", "e5m2"});
  expect_failure(status(R"({"quantization_config": {"quant_method": "mxfp4"}})", tensors),
                 StatusCode::kUnsupported, {"quant_method", "mxfp4"});
  expect_failure(status(with(R"(, "weight_block_size": [128, 128])"), tensors),
                 StatusCode::kCorrupt, {"p.weight_scale_inv", "[3, 3]", "[1, 2]"});
  tensors[1].dtype = DType::kU8;
  expect_failure(status(kFp8, tensors), StatusCode::kUnsupported, {"p.weight_scale_inv", "U8"});
  tensors.pop_back();
  expect_failure(status(kFp8, tensors), StatusCode::kUnsupported,
                 {"p.weight", "p.weight_scale_inv is absent"});
  const Tensors stack = {{"p.weight", DType::kF8E4M3, {2, 50, 250}},
                         {"p.weight_scale_inv", DType::kF32, {2, 2, 3}}};
  expect_failure(Fixture(kFp8, stack).find("p", 2, 50, 250).status(), StatusCode::kUnsupported,
                 {"p.weight", "50 rows", "48"});
}

TEST(WeightCatalog, FindsStacksOfMxfp4Blocks) {
  const Tensors tensors = {{"e_blocks", DType::kU8, {4, 8, 3, 16}},
                           {"e_scales", DType::kU8, {4, 8, 3}}};
  const Fixture fixture("{}", tensors);
  const auto record = fixture.find_blocks("e", 4, 8, 96);
  ASSERT_TRUE(record.ok()) << record.status().message();
  EXPECT_EQ(record->type, &packed_weights(*find_packed_mode("mxfp4"), false));
  EXPECT_EQ(record->stack, 4u);
  expect_failure(fixture.find_blocks("e", 4, 8, 128).status(), StatusCode::kCorrupt,
                 {"e_blocks", "[4, 8, 3, 16]", "[4, 8, 4, 16]"});
  expect_failure(fixture.find_blocks("e", 4, 8, 90).status(), StatusCode::kUnsupported,
                 {"e_blocks", "90 inputs"});
  expect_failure(Fixture("{}", {tensors[0]}).find_blocks("e", 4, 8, 96).status(),
                 StatusCode::kNotFound, {"e_scales", "download"});
  const Fixture words("{}", {{"e_blocks", DType::kU32, {4, 8, 12}}});
  expect_failure(words.find_blocks("e", 4, 8, 96).status(), StatusCode::kCorrupt,
                 {"e_blocks", "U32", "U8"});
}

TEST(WeightCatalog, NamesTheModeThatIsNotKnown) {
  expect_failure(find_status(listed(R"({"mode": "mxfp6"})"), affine(8, 256, 8, 32)),
                 StatusCode::kUnsupported,
                 {"config.json", "quantization.p.mode", "mxfp6", "mxfp4, nvfp4 or mxfp8"});
  expect_failure(
      find_status(R"({"quantization": {"mode": "int4", "p": true}})", affine(8, 256, 4, 32)),
      StatusCode::kUnsupported, {"quantization.mode", "int4"});
  expect_failure(find_status(R"({"quantize_activations": true})", affine(8, 256, 4, 32)),
                 StatusCode::kUnsupported, {"quantize_activations"});
}

TEST(WeightCatalog, NamesTheMethodThatIsNotSupported) {
  for (const char* method : {"gptq", "awq", "modelopt", "compressed-tensors", "bitnet"}) {
    const std::string config = fmt::format(
        R"({{"quantization_config": {{"quant_method": "{}", "bits": 4, "group_size": 128}}}})",
        method);
    expect_failure(find_status(config, {{"p.weight", DType::kBF16, {8, 256}}}),
                   StatusCode::kUnsupported, {"config.json", "quant_method", method});
  }
}

TEST(WeightCatalog, RefusesAQuantizationObjectThatMakesNoSense) {
  const std::pair<std::string, const char*> cases[] = {
      {R"({"quantization": 4})", "quantization is 4"},
      {R"({"quantization_config": []})", "quantization_config"},
      {R"({"quantize_activations": 1})", "quantize_activations"},
      {listed("4"), "quantization.p"},
      {listed("\"affine\""), "quantization.p"},
      {listed("[]"), "quantization.p"},
      {listed(R"({"bits": 7})"), "quantization.p.bits"},
      {listed(R"({"bits": 0})"), "quantization.p.bits is 0"},
      {listed(R"({"bits": 9})"), "quantization.p.bits is 9"},
      {listed(R"({"bits": "4"})"), "quantization.p.bits"},
      {listed(R"({"group_size": 16})"), "quantization.p.group_size is 16"},
      {listed(R"({"group_size": 48})"), "quantization.p.group_size"},
      {listed(R"({"group_size": 64.5})"), "quantization.p.group_size"},
      {listed(R"({"mode": 1})"), "quantization.p.mode"},
  };
  for (const auto& [config, field] : cases) {
    SCOPED_TRACE(config);
    expect_failure(find_status(config, affine(8, 256, 4, 64)), StatusCode::kCorrupt,
                   {"config.json", field});
  }
}

}  // namespace
}  // namespace flashmoe
