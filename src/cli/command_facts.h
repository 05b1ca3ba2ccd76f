#ifndef FLASHMOE_CLI_COMMAND_FACTS_H_
#define FLASHMOE_CLI_COMMAND_FACTS_H_

#include <CLI/App.hpp>
#include <string>
#include <vector>

namespace flashmoe::cli {

/// An option or an argument, as help, manual pages and shell completion tell of it.
struct OptionFacts {
  std::vector<std::string> names;    // with dashes, shortest first; of an argument its one name
  std::string value;                 // what follows it, as "FILE"; empty: nothing
  std::vector<std::string> choices;  // the only values there are; empty: any
  std::string description;
  std::string default_value;
  bool is_required = false;

  /// "-c, --context N": the names that people learn, without aliases.
  std::string heading() const;
  bool takes_files() const;
  bool takes_folders() const;
};

struct OptionGroupFacts {
  std::string name;
  bool is_main = true;  // of --help; else of --help-all alone
  std::vector<OptionFacts> options;
};

/// A command with all that belongs to it.
struct CommandFacts {
  std::vector<std::string> path;  // {"flash-moe", "trace", "replay"}
  std::string group;              // the heading it stands under
  std::string description;
  std::string footer;  // examples and remarks
  std::vector<OptionFacts> arguments;
  std::vector<OptionGroupFacts> groups;
  std::vector<CommandFacts> commands;  // those that are not hidden

  std::string name() const;   // "flash-moe trace replay"
  std::string usage() const;  // "flash-moe trace replay [OPTIONS] TRACE"
};

/// The facts of `app`, whose parents are `path`, and of its commands.
CommandFacts command_facts(const CLI::App& app, std::vector<std::string> path = {});

/// The command that `words` choose, the deepest that they name in a row.
CLI::App& chosen_command(CLI::App& app, const std::vector<std::string>& words);

/// The options of `app` and of its unnamed groups.
std::vector<const CLI::Option*> all_options(const CLI::App& app);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_COMMAND_FACTS_H_
