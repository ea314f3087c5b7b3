// Whether a core is ours alone. Guests of one host share its cores by hardware threads that no guest sees:
// while another one works there, each instruction here waits for slots of the core that the other's take, and
// no clock tells.
#pragma once

#include <vector>

namespace clutch::bench {

// Independent additions per cycle that the calling thread gets, measured for about 3 ms. Cycles are counted
// by a chain of dependent multiplications, three each: it leaves most slots free, so that a neighbour hardly
// slows it down, and it follows the processor's frequency. The unit depends on the processor; a core of ours
// alone gives always the same, and the most (5.8 on an Intel Xeon of family 6, model 207), a shared one down
// to half.
double additions_per_cycle();

// Of measurements by the same processor, whether each met a core of ours alone: at least 0.95 of the most
// that this process ever measured. Believe it only once that most was seen; in seconds on a machine that is
// ever idle.
std::vector<bool> undisturbed(const std::vector<double>& measured);

}  // namespace clutch::bench
