#include <fmt/format.h>

#include <algorithm>

#include "validation/report.h"

namespace flashmoe {
namespace {

constexpr std::size_t kMarkdownExcerpt = 300;

/// Text within a cell.
std::string in_cell(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

std::string table_markdown(const Table& table) {
  std::string text = table.title.empty() ? "" : "**" + table.title + "**\n\n";
  std::string rule;
  for (const Column& column : table.columns) {
    text += "| " + in_cell(column.title) + " ";
    rule += "|---";
  }
  text += "|\n" + rule + "|\n";
  for (const Row& row : table.rows) {
    for (const Cell& cell : row.cells) {
      text += "| " + in_cell(cell.text);
      if (!cell.origin.empty()) text += " (" + in_cell(cell.origin) + ")";
      text += " ";
    }
    text += "|\n";
  }
  return text + "\n";
}

nlohmann::ordered_json table_json(const Table& table) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const Row& row : table.rows) {
    nlohmann::ordered_json object;
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      object[table.columns[i].key] = row.cells[i].value;
      if (!row.cells[i].origin.empty()) {
        object[table.columns[i].key + "_origin"] = row.cells[i].origin;
      }
    }
    if (row.sample) object["text"] = *row.sample;
    rows.push_back(std::move(object));
  }
  return {{"title", table.title}, {"rows", std::move(rows)}};
}

}  // namespace

std::string to_markdown(const ValidationReport& report) {
  std::string text =
      "# flash-moe validation\n\nFigures in parentheses are those of the report of the system that "
      "flash-moe starts from.\n\n";
  for (const auto& [name, value] : report.setting) text += fmt::format("- {}: {}\n", name, value);
  text += "\n## How quality is measured\n";
  for (const std::string& definition : report.definitions) text += "- " + definition + "\n";
  for (const Experiment& experiment : report.experiments) {
    text += fmt::format("\n## {}. {}\n{}\n\n", experiment.number, experiment.title,
                        experiment.question);
    for (const std::string& finding : experiment.findings) text += "- " + finding + "\n";
    text += "\n";
    for (const Table& table : experiment.tables) text += table_markdown(table);
    for (const Sample& sample : experiment.samples) {
      std::string quoted = sample.prompt + " >>> " + excerpt(sample.text, kMarkdownExcerpt);
      std::ranges::replace(quoted, '\n', ' ');
      text += fmt::format("- {}: `` {} ``\n", sample.title, quoted);
    }
  }
  text += "\n## Verdicts\n| the report says | here | figures |\n|---|---|---|\n";
  for (const Claim& claim : report.claims) {
    text += fmt::format("| {} | {} | {} |\n", in_cell(claim.claim), claim.verdict,
                        in_cell(claim.figures));
  }
  return text + "\n## The report's own arithmetic\n" + table_markdown(report.origin_arithmetic);
}

nlohmann::ordered_json to_json(const ValidationReport& report) {
  nlohmann::ordered_json json;
  for (const auto& [name, value] : report.setting) json["setting"][name] = value;
  json["definitions"] = report.definitions;
  json["experiments"] = nlohmann::ordered_json::array();
  for (const Experiment& experiment : report.experiments) {
    nlohmann::ordered_json object = {{"number", experiment.number},
                                     {"title", experiment.title},
                                     {"question", experiment.question},
                                     {"findings", experiment.findings},
                                     {"tables", nlohmann::ordered_json::array()},
                                     {"texts", nlohmann::ordered_json::array()}};
    for (const Table& table : experiment.tables) object["tables"].push_back(table_json(table));
    for (const Sample& sample : experiment.samples) {
      object["texts"].push_back(
          {{"title", sample.title}, {"prompt", sample.prompt}, {"text", sample.text}});
    }
    json["experiments"].push_back(std::move(object));
  }
  json["claims"] = nlohmann::ordered_json::array();
  for (const Claim& claim : report.claims) {
    json["claims"].push_back(
        {{"claim", claim.claim}, {"verdict", claim.verdict}, {"figures", claim.figures}});
  }
  json["origin_arithmetic"] = table_json(report.origin_arithmetic)["rows"];
  return json;
}

}  // namespace flashmoe
