#include "base/part_name.h"

#include <gtest/gtest.h>

namespace flashmoe {
namespace {

TEST(PartName, TellsThePartAndNamesTheOthers) {
  for (const char* extension : {".gguf", ".safetensors"}) {
    const std::string name = std::string("a-model.Q4-00002-of-00013") + extension;
    const auto part = parse_part_name(name);
    ASSERT_TRUE(part) << name;
    EXPECT_EQ(part->base, "a-model.Q4");
    EXPECT_EQ(part->index, 2u);
    EXPECT_EQ(part->count, 13u);
    EXPECT_EQ(part->of(2), name);
    EXPECT_EQ(part->of(13), std::string("a-model.Q4-00013-of-00013") + extension);
  }
}

TEST(PartName, LeavesOtherNamesAlone) {
  for (const char* name :
       {"", "a-00001-of-00002", ".gguf", "a.gguf", "-00001-of-00002.gguf", "a-00000-of-00002.gguf",
        "a-00003-of-00002.gguf", "a-1-of-2.gguf", "a-00001-of-00002.x.gguf",
        "a-00001_of_00002.gguf", "a-000x1-of-00002.gguf"}) {
    EXPECT_FALSE(parse_part_name(name)) << name;
  }
}

}  // namespace
}  // namespace flashmoe
