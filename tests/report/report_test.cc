// The page of a run: what it says, that nothing from a file can break it, and that it asks for nothing.
#include "report/report.h"

#include <gtest/gtest.h>

#include <cmath>

#include "report/chart.h"

namespace clutch {
namespace {

TEST(ParseMetrics, TakesWhatIsThere) {
  const Metrics metrics = parse_metrics(
      "{\"step\": 1, \"evaluated_tokens\": 100, \"bits_per_byte\": 8.5, \"moved\": 0.25, \"tied\": 0.5, "
      "\"seconds\": 0.1, \"digest\": \"ab\"}\n"
      "no json\n"
      "[1]\n"
      "{\"step\": 2, \"valid_bits_per_byte\": 7.5, \"sample\": \"text\", \"moved\": \"wrong\"}\n"
      "{\"step\": 3, \"bits_per");
  ASSERT_EQ(metrics.lines.size(), 2u);
  EXPECT_EQ(metrics.unreadable, 3u);
  EXPECT_EQ(metrics.lines[0].tokens, 100);
  EXPECT_EQ(metrics.lines[0].bits, 8.5);
  EXPECT_FALSE(metrics.lines[0].valid_bits);
  EXPECT_EQ(metrics.lines[1].valid_bits, 7.5);
  EXPECT_EQ(metrics.lines[1].sample, "text");
  EXPECT_EQ(metrics.lines[1].moved, 0);
  EXPECT_TRUE(parse_metrics("").lines.empty());
}

TEST(EscapeHtml, LeavesNothingToActOn) {
  EXPECT_EQ(escape_html("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
  EXPECT_EQ(escape_html("gr\xC3\xBC\xC3\x9F\n\t"), "gr\xC3\xBC\xC3\x9F\n\t");
  for (const char* wrong :
       {"\xFF", "\x80", "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\x1B", "\xC3"}) {
    const std::string escaped = escape_html(wrong);
    EXPECT_EQ(escaped.substr(0, 3), "\xEF\xBF\xBD") << escaped;
  }
}

TEST(Chart, DrawsWhatIsFinite) {
  EXPECT_EQ(chart("none", {}), "");
  EXPECT_EQ(chart("none", {{{NAN, 1}}, {{1, INFINITY}}, {}}), "");
  const std::string one = chart("one", {{{5, 3}}, {}, {{5, 3}}});  // a range of one value
  EXPECT_EQ(one.find("nan"), std::string::npos);
  EXPECT_EQ(one.find("inf"), std::string::npos);
  EXPECT_NE(one.find("<circle"), std::string::npos);
}

TEST(Chart, ThinsLongLines) {
  std::vector<Point> points;
  for (int i = 0; i < 100000; ++i) points.push_back({static_cast<double>(i), std::sin(i)});
  EXPECT_LT(chart("long", {points, {}, {}}).size(), 40000u);
}

TEST(Smoothed, FollowsWithoutLagAndForgetsOutliers) {
  EXPECT_TRUE(smoothed({}).empty());
  std::vector<Point> points;
  for (int i = 0; i < 1000; ++i) points.push_back({static_cast<double>(i), 1000.0 - 2 * i});
  std::vector<Point> means = smoothed(points);
  ASSERT_EQ(means.size(), points.size());
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(means[i].x, points[i].x);
    EXPECT_EQ(means[i].y, points[i].y);  // a straight line is its own mean
  }
  points[500].y = 1e308;
  means = smoothed(points);
  EXPECT_GT(means[495].y, 1e306);
  EXPECT_EQ(means[480].y, points[480].y);
  EXPECT_EQ(means[520].y, points[520].y);
}

RunReport full_report() {
  RunReport report{.title = "run <1>"};
  report.metrics = parse_metrics(
      "{\"step\": 1, \"evaluated_tokens\": 100, \"bits_per_byte\": 8.5, \"seconds\": 1}\n"
      "{\"step\": 2, \"evaluated_tokens\": 200, \"bits_per_byte\": 8, \"seconds\": 2, "
      "\"valid_bits_per_byte\": 7.9, "
      "\"sample\": \"<script>alert(1)</script>\"}\n");
  report.config = {{"seed", "\"&"}};
  report.notes = {"a <note>"};
  report.inspection.emplace();
  report.inspection->tensors.push_back({"<emb>", {2}, {}, 0.5});
  report.inspection->warnings = {"<warned>"};
  return report;
}

TEST(Report, EscapesWhatComesFromFiles) {
  const std::string page = report_html(full_report());
  for (const char* raw : {"<script", "<note>", "<warned>", "<emb>", "run <1>"})
    EXPECT_EQ(page.find(raw), std::string::npos) << raw;
  EXPECT_NE(page.find("&lt;script&gt;alert(1)"), std::string::npos);
}

TEST(Report, AsksForNothing) {
  const std::string page = report_html(full_report());
  for (const char* request : {"http", "src=", "url(", "@import"})
    EXPECT_EQ(page.find(request), std::string::npos);
}

TEST(Report, ShowsTheLastHeadsThereAre) {
  RunReport report;
  report.metrics = parse_metrics(
      "{\"step\": 1, \"evaluated_tokens\": 100, \"inspection\": {\"results\": {\"a\": {\"mean\": 1}, "
      "\"mixed\": "
      "{\"heads\": [{\"entropy\": 2, \"most\": 4}]}}}}\n"
      "{\"step\": 2, \"evaluated_tokens\": 200, \"inspection\": {\"results\": {\"mixed\": {\"heads\": "
      "[{\"entropy\": "
      "1, \"most\": 4}, {\"entropy\": 4, \"most\": 4}, 7]}, \"b\": {\"heads\": 3}}}}\n"
      "{\"step\": 3, \"inspection\": 5}\n"
      "{\"step\": 4, \"inspection\": {\"results\": [1]}}\n");
  ASSERT_EQ(report.metrics.lines.size(), 4u);
  ASSERT_EQ(report.metrics.lines[1].heads.size(), 2u);
  EXPECT_EQ(report.metrics.lines[1].heads[1].name, "mixed 1");
  const std::string page = report_html(report);
  EXPECT_NE(page.find("at step 2, in bits"), std::string::npos);
  EXPECT_NE(page.find("<td>mixed 0</td><td>1.00</td><td>4.00</td><td>25.0</td>"), std::string::npos);
  EXPECT_NE(page.find("Mean of all heads"), std::string::npos);
}

TEST(Report, OfNothingIsStillAPage) {
  const std::string page = report_html({});
  EXPECT_NE(page.find("<h1></h1>"), std::string::npos);
  EXPECT_EQ(page.find("<svg"), std::string::npos);
}

}  // namespace
}  // namespace clutch
