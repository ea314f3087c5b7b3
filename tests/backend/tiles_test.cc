// Tiles share out every pair once, in order, none of them empty or larger than it may be.
#include "backend/cpu/tiles.h"

#include <gtest/gtest.h>

namespace clutch::cpu {
namespace {

TEST(Tiles, CoverAllPairsOnce) {
  for (std::uint32_t pairs = 1; pairs < 700; ++pairs) {
    for (const std::uint32_t threads : {1, 2, 3, 7, 16, 64}) {
      for (const std::uint32_t members : {2, 3, 4, 13, 16, 17, 48}) {
        for (const std::uint32_t least : {1, 4}) {
          const Tiles tiles(pairs, threads, members, least);
          SCOPED_TRACE(testing::Message() << pairs << " pairs, " << threads << " threads, " << members
                                          << " members, pieces of " << least);
          ASSERT_EQ(tiles.first_pair(0), 0);
          ASSERT_EQ(tiles.first_pair(tiles.count()), pairs);
          for (std::uint32_t tile = 0; tile < tiles.count(); ++tile) {
            ASSERT_LT(tiles.first_pair(tile), tiles.first_pair(tile + 1)) << "tile " << tile;
            const std::uint32_t size = 2 * (tiles.first_pair(tile + 1) - tiles.first_pair(tile));
            ASSERT_LE(size, tiles.most_members()) << "tile " << tile;
            ASSERT_LE(size, members + 1) << "tile " << tile;
          }
        }
      }
    }
  }
}

TEST(Tiles, TheLastRoundComesInPieces) {
  const Tiles many(512, 2, 16, 4), few(48, 2, 16, 4);
  EXPECT_EQ(many.count(), 62 + 4);
  EXPECT_EQ(many.first_pair(1), 8);
  EXPECT_EQ(512 - many.first_pair(65), 4);
  EXPECT_EQ(few.count(), 6);
  EXPECT_EQ(48 - few.first_pair(5), 8);
}

}  // namespace
}  // namespace clutch::cpu
