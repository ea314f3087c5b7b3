#include "report/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/utf8.h"

namespace clutch {
namespace {

constexpr double kWidth = 800, kHeight = 300, kLeft = 56, kRight = 12, kTop = 10, kBottom = 28;
constexpr std::size_t kMostPoints = 1000;

struct Range {
  double least = 0, most = 0;
  bool any = false;
  void include(double v) {
    least = any ? std::min(least, v) : v;
    most = any ? std::max(most, v) : v;
    any = true;
  }
  // A range of one value gets some room round it.
  void widen() {
    if (most > least) return;
    const double room = least == 0 ? 1 : std::abs(least) / 10;
    least -= room;
    most += room;
  }
};

bool drawable(const Point& p) { return std::isfinite(p.x) && std::isfinite(p.y); }

// 1, 2 or 5 times a power of ten, so that about `count` of them make the range.
double tick_step(const Range& range, int count) {
  const double rough = (range.most - range.least) / count,
               power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough) return factor * power;
  }
  return 10 * power;
}

std::string tick_text(double v) {
  static constexpr struct {
    double unit;
    const char* name;
  } kUnits[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}};
  for (const auto& [unit, name] : kUnits) {
    if (std::abs(v) >= unit) return fmt::format("{:.4g}{}", v / unit, name);
  }
  return fmt::format("{:.4g}", v);
}

class Chart {
 public:
  explicit Chart(const Series& series) {
    for (const auto* points : {&series.noisy, &series.line, &series.points}) {
      for (const Point& p : *points) {
        if (!drawable(p)) continue;
        x_.include(p.x);
        y_.include(p.y);
      }
    }
    x_.widen();
    y_.widen();
  }
  bool empty() const { return !x_.any; }

  std::string axes() const {
    std::string text;
    const double step_x = tick_step(x_, 6), step_y = tick_step(y_, 5);
    for (double v = std::ceil(y_.least / step_y) * step_y; v <= y_.most; v += step_y) {
      text += fmt::format("<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>", kLeft,
                          kWidth - kRight, y(v), y(v));
      text += fmt::format("<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", kLeft - 6, y(v) + 4,
                          tick_text(std::abs(v) < step_y / 1e6 ? 0 : v));
    }
    for (double v = std::ceil(x_.least / step_x) * step_x; v <= x_.most; v += step_x) {
      text += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", x(v), kHeight - 8,
                          tick_text(v));
    }
    return text;
  }

  std::string line(const std::vector<Point>& points, const char* style) const {
    std::string path;
    const std::size_t every = std::max<std::size_t>(1, points.size() / kMostPoints);
    for (std::size_t i = 0; i < points.size(); ++i) {
      if (!drawable(points[i]) || (i % every != 0 && i + 1 != points.size())) continue;
      path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", x(points[i].x), y(points[i].y));
    }
    return path.empty() ? "" : fmt::format("<path class=\"{}\" d=\"{}\"/>\n", style, path);
  }

  std::string dots(const std::vector<Point>& points) const {
    std::string text;
    for (const Point& p : points) {
      if (!drawable(p)) continue;
      text += fmt::format(
          "<circle class=\"dot\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\"><title>{:.4f}</title></circle>\n",
          x(p.x), y(p.y), p.y);
    }
    return text;
  }

 private:
  double x(double v) const {
    return kLeft + (v - x_.least) / (x_.most - x_.least) * (kWidth - kLeft - kRight);
  }
  double y(double v) const {
    return kHeight - kBottom - (v - y_.least) / (y_.most - y_.least) * (kHeight - kTop - kBottom);
  }
  Range x_, y_;
};

}  // namespace

std::vector<Point> smoothed(const std::vector<Point>& points) {
  constexpr std::size_t kMostAround = 200;  // each side; charts of longer lines are thinned anyway
  const std::size_t most = std::min(points.size() / 100 + 1, kMostAround);
  std::vector<Point> result;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const std::size_t around = std::min({most, i, points.size() - 1 - i});
    double sum = 0;
    for (std::size_t k = i - around; k <= i + around; ++k) sum += points[k].y;
    result.push_back({points[i].x, sum / static_cast<double>(2 * around + 1)});
  }
  return result;
}

std::string chart(std::string_view title, const Series& series) {
  const Chart c(series);
  if (c.empty()) return "";
  return fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n", kWidth, kHeight,
                     escape_html(title)) +
         c.axes() + c.line(series.noisy, "faint") + c.line(series.line, "a") + c.dots(series.points) +
         "</svg>\n";
}

std::string histogram_svg(const std::array<std::uint64_t, 256>& counts) {
  std::array<std::uint64_t, 16> bins{};
  for (std::size_t i = 0; i < counts.size(); ++i) bins[i / 16] += counts[i];
  const auto most =
      static_cast<double>(std::max<std::uint64_t>(1, *std::max_element(bins.begin(), bins.end())));
  std::string text = "<svg viewBox=\"0 0 96 24\" style=\"width:6rem\" role=\"img\" aria-label=\"histogram\">";
  for (std::size_t i = 0; i < bins.size(); ++i) {
    const double height = 24 * static_cast<double>(bins[i]) / most;
    if (bins[i] > 0) {
      text += fmt::format("<rect class=\"bar\" x=\"{}\" y=\"{:.1f}\" width=\"5\" height=\"{:.1f}\"/>", 6 * i,
                          24 - height, height);
    }
  }
  return text + "</svg>";
}

std::string escape_html(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t bytes = utf8_character_bytes(text);
    const auto first = static_cast<unsigned char>(text[0]);
    const bool control = (first < 32 && first != '\n' && first != '\t') || first == 127;
    if (bytes == 0 || control) {
      out += "\xEF\xBF\xBD";
    } else if (first == '&') {
      out += "&amp;";
    } else if (first == '<') {
      out += "&lt;";
    } else if (first == '>') {
      out += "&gt;";
    } else if (first == '"') {
      out += "&quot;";
    } else {
      out += text.substr(0, bytes);
    }
    text.remove_prefix(std::max<std::size_t>(1, bytes));
  }
  return out;
}

}  // namespace clutch
