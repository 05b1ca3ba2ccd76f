#include "cli/option_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>

namespace flashmoe::cli {
namespace {

TEST(OptionValues, WholeNumbersAreDecimalAndInRange) {
  const WholeRange port = {0, 65535};
  for (const char* text : {"0", "8080", "65535", "010"}) {
    EXPECT_EQ(check_whole_number(text, port), "") << text;
  }
  EXPECT_EQ(whole_number("010"), 10u);
  for (const char* text : {"0x1F90", "99999", "-1", "+1", "1.0", "1e3", "", " 1", "1 ", "ten",
                           "18446744073709551616"}) {
    EXPECT_EQ(check_whole_number(text, port),
              "'" + std::string(text) + "' is not a whole number from 0 to 65535");
  }
  EXPECT_EQ(check_whole_number("0", {1, std::uint64_t{1} << 30}),
            "'0' is not a whole number from 1 on");
  EXPECT_EQ(check_whole_number("-1", {}), "'-1' is not a whole number from 0 to 2^64 - 1");
  EXPECT_EQ(check_whole_number("18446744073709551615", {}), "");
  EXPECT_EQ(check_whole_number("\033[2J", port).find('\033'), std::string::npos);
}

TEST(OptionValues, DecimalsAreFiniteAndInRange) {
  for (const char* text : {"0", "1", "0.5", "1e-3"}) EXPECT_EQ(check_decimal(text, {0, 1}), "");
  for (const char* text : {"nan", "inf", "-0.1", "1.1", "half", "", "0,5"}) {
    EXPECT_EQ(check_decimal(text, {0, 1}),
              "'" + std::string(text) + "' is not a number from 0 to 1");
  }
}

TEST(OptionValues, SetNumbersAndOptionals) {
  CLI::App app;
  std::uint16_t port = 8080;
  std::optional<double> temperature;
  add_whole_number(app, "--port", port, {}, "");
  add_decimal(app, "--temperature", temperature, {0, 100}, "");
  EXPECT_EQ(app.get_option("--port")->get_default_str(), "8080");
  app.parse(std::vector<std::string>{"1.5", "--temperature", "9", "--port"});
  EXPECT_EQ(port, 9);
  EXPECT_EQ(temperature, 1.5);
  // The type's range bounds what the option says.
  EXPECT_THROW(app.parse(std::vector<std::string>{"65536", "--port"}), CLI::ValidationError);
}

TEST(OptionValues, ChoicesAreNamedWhenNoneIsMet) {
  CLI::App app;
  std::string shell;
  choose_from(app.add_option("--shell", shell), {"bash", "zsh"});
  app.parse(std::vector<std::string>{"zsh", "--shell"});
  EXPECT_EQ(shell, "zsh");
  try {
    app.parse(std::vector<std::string>{"csh", "--shell"});
    FAIL();
  } catch (const CLI::ValidationError& error) {
    EXPECT_STREQ(error.what(), "--shell: 'csh' is not one of bash, zsh");
  }
}

}  // namespace
}  // namespace flashmoe::cli
