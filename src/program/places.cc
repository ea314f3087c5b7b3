#include "program/places.h"

#include <algorithm>
#include <utility>

namespace clutch {

Places place(const std::vector<Lifetime>& values) {
  Places places;
  for (const Lifetime& value : values) {
    std::vector<std::pair<std::int64_t, std::int64_t>> taken;
    for (std::size_t other = 0; other < places.offsets.size(); ++other) {
      const Lifetime& o = values[other];
      if (o.first <= value.last && value.first <= o.last) {
        taken.emplace_back(places.offsets[other], places.offsets[other] + o.bytes);
      }
    }
    std::sort(taken.begin(), taken.end());
    std::int64_t offset = 0;
    for (const auto& [begin, end] : taken) {
      if (offset + value.bytes <= begin) break;
      offset = std::max(offset, end);
    }
    places.offsets.push_back(offset);
    places.bytes = std::max(places.bytes, offset + value.bytes);
  }
  return places;
}

}  // namespace clutch
