#include "tokenizer/jinja/value.h"

#include <gtest/gtest.h>

#include <limits>

#include "tokenizer/jinja/heap.h"

namespace flashmoe::jinja {
namespace {

TEST(Dict, KeepsInsertionOrderThroughChanges) {
  Dict dict;
  for (const char* key : {"b", "a", "c"}) dict.set(Value::constant(key), Value::integer(1));
  dict.set(Value::constant("b"), Value::integer(2));
  EXPECT_TRUE(dict.erase(Value::constant("a")));
  EXPECT_FALSE(dict.erase(Value::constant("a")));
  ASSERT_EQ(dict.entries.size(), 2U);
  EXPECT_EQ(dict.entries[0].first.as_text(), "b");
  EXPECT_EQ(dict.find(Value::constant("b"))->as_integer(), 2);
  EXPECT_EQ(dict.find(Value::constant("c")), &dict.entries[1].second);
}

TEST(Dict, EqualNumbersAreOneKey) {
  Dict dict;
  dict.set(Value::integer(1), Value::constant("one"));
  EXPECT_NE(dict.find(Value::real(1.0)), nullptr);
  EXPECT_NE(dict.find(Value::boolean(true)), nullptr);
  EXPECT_EQ(dict.find(Value::constant("1")), nullptr);
  EXPECT_EQ(dict.find(Value()), nullptr);
  dict.set(Value::none(), Value::integer(0));
  EXPECT_NE(dict.find(Value::none()), nullptr);
}

TEST(Value, TruthIsPythons) {
  Heap heap(Limits{});
  for (const Value& value :
       {Value(), Value::none(), Value::boolean(false), Value::integer(0), Value::real(0),
        Value::constant(""), heap.list({}), Value::object(heap.dict())}) {
    EXPECT_FALSE(value.truthy()) << value.type_name();
  }
  for (const Value& value :
       {Value::boolean(true), Value::integer(-1), Value::constant("0"), heap.list({Value()}),
        Value::object(heap.name_space()), Value::real(std::numeric_limits<double>::quiet_NaN())}) {
    EXPECT_TRUE(value.truthy()) << value.type_name();
  }
}

TEST(Heap, CountsStringsWhileTheyLive) {
  Heap heap(Limits{.step_count = 100, .memory_bytes = 10'000, .depth = 10});
  {
    const Value big = heap.text(std::string(8'000, 'x'), Origin::kTemplate);
    EXPECT_TRUE(heap.reserve(1'000).ok());
    EXPECT_FALSE(heap.reserve(5'000).ok());
    EXPECT_FALSE(heap.reserve(std::numeric_limits<std::size_t>::max()).ok());
  }
  EXPECT_TRUE(heap.reserve(9'000).ok());
  const Value too_big = heap.text(std::string(20'000, 'x'), Origin::kTemplate);
  EXPECT_FALSE(heap.spend().ok());
}

TEST(Heap, StepsRunOut) {
  Heap heap(Limits{.step_count = 3, .memory_bytes = 10'000, .depth = 10});
  EXPECT_TRUE(heap.spend(2).ok());
  EXPECT_TRUE(heap.spend().ok());
  EXPECT_FALSE(heap.spend().ok());
  EXPECT_FALSE(heap.spend(std::numeric_limits<std::uint64_t>::max()).ok());
}

}  // namespace
}  // namespace flashmoe::jinja
