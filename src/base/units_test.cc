#include "base/units.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>

#include "base/budget_text.h"

namespace flashmoe {
namespace {

std::uint64_t parse(std::string_view text) {
  const auto size = parse_size(text);
  EXPECT_TRUE(size.ok()) << size.status().message();
  return size.ok() ? *size : 0;
}

TEST(ParseSize, KnowsDecimalAndBinaryUnits) {
  EXPECT_EQ(parse("1048576"), 1u << 20);
  EXPECT_EQ(parse("0"), 0u);
  EXPECT_EQ(parse("17B"), 17u);
  EXPECT_EQ(parse("12GiB"), 12ull << 30);
  EXPECT_EQ(parse("12GB"), 12'000'000'000u);
  EXPECT_EQ(parse("12G"), 12ull << 30);
  EXPECT_EQ(parse("512M"), 512ull << 20);
  EXPECT_EQ(parse("3KB"), 3000u);
  EXPECT_EQ(parse("3KiB"), 3072u);
  EXPECT_EQ(parse("2T"), 2ull << 40);
  EXPECT_EQ(parse("2TB"), 2'000'000'000'000u);
}

TEST(ParseSize, KeepsDecimalsExact) {
  EXPECT_EQ(parse("17.7GB"), 17'700'000'000u);
  EXPECT_EQ(parse("0.1TB"), 100'000'000'000u);
  EXPECT_EQ(parse("1.5KiB"), 1536u);
  EXPECT_EQ(parse(".5M"), 512u << 10);
  EXPECT_EQ(parse("7.G"), 7ull << 30);
  EXPECT_EQ(parse("1.9B"), 1u);
  EXPECT_EQ(parse("18446744073709551615"), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(parse("0.99999999999999999999999999TB"), 999'999'999'999u);
}

TEST(ParseSize, IgnoresCaseAndSpaceAround) {
  EXPECT_EQ(parse(" 12 gib "), 12ull << 30);
  EXPECT_EQ(parse("12gB"), 12'000'000'000u);
  EXPECT_EQ(parse("12 g"), 12ull << 30);
}

TEST(ParseSize, RefusesWhatIsNoSizeWithAnExample) {
  for (const char* text : {"", " ", "GiB", ".", ".G", "-1G", "12 potatoes", "1e9", "1,5G", "12GiBs",
                           "0x10", "1G2", "+1", "nan", "12 G B", "1..5G", "12P\xff"}) {
    const auto size = parse_size(text);
    ASSERT_FALSE(size.ok()) << text;
    EXPECT_EQ(size.status().code(), StatusCode::kInvalidArgument);
    EXPECT_NE(size.status().message().find("12GiB"), std::string::npos) << size.status().message();
  }
}

TEST(ParseSize, AsksForTheUnitOfASmallNumber) {
  for (const char* text : {"1", " 60 ", "17.7", "16384", "1048575"}) {
    const auto size = parse_size(text);
    ASSERT_FALSE(size.ok()) << text;
    EXPECT_EQ(size.status().code(), StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(parse_size(" 60 ").status().message(),
            "'60' has no unit, and would be bytes; write 60GiB or 60MiB, or 60B if bytes are "
            "meant");
  EXPECT_EQ(parse("60B"), 60u);
  EXPECT_EQ(parse("60 b"), 60u);
  EXPECT_EQ(parse("0"), 0u);
}

TEST(ParseSize, RefusesWhatDoesNotFit) {
  for (const char* text : {"18446744073709551616", "99999999999999999999999999", "16777216TiB",
                           "18446744.1TB", "18446744073709551615K"}) {
    EXPECT_FALSE(parse_size(text).ok()) << text;
  }
}

TEST(ParseSize, AgreesWithFloatingPointOnRandomSizes) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 20000; ++i) {
    const double value = static_cast<double>(random() % 1'000'000) / 1000;
    const std::string text = fmt::format("{:.3f}", value);
    const double bytes = static_cast<double>(parse(text + "GiB"));
    ASSERT_NEAR(bytes, value * 0x1p30, 1.0) << text;
  }
}

TEST(FormatSize, PicksTheUnitThatReadsWell) {
  EXPECT_EQ(format_size(0), "0 B");
  EXPECT_EQ(format_size(1023), "1023 B");
  EXPECT_EQ(format_size(1024), "1 KiB");
  EXPECT_EQ(format_size(64 << 20), "64 MiB");
  EXPECT_EQ(format_size((1 << 20) - 1), "1.0 MiB");
  EXPECT_EQ(format_size(12'133'282'611), "11.3 GiB");
  EXPECT_EQ(format_size(std::numeric_limits<std::uint64_t>::max()), "16.0 EiB");
}

TEST(FormatSeconds, PicksTheUnitThatReadsWell) {
  EXPECT_EQ(format_seconds(0), "0 us");
  EXPECT_EQ(format_seconds(45e-6), "45 us");
  EXPECT_EQ(format_seconds(0.9999e-3), "1.0 ms");
  EXPECT_EQ(format_seconds(0.0123), "12.3 ms");
  EXPECT_EQ(format_seconds(0.99999), "1.00 s");
  EXPECT_EQ(format_seconds(1.234), "1.23 s");
  EXPECT_EQ(format_seconds(125), "2 min 05 s");
  EXPECT_EQ(format_seconds(179.9), "3 min 00 s");
  EXPECT_EQ(format_seconds(std::nan("")), "?");
}

TEST(FormatRate, CountsInPowersOfAThousand) {
  EXPECT_EQ(format_rate(0), "0 B/s");
  EXPECT_EQ(format_rate(1.42e9), "1.42 GB/s");
  EXPECT_EQ(format_rate(999.9), "1.00 kB/s");
  EXPECT_EQ(format_rate(999'999), "1.00 MB/s");
  EXPECT_EQ(format_rate(5e15), "5000.00 TB/s");
  EXPECT_EQ(format_rate(std::numeric_limits<double>::infinity()), "?");
}

TEST(BudgetText, IsEnoughWhenItIsTyped) {
  EXPECT_EQ(budget_text(1), "1 MiB");
  EXPECT_EQ(budget_text(std::uint64_t{39} << 20), "39 MiB");
  EXPECT_EQ(budget_text((std::uint64_t{39} << 20) + 1), "40 MiB");
  EXPECT_EQ(budget_text(std::uint64_t{10} << 30), "10240 MiB");
  EXPECT_EQ(budget_text((std::uint64_t{10} << 30) + 1), "10.1 GiB");
  EXPECT_EQ(budget_text(std::uint64_t{44} << 30), "44.0 GiB");
  for (std::uint64_t bytes = 1; bytes < std::uint64_t{1} << 50; bytes = bytes * 7 + 3) {
    EXPECT_GE(parse_size(budget_text(bytes)).value(), bytes) << bytes;
  }
}

}  // namespace
}  // namespace flashmoe
