#include "report/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "report/chart.h"

namespace clutch {
namespace {

using nlohmann::json;

constexpr std::size_t kMostSamples = 20;

constexpr const char* kStyle = R"(
:root{color-scheme:light dark;--ink:#1b1b1f;--soft:#62646c;--paper:#fbfbfd;--line:#d9dae0;--a:#2457c5;--b:#c2410c}
@media(prefers-color-scheme:dark){:root{--ink:#ececf1;--soft:#a0a2ab;--paper:#17181c;--line:#34363d;--a:#7aa2ff;--b:#fb923c}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:62rem;padding:1rem;background:var(--paper);color:var(--ink);font:1rem/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.15rem;margin:2rem 0 .5rem}
dl.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));gap:.75rem;margin:1rem 0}
dl.facts div{border:1px solid var(--line);border-radius:.5rem;padding:.5rem .75rem}
dt{color:var(--soft);font-size:.85rem}dd{margin:0;font-weight:600;overflow-wrap:anywhere}
svg{width:100%;height:auto;display:block}
svg text{fill:var(--soft);font:12px system-ui,sans-serif}
svg .grid{stroke:var(--line)}svg .a{stroke:var(--a);fill:none;stroke-width:1.6}svg .faint{stroke:var(--a);opacity:.35;fill:none}
svg .dot{fill:var(--b)}svg .bar{fill:var(--a)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.2rem .6rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
.note{border-left:.25rem solid var(--b);padding:.25rem .75rem;margin:.5rem 0}
pre{white-space:pre-wrap;overflow-wrap:anywhere;border:1px solid var(--line);border-radius:.5rem;padding:.5rem .75rem}
.key a{color:var(--a)}.key b{color:var(--b)}
)";

std::string section(const std::string& title, const std::string& body) {
  return body.empty() ? "" : fmt::format("<section><h2>{}</h2>\n{}</section>\n", title, body);
}

std::string facts(const RunReport& report) {
  std::string text = "<dl class=\"facts\">\n";
  for (const auto& [name, value] : report.facts) {
    text += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>\n", escape_html(name), escape_html(value));
  }
  return text + "</dl>\n";
}

std::string notes(const std::vector<std::string>& notes) {
  std::string text;
  for (const std::string& words : notes)
    text += fmt::format("<p class=\"note\">{}</p>\n", escape_html(words));
  return text;
}

template <class F>
std::vector<Point> curve(const Metrics& metrics, F value) {
  std::vector<Point> points;
  for (const MetricsLine& line : metrics.lines) points.push_back({line.tokens, value(line)});
  return points;
}

std::string curves(const Metrics& metrics) {
  const auto loss = curve(metrics, [](const MetricsLine& l) { return l.bits; });
  std::vector<Point> held_out, speed;
  for (std::size_t i = 0; i < metrics.lines.size(); ++i) {
    const MetricsLine& line = metrics.lines[i];
    if (line.valid_bits) held_out.push_back({line.tokens, *line.valid_bits});
    if (i == 0) continue;
    const double seconds = line.seconds - metrics.lines[i - 1].seconds;
    if (seconds > 0) speed.push_back({line.tokens, (line.tokens - metrics.lines[i - 1].tokens) / seconds});
  }
  const auto moved = curve(metrics, [](const MetricsLine& l) { return 100 * l.moved; });
  const auto tied = curve(metrics, [](const MetricsLine& l) { return 100 * l.tied; });
  const std::string loss_chart =
      chart("Loss in bits per token over evaluated tokens", {loss, smoothed(loss), held_out});
  std::string text;
  if (!loss_chart.empty())
    text = section("Loss",
                   "<p class=\"key\">Bits per token over evaluated tokens: the population with its noise "
                   "(line: running mean) and <b>● held-out text without noise</b>.</p>\n" +
                       loss_chart);
  text += section("Speed",
                  chart("Evaluated tokens per second over evaluated tokens", {speed, smoothed(speed), {}}));
  text += section("Weights moved, in percent of all",
                  chart("Percent of weights moved at each step", {moved, smoothed(moved), {}}));
  text += section("Tied pairs, in percent of all",
                  chart("Percent of pairs tied at each step", {tied, smoothed(tied), {}}));
  return text;
}

std::string held_out_table(const Metrics& metrics) {
  std::string rows;
  for (const MetricsLine& line : metrics.lines) {
    if (!line.valid_bits) continue;
    rows += fmt::format("<tr><td>{}</td><td>{:.0f}</td><td>{:.4f}</td><td>{:.4f}</td><td>{}</td></tr>\n",
                        line.step, line.tokens, line.bits, *line.valid_bits, escape_html(line.digest));
  }
  if (rows.empty()) return "";
  return "<details><summary>Numbers and digests</summary><div class=\"scroll\" "
         "tabindex=\"0\"><table>\n<tr><th>step</th>"
         "<th>evaluated tokens</th><th>with noise</th><th>held out</th><th>digest</th></tr>\n" +
         rows + "</table></div></details>\n";
}

std::string row_of(const std::string& name, const Numbers& n, const std::string& moved) {
  return fmt::format(
      "<tr><td>{}</td><td>{} to "
      "{}</td><td>{:.2f}</td><td>{:.2f}</td><td>{:.2f}</td><td>{:.2f}</td><td>{:.2f}</td>"
      "<td>{}</td><td>{}</td></tr>\n",
      escape_html(name), n.least(), n.most(), n.mean(), n.deviation(), n.entropy(), 100 * n.saturated(),
      100 * n.zeros(), moved, histogram_svg(n.histogram()));
}

std::string health(const std::optional<Inspection>& inspection) {
  if (!inspection) return "";
  std::string text =
      notes(inspection->warnings) +
      "<div class=\"scroll\" tabindex=\"0\"><table>\n<tr><th>tensor</th><th>range</th><th>mean</th>"
      "<th>deviation</th><th>entropy</th><th>at end %</th><th>zero %</th><th>moved %</th>"
      "<th>-128 to 127</th></tr>\n";
  for (const TensorReport& t : inspection->tensors) {
    text += row_of(t.name, t.numbers, t.moved ? fmt::format("{:.2f}", 100 * *t.moved) : "-");
  }
  for (const InstructionReport& i : inspection->instructions) text += row_of(i.slot, i.numbers, "-");
  return text + "</table></div>\n";
}

// The last heads there are, and how the mean of them went.
std::string attention(const Metrics& metrics) {
  std::vector<Point> shares;  // mean of the heads, in percent
  const MetricsLine* last = nullptr;
  for (const MetricsLine& line : metrics.lines) {
    double sum = 0;
    for (const HeadLine& head : line.heads) sum += head.most > 0 ? head.bits / head.most : 0;
    if (line.heads.empty()) continue;
    shares.push_back({line.tokens, 100 * sum / static_cast<double>(line.heads.size())});
    last = &line;
  }
  if (last == nullptr) return "";
  std::string text = fmt::format(
      "<p>Entropy of the attention weights at step {}, in bits, against its maximum: near 0 a head looks at "
      "one position, near the maximum at all alike.</p>\n",
      last->step);
  text += chart("Mean of all heads, in percent of the maximum", {{}, shares, {}});
  text +=
      "<div class=\"scroll\" tabindex=\"0\"><table>\n<tr><th>head</th><th>entropy</th><th>at most</th>"
      "<th>share %</th></tr>\n";
  for (const HeadLine& head : last->heads) {
    text += fmt::format("<tr><td>{}</td><td>{:.2f}</td><td>{:.2f}</td><td>{:.1f}</td></tr>\n",
                        escape_html(head.name), head.bits, head.most,
                        head.most > 0 ? 100 * head.bits / head.most : 0);
  }
  return text + "</table></div>\n";
}

std::string samples(const Metrics& metrics) {
  std::vector<const MetricsLine*> with;
  for (const MetricsLine& line : metrics.lines) {
    if (line.sample) with.push_back(&line);
  }
  std::string text;
  const std::size_t shown = std::min(with.size(), kMostSamples);
  for (std::size_t i = 0; i < shown; ++i) {
    const MetricsLine& line = *with[shown == 1 ? with.size() - 1 : i * (with.size() - 1) / (shown - 1)];
    text += fmt::format("<h3>Step {}</h3><pre>{}</pre>\n", line.step, escape_html(*line.sample));
  }
  return text;
}

std::string config(const RunReport& report) {
  if (report.config.empty()) return "";
  std::string text = "<div class=\"scroll\" tabindex=\"0\"><table>\n";
  for (const auto& [name, value] : report.config) {
    text += fmt::format("<tr><td>{}</td><td>{}</td></tr>\n", escape_html(name), escape_html(value));
  }
  return text + "</table></div>\n";
}

template <class T>
T number(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<T>() : T{};
}

std::string word(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// "inspection": {"results": {slot: {"heads": [{"entropy", "most"}]}}}, as far as it is there.
std::vector<HeadLine> heads_of(const json& line) {
  std::vector<HeadLine> heads;
  const auto inspection = line.find("inspection");
  if (inspection == line.end() || !inspection->is_object()) return heads;
  const auto results = inspection->find("results");
  if (results == inspection->end() || !results->is_object()) return heads;
  for (const auto& [slot, result] : results->items()) {
    const auto list = result.is_object() ? result.find("heads") : result.end();
    if (list == result.end() || !list->is_array()) continue;
    for (std::size_t h = 0; h < list->size(); ++h) {
      const json& head = (*list)[h];
      if (!head.is_object()) continue;
      heads.push_back(
          {fmt::format("{} {}", slot, h), number<double>(head, "entropy"), number<double>(head, "most")});
    }
  }
  return heads;
}

}  // namespace

Metrics parse_metrics(std::string_view text) {
  Metrics metrics;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const json object = json::parse(text.substr(0, end), nullptr, false);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!object.is_object() || !object.contains("step")) {
      ++metrics.unreadable;
      continue;
    }
    MetricsLine line{.step = number<std::uint64_t>(object, "step"),
                     .tokens = number<double>(object, "evaluated_tokens"),
                     .seconds = number<double>(object, "seconds"),
                     .bits = number<double>(object, "bits_per_byte"),
                     .valid_bits = {},
                     .moved = number<double>(object, "moved"),
                     .tied = number<double>(object, "tied"),
                     .core_seconds = {},
                     .distinct_tokens = {},
                     .heads = heads_of(object),
                     .digest = word(object, "digest"),
                     .sample = {}};
    if (object.contains("core_seconds")) line.core_seconds = number<double>(object, "core_seconds");
    if (object.contains("distinct_tokens")) line.distinct_tokens = number<double>(object, "distinct_tokens");
    if (object.contains("valid_bits_per_byte"))
      line.valid_bits = number<double>(object, "valid_bits_per_byte");
    if (object.contains("sample")) line.sample = word(object, "sample");
    metrics.lines.push_back(std::move(line));
  }
  return metrics;
}

std::string report_html(const RunReport& report) {
  std::string page = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<link rel=\"icon\" href=\"data:,\">\n<title>{0}</title>\n<style>{1}</style>\n</head>\n<body>\n<main>\n"
      "<h1>{0}</h1>\n",
      escape_html(report.title), kStyle);
  page += notes(report.notes) + facts(report);
  page += curves(report.metrics) + held_out_table(report.metrics);
  page += section("Health of the last checkpoint", health(report.inspection));
  page += section("Attention", attention(report.metrics));
  page += section("Samples", samples(report.metrics));
  page += section("Configuration", config(report));
  return page + "</main>\n</body>\n</html>\n";
}

}  // namespace clutch
