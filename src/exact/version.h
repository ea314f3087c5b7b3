// The version of the meaning. Any change of a formula, a rounding, a table or a noise key bumps it, together
// with the golden digests. Every file that depends on the meaning carries it.
#pragma once

namespace clutch::exact {

constexpr int kSemanticVersion = 1;

}  // namespace clutch::exact
