#include "chat/decimal.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace flashmoe {
namespace {

using Json = nlohmann::ordered_json;

std::optional<int> order(std::string_view text, const char* bound) {
  const Decimal decimal = Decimal::of(Json::parse(bound)).value();
  DecimalComparison comparison;
  for (const char c : text) {
    if (!comparison.push(c, decimal)) return std::nullopt;
    comparison = DecimalComparison::unpacked(comparison.packed());
  }
  return comparison.order_to(decimal);
}

TEST(Decimal, ReadsNumbersHoweverTheyAreWritten) {
  const Decimal small = Decimal::of(Json::parse("-1.25e-3")).value();
  EXPECT_TRUE(small.is_negative);
  EXPECT_EQ(small.integer, "0");
  EXPECT_EQ(small.fraction, "00125");
  EXPECT_EQ(Decimal::of(Json::parse("12e3"))->integer, "12000");
  EXPECT_EQ(Decimal::of(Json::parse("18446744073709551615"))->integer, "18446744073709551615");
  EXPECT_FALSE(Decimal::of(Json::parse("-0.0"))->is_negative);
  EXPECT_FALSE(Decimal::of(Json("x")));
}

TEST(Decimal, ComparesAsNumbersDo) {
  std::mt19937 random(5);
  const auto number = [&] {
    std::string text = std::to_string(static_cast<int>(random() % 300) - 150);
    if (random() % 2 == 0) text += "." + std::to_string(random() % 200);
    return text;
  };
  for (int i = 0; i < 5000; ++i) {
    const std::string text = number();
    const std::string bound = number();
    const double x = std::stod(text);
    const double y = std::stod(bound);
    EXPECT_EQ(order(text, bound.c_str()), x < y ? -1 : x > y ? 1 : 0) << text << " " << bound;
  }
  EXPECT_EQ(order("-0", "0"), 0);
  EXPECT_EQ(order("0.000", "0"), 0);
  EXPECT_EQ(order("18446744073709551616", "18446744073709551615"), 1);
  EXPECT_EQ(order("-", "1"), std::nullopt);
}

}  // namespace
}  // namespace flashmoe
