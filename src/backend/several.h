// Several backends as one: members are dealt out by pairs, all evaluate at the same time, and each computes
// the whole update, so that their weights stay equal, as the ranks of a cluster do (run/cluster.h).
#pragma once

#include <memory>
#include <vector>

#include "backend/backend.h"

namespace clutch {

// Of at least one backend. Shares are equal, whatever the backends: the slowest decides. An update whose
// digests differ is a failure that names the two.
std::unique_ptr<Backend> make_several_backends(std::vector<std::unique_ptr<Backend>> parts);

}  // namespace clutch
