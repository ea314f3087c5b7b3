// The cluster of Open MPI. Exchanges are started without blocking and polled, so that a silent rank ends the
// job with a reason instead of hanging it.
#include <fmt/format.h>
#include <mpi.h>

#include <chrono>
#include <climits>
#include <cstdlib>
#include <thread>

#include "run/cluster.h"

namespace clutch {
namespace {

class MpiCluster : public Cluster {
 public:
  explicit MpiCluster(int timeout_seconds) : timeout_(timeout_seconds) {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  }

  ~MpiCluster() override { MPI_Finalize(); }

  void abandon() override {
    if (size_ == 1) return;
    // Ranks that know the reason as well get a moment to say it before they are killed.
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    MPI_Abort(MPI_COMM_WORLD, 1);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  Result<std::vector<std::string>> gather(std::string_view bytes) override {
    if (bytes.size() > INT_MAX)
      return fail("mpirun", "a message is over 2 GiB", "use fewer members or more ranks");
    const int mine = static_cast<int>(bytes.size());
    std::vector<int> counts(size_), places(size_);
    MPI_Request request;
    CLUTCH_RETURN_IF_ERROR(wait(
        MPI_Iallgather(&mine, 1, MPI_INT, counts.data(), 1, MPI_INT, MPI_COMM_WORLD, &request), request));
    std::int64_t total = 0;
    for (int r = 0; r < size_; ++r) {
      places[r] = static_cast<int>(total);
      total += counts[r];
      if (total > INT_MAX) return lose("the ranks' messages are over 2 GiB together");
    }
    std::string all(static_cast<std::size_t>(total), '\0');
    CLUTCH_RETURN_IF_ERROR(wait(MPI_Iallgatherv(bytes.data(), mine, MPI_BYTE, all.data(), counts.data(),
                                                places.data(), MPI_BYTE, MPI_COMM_WORLD, &request),
                                request));
    std::vector<std::string> parts;
    for (int r = 0; r < size_; ++r)
      parts.push_back(all.substr(static_cast<std::size_t>(places[r]), static_cast<std::size_t>(counts[r])));
    return parts;
  }

 private:
  Status lose(const std::string& what) {
    return fail(fmt::format("rank {}", rank_), what,
                "go on with the same command and --resume, on any number of ranks");
  }

  Status wait(int started, MPI_Request& request) {
    if (started != MPI_SUCCESS) return lose("an exchange could not be started");
    const auto begin = std::chrono::steady_clock::now();
    for (int polls = 0;; ++polls) {
      int done = 0;
      if (MPI_Test(&request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS)
        return lose("the connection to another rank is lost");
      if (done != 0) return {};
      if (std::chrono::steady_clock::now() - begin > std::chrono::seconds(timeout_)) {
        return lose(fmt::format("another rank has been silent for {} s (--timeout)", timeout_));
      }
      // The answer is usually microseconds away; a core is not worth burning for one that is not.
      if (polls > 1000) std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }

  const int timeout_;
  int rank_ = 0, size_ = 1;
};

}  // namespace

Result<std::unique_ptr<Cluster>> join_cluster(int timeout_seconds) {
  if (std::getenv("OMPI_COMM_WORLD_SIZE") == nullptr) return std::make_unique<Cluster>();
  int provided = 0;
  // Training threads never call MPI; only this one does.
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) {
    return fail("mpirun", "MPI could not be started", "check the MPI installation");
  }
  return std::unique_ptr<Cluster>(std::make_unique<MpiCluster>(timeout_seconds));
}

std::string mpi_unavailable() { return ""; }

}  // namespace clutch
