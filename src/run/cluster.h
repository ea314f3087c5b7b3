// The processes that train one run together: who they are and how they exchange bytes. One process alone is a
// cluster of one; several come from MPI (cluster_mpi.cc), where the build has it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace clutch {

class Cluster {
 public:
  virtual ~Cluster() = default;
  virtual int rank() const { return 0; }
  virtual int size() const { return 1; }

  // Every rank gives its bytes and gets everybody's, by rank. Sizes may differ. Fails where a rank is lost or
  // silent for longer than the timeout; the job is then over.
  virtual Result<std::vector<std::string>> gather(std::string_view bytes) {
    return std::vector<std::string>{std::string(bytes)};
  }

  // Ends the whole job with exit status 1, where other ranks may still wait for this one. Returns where there
  // are none.
  virtual void abandon() {}

  bool writes() const { return rank() == 0; }  // only rank 0 touches the run folder

  // Items [first, first + count) of `items` are this rank's: as even as they divide.
  struct Share {
    std::uint32_t first, count;
  };
  Share share(std::uint32_t items) const { return share(items, rank()); }
  Share share(std::uint32_t items, int rank_of) const {
    const auto at = [&](int r) {
      return static_cast<std::uint32_t>(std::uint64_t{items} * static_cast<std::uint64_t>(r) /
                                        static_cast<std::uint64_t>(size()));
    };
    return {at(rank_of), at(rank_of + 1) - at(rank_of)};
  }
};

// The cluster this process was started in: MPI's, if the build has it and mpirun started it, else one process
// alone. timeout_seconds bounds each exchange.
Result<std::unique_ptr<Cluster>> join_cluster(int timeout_seconds);

// Why there is no MPI in this build; empty where there is.
std::string mpi_unavailable();

}  // namespace clutch
