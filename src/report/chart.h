// Curves and bars as SVG, and text as HTML.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace clutch {

struct Point {
  double x = 0, y = 0;
};

// The mean of each point's y and its neighbours', as many before as behind, about a fiftieth of the points in
// all (401 at most) and fewer at the ends: the curve under the noise, which does not lag behind it.
std::vector<Point> smoothed(const std::vector<Point>& points);

struct Series {
  std::vector<Point> noisy;   // drawn faintly
  std::vector<Point> line;    // drawn over it
  std::vector<Point> points;  // drawn as dots
};

// A chart with axes that fit all finite points; empty where there are none. At most about a thousand points
// of a line are drawn, evenly chosen. `title` is what a screen reader says.
std::string chart(std::string_view title, const Series& series);

// Sixteen bars of sixteen values each.
std::string histogram_svg(const std::array<std::uint64_t, 256>& counts);

// For text and attributes; control bytes but line ends and tabs, and what is no UTF-8, become U+FFFD.
std::string escape_html(std::string_view text);

}  // namespace clutch
