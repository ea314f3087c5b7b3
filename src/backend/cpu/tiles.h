// How the pairs of a request are shared out among threads: in rounds of a tile for each, all of about one
// size; but where there are many rounds, the last one's tiles come in pieces, so that at the end no thread
// waits long for one that others of the machine hold up. Results do not depend on it.
#pragma once

#include <algorithm>
#include <cstdint>

namespace clutch::cpu {

class Tiles {
 public:
  // Of up to `members` members, pieces of at least `least` pairs; of at least one pair in any case.
  Tiles(std::uint32_t pairs, std::uint32_t threads, std::uint32_t members, std::uint32_t least)
      : pairs_(pairs) {
    const std::uint32_t rounds = (2 * pairs + threads * members - 1) / (threads * members);
    if (rounds >= kManyRounds) pieces_ = std::clamp(pairs / (rounds * threads * least), 1U, kMostPieces);
    whole_ = (rounds - 1) * threads;
    count_ = std::min(pairs, whole_ + threads * pieces_);
    parts_ = begins_with(count_);
  }
  std::uint32_t count() const { return count_; }
  // Of tile 0 .. count(), where the last is the end.
  std::uint32_t first_pair(std::uint32_t tile) const {
    return static_cast<std::uint32_t>(std::uint64_t{pairs_} * begins_with(tile) / parts_);
  }
  // In the largest tile.
  std::uint32_t most_members() const {
    const std::uint32_t largest = whole_ > 0 ? pieces_ : 1;
    return static_cast<std::uint32_t>((std::uint64_t{pairs_} * largest + parts_ - 1) / parts_) * 2;
  }

 private:
  static constexpr std::uint32_t kManyRounds = 4, kMostPieces = 4;
  // The part of all, of a piece's size each, at which a tile begins.
  std::uint32_t begins_with(std::uint32_t tile) const {
    return tile < whole_ ? tile * pieces_ : whole_ * pieces_ + tile - whole_;
  }
  std::uint32_t pairs_, pieces_ = 1, whole_, count_, parts_;
};

}  // namespace clutch::cpu
