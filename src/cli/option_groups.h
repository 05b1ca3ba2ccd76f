#ifndef FLASHMOE_CLI_OPTION_GROUPS_H_
#define FLASHMOE_CLI_OPTION_GROUPS_H_

#include <array>
#include <string_view>

namespace flashmoe::cli {

/// A heading of a command's help.
struct OptionGroup {
  const char* name = "";
  bool is_main = false;        // part of --help; else of --help-all alone
  bool may_be_preset = false;  // its options take values from the environment and the config file
};

// Names for CLI::Option::group().
inline constexpr const char* kPromptOptions = "Prompt";
inline constexpr const char* kModelOptions = "Model and memory";
inline constexpr const char* kAnswerOptions = "Answer";
inline constexpr const char* kServerOptions = "Server";
inline constexpr const char* kOutputOptions = "Input and output";
inline constexpr const char* kMoreAnswerOptions = "More on answers";
inline constexpr const char* kMoreServerOptions = "More on the server";
inline constexpr const char* kSpeedOptions = "Speed";
inline constexpr const char* kResidencyOptions = "Which experts stay in memory";
inline constexpr const char* kMeasuringOptions = "Measuring";
inline constexpr const char* kHelpOptions = "Help";

/// In the order of the help. What a command reads and writes this once, and what it measures,
/// cannot be preset: a default that nobody sees would change what a script does.
inline constexpr std::array kOptionGroups = {
    OptionGroup{kPromptOptions, true, false},     OptionGroup{kModelOptions, true, true},
    OptionGroup{kAnswerOptions, true, true},      OptionGroup{kServerOptions, true, true},
    OptionGroup{kOutputOptions, true, false},     OptionGroup{kMoreAnswerOptions, false, true},
    OptionGroup{kMoreServerOptions, false, true}, OptionGroup{kSpeedOptions, false, true},
    OptionGroup{kResidencyOptions, false, true},  OptionGroup{kMeasuringOptions, false, false},
    OptionGroup{kHelpOptions, true, false},
};

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_OPTION_GROUPS_H_
