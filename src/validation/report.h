#ifndef FLASHMOE_VALIDATION_REPORT_H_
#define FLASHMOE_VALIDATION_REPORT_H_

#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace flashmoe {

// What a validation found, before it is written down as a page, as Markdown or as JSON.

/// One figure: for programs, for people, and what the origin system's report has in its place.
struct Cell {
  nlohmann::ordered_json value;
  std::string text;
  std::string origin;  // empty: nothing
};

struct Column {
  std::string key;    // in JSON
  std::string title;  // for people, with its unit
};

struct Row {
  std::vector<Cell> cells;
  std::optional<std::size_t> sample;  // index of its text in Experiment::samples
};

struct Table {
  std::string title;
  std::vector<Column> columns;
  std::vector<Row> rows;
};

/// A text that was generated.
struct Sample {
  std::string title;
  std::string prompt;
  std::string text;
};

struct Series {
  std::string name;
  std::vector<std::pair<double, double>> points;
};

/// A vertical line.
struct Mark {
  double x = 0;
  std::string label;
};

struct Plot {
  std::string title;
  std::string x_label;
  std::string y_label;
  std::vector<Series> series;
  std::vector<Mark> marks;
};

struct Experiment {
  int number = 0;
  std::string title;
  std::string question;
  std::vector<Table> tables;
  std::vector<Plot> plots;
  std::vector<Sample> samples;
  std::vector<std::string> findings;
};

/// What became of something that the origin's report says.
struct Claim {
  std::string claim;
  std::string verdict;  // "reproduced", "refuted", "not testable here"
  std::string figures;
};

struct ValidationReport {
  std::vector<std::pair<std::string, std::string>> setting;  // model, machine, options, ...
  std::vector<std::string> definitions;                      // how quality is measured
  std::vector<Experiment> experiments;
  std::vector<Claim> claims;
  Table origin_arithmetic;  // the origin's totals, from its own tables
};

/// One page that needs nothing else. Light and dark, any width.
std::string to_html(const ValidationReport& report);
std::string to_markdown(const ValidationReport& report);
nlohmann::ordered_json to_json(const ValidationReport& report);

/// A line plot as an SVG element. Readable on light and on dark ground.
std::string to_svg(const Plot& plot);

/// Text of which a long one shows its beginning, middle and end.
std::string excerpt(const std::string& text, std::size_t characters_max);

}  // namespace flashmoe

#endif  // FLASHMOE_VALIDATION_REPORT_H_
