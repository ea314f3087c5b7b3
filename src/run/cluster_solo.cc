// The cluster of a build without MPI: one process. Started by mpirun, it refuses to train the same run R
// times.
#include <cstdlib>

#include "run/cluster.h"

namespace clutch {

Result<std::unique_ptr<Cluster>> join_cluster(int) {
  const char* ranks = std::getenv("OMPI_COMM_WORLD_SIZE");
  if (ranks != nullptr && std::string_view(ranks) != "1") {
    return fail("mpirun", std::string("started ") + ranks + " ranks, but " + mpi_unavailable(),
                "install libopenmpi-dev and build again");
  }
  return std::make_unique<Cluster>();
}

std::string mpi_unavailable() { return "this build has no MPI"; }

}  // namespace clutch
