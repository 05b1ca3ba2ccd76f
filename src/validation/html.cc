#include <fmt/format.h>

#include <string_view>

#include "base/utf8.h"
#include "validation/markup.h"
#include "validation/report.h"

namespace flashmoe {
namespace {

constexpr std::size_t kPageExcerpt = 600;  // characters of a text on the page

constexpr std::string_view kHead = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>flash-moe validation</title>
<style>
:root { color-scheme: light dark; --ink: #1f2328; --soft: #656d76; --line: #d0d7de; --ground: #fff;
  --panel: #f6f8fa; --good: #1a7f37; --bad: #b3261e; --open: #8a6100; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #8d96a0; --line: #30363d;
  --ground: #0d1117; --panel: #161b22; --good: #3fb950; --bad: #f85149; --open: #d29922; } }
body { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Noto Sans CJK SC", sans-serif;
  color: var(--ink); background: var(--ground); max-width: 72rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.7rem; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line);
  padding-bottom: .3rem; } h3 { font-size: 1rem; margin-bottom: .4rem; }
nav a { margin-right: .9rem; white-space: nowrap; } a { color: #2f81d7; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .86rem; margin: .3rem 0 1rem; }
th, td { padding: .28rem .6rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; vertical-align: top; } th:first-child, td:first-child { text-align: left; }
th { font-weight: 600; background: var(--panel); }
.origin { display: block; color: var(--soft); font-size: .78rem; }
.question, .soft { color: var(--soft); }
svg { width: 100%; max-width: 640px; height: auto; } svg text { font: 12px system-ui, sans-serif; fill: #7a828c; }
.grid { stroke: #7a828c; stroke-opacity: .25; } .mark { stroke: #7a828c; stroke-dasharray: 4 4; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { font-size: .86rem; font-weight: 600; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--panel); padding: .7rem;
  border-radius: 6px; font-size: .84rem; }
details { margin: .2rem 0; } details details { margin-left: 1rem; } summary { cursor: pointer; }
.reproduced { color: var(--good); } .refuted { color: var(--bad); } .not { color: var(--open); }
.claims td { white-space: normal; text-align: left; } .claims td:nth-child(2) { font-weight: 600; white-space: nowrap; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; font-size: .9rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>flash-moe validation</h1>
)";

/// A class name from a verdict's first word.
std::string_view verdict_class(std::string_view verdict) {
  return verdict.substr(0, verdict.find(' '));
}

std::string sample_anchor(int experiment, std::size_t sample) {
  return fmt::format("text-{}-{}", experiment, sample + 1);
}

std::string table_html(const Table& table, int experiment) {
  bool has_samples = false;
  for (const Row& row : table.rows) has_samples |= row.sample.has_value();
  std::string html;
  if (!table.title.empty()) html += fmt::format("<h3>{}</h3>\n", escape_markup(table.title));
  html += "<div class=\"scroll\"><table>\n<tr>";
  for (const Column& column : table.columns) {
    html += fmt::format("<th scope=\"col\">{}</th>", escape_markup(column.title));
  }
  if (has_samples) html += "<th scope=\"col\">text</th>";
  html += "</tr>\n";
  for (const Row& row : table.rows) {
    html += "<tr>";
    for (const Cell& cell : row.cells) {
      html += "<td>" + escape_markup(cell.text);
      if (!cell.origin.empty()) {
        html += fmt::format("<span class=\"origin\">{}</span>", escape_markup(cell.origin));
      }
      html += "</td>";
    }
    if (row.sample) {
      html +=
          fmt::format("<td><a href=\"#{}\">read</a></td>", sample_anchor(experiment, *row.sample));
    } else if (has_samples) {
      html += "<td></td>";
    }
    html += "</tr>\n";
  }
  return html + "</table></div>\n";
}

std::string experiment_html(const Experiment& experiment) {
  std::string html = fmt::format(
      "<h2 id=\"experiment-{0}\">{0}. {1}</h2>\n<p class=\"question\">{2}</p>\n", experiment.number,
      escape_markup(experiment.title), escape_markup(experiment.question));
  if (!experiment.findings.empty()) {
    html += "<ul>\n";
    for (const std::string& finding : experiment.findings) {
      html += fmt::format("<li>{}</li>\n", escape_markup(finding));
    }
    html += "</ul>\n";
  }
  if (!experiment.plots.empty()) {
    html += "<div class=\"plots\">\n";
    for (const Plot& plot : experiment.plots) {
      html += fmt::format("<figure><figcaption>{}</figcaption>\n{}</figure>\n",
                          escape_markup(plot.title), to_svg(plot));
    }
    html += "</div>\n";
  }
  for (const Table& table : experiment.tables) html += table_html(table, experiment.number);
  if (experiment.samples.empty()) return html;
  html += fmt::format("<details><summary>{} texts</summary>\n", experiment.samples.size());
  for (std::size_t i = 0; i < experiment.samples.size(); ++i) {
    const Sample& sample = experiment.samples[i];
    html += fmt::format(
        "<details id=\"{}\"><summary>{}</summary><pre><b>{}</b>{}</pre></details>\n",
        sample_anchor(experiment.number, i), escape_markup(sample.title),
        escape_markup(sample.prompt), escape_markup(excerpt(sample.text, kPageExcerpt)));
  }
  return html + "</details>\n";
}

std::string claims_html(const ValidationReport& report) {
  std::string html =
      "<h2 id=\"claims\">Verdicts</h2>\n<div class=\"scroll\"><table class=\"claims\">\n<tr><th "
      "scope=\"col\">the report says</th><th scope=\"col\">here</th><th "
      "scope=\"col\">figures</th></tr>\n";
  for (const Claim& claim : report.claims) {
    html += fmt::format("<tr><td>{}</td><td class=\"{}\">{}</td><td>{}</td></tr>\n",
                        escape_markup(claim.claim), verdict_class(claim.verdict),
                        escape_markup(claim.verdict), escape_markup(claim.figures));
  }
  return html + "</table></div>\n";
}

}  // namespace

std::string escape_markup(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const char32_t c = next_code_point(text, at);
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        append_utf8(c < 0x20 && c != '\n' && c != '\t' ? U'\ufffd' : c, out);
    }
  }
  return out;
}

std::string excerpt(const std::string& text, std::size_t characters_max) {
  std::vector<std::size_t> offsets;  // of each code point
  for (std::size_t at = 0; at < text.size(); next_code_point(text, at)) offsets.push_back(at);
  if (offsets.size() <= characters_max) return text;
  const std::size_t part = characters_max / 3;
  const std::size_t middle = offsets.size() / 2 - part / 2;
  const auto slice = [&](std::size_t from, std::size_t to) {
    const std::size_t end = to < offsets.size() ? offsets[to] : text.size();
    return text.substr(offsets[from], end - offsets[from]);
  };
  return slice(0, part) + "\n[...]\n" + slice(middle, middle + part) + "\n[...]\n" +
         slice(offsets.size() - part, offsets.size());
}

std::string to_html(const ValidationReport& report) {
  std::string html(kHead);
  html +=
      "<p>The experiments of the report of the system that flash-moe starts from, run on this "
      "model. Its figures stand in small print below ours.</p>\n<nav>";
  for (const Experiment& experiment : report.experiments) {
    html += fmt::format("<a href=\"#experiment-{0}\">{0}. {1}</a> ", experiment.number,
                        escape_markup(experiment.title));
  }
  html += "<a href=\"#claims\">Verdicts</a></nav>\n<dl>\n";
  for (const auto& [name, value] : report.setting) {
    html += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escape_markup(name), escape_markup(value));
  }
  html += "</dl>\n<h2>How quality is measured</h2>\n<ul>\n";
  for (const std::string& definition : report.definitions) {
    html += fmt::format("<li>{}</li>\n", escape_markup(definition));
  }
  html += "</ul>\n";
  for (const Experiment& experiment : report.experiments) html += experiment_html(experiment);
  html += claims_html(report);
  html += "<h2>The report's own arithmetic</h2>\n" + table_html(report.origin_arithmetic, 0);
  // A link to a text opens it and what it lies in.
  html += R"(<script>
addEventListener('hashchange', open_target); open_target();
function open_target() {
  const target = document.getElementById(location.hash.slice(1));
  for (let e = target; e; e = e.parentElement) if (e.tagName === 'DETAILS') e.open = true;
  if (target) target.scrollIntoView();
}
</script>
</body>
</html>
)";
  return html;
}

}  // namespace flashmoe
