#include "nn/mpi.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "core/error.h"

#ifdef PARE_WITH_MPI
#define OMPI_SKIP_MPICXX 1
#include <mpi.h>
#include <sched.h>
#endif

namespace pare::nn {

namespace {

/// The number in an environment variable, or 0.
int number_in(const char* name) {
  const char* text = std::getenv(name);
  return text ? std::atoi(text) : 0;
}

#ifdef PARE_WITH_MPI

/// Blocking calls have a communicator of their own: MPI pairs calls of one communicator by their
/// order, and sums in the background are not done when the next call comes.
class MpiGroup final : public Communicator {
 public:
  MpiGroup() {
    int level = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &level);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    MPI_Comm_dup(MPI_COMM_WORLD, &background_);
    processors_ = count_processors();
  }
  ~MpiGroup() override {
    MPI_Comm_free(&background_);
    MPI_Finalize();
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int processors() const override { return processors_; }

  void sum(std::span<double> values) override {
    MPI_Allreduce(MPI_IN_PLACE, values.data(), count(values.size()), MPI_DOUBLE, MPI_SUM,
                  MPI_COMM_WORLD);
  }
  void start_sum(std::span<float> values) override {
    MPI_Iallreduce(MPI_IN_PLACE, values.data(), count(values.size()), MPI_FLOAT, MPI_SUM,
                   background_, &running_.emplace_back());
  }
  void progress() override {
    if (running_.empty()) return;
    int done = 0;
    MPI_Testall(count(running_.size()), running_.data(), &done, MPI_STATUSES_IGNORE);
    if (done) running_.clear();
  }
  void finish_sums() override {
    MPI_Waitall(count(running_.size()), running_.data(), MPI_STATUSES_IGNORE);
    running_.clear();
  }
  void broadcast(std::span<std::byte> bytes) override {
    constexpr size_t kMost = size_t{1} << 30;  // MPI counts with int
    for (size_t at = 0; at < bytes.size(); at += kMost) {
      const std::span<std::byte> part = bytes.subspan(at, std::min(kMost, bytes.size() - at));
      MPI_Bcast(part.data(), count(part.size()), MPI_BYTE, 0, MPI_COMM_WORLD);
    }
  }

 private:
  /// A processor that several processes of this machine may use counts as a part of one for each.
  static int count_processors() {
    cpu_set_t mine;
    CPU_ZERO(&mine);
    if (sched_getaffinity(0, sizeof mine, &mine) != 0) return 1;
    std::array<int, CPU_SETSIZE> users{};
    for (size_t i = 0; i < users.size(); ++i) users[i] = CPU_ISSET(i, &mine) ? 1 : 0;
    MPI_Comm machine;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine);
    MPI_Allreduce(MPI_IN_PLACE, users.data(), count(users.size()), MPI_INT, MPI_SUM, machine);
    MPI_Comm_free(&machine);
    double share = 0;
    for (size_t i = 0; i < users.size(); ++i) share += CPU_ISSET(i, &mine) ? 1.0 / users[i] : 0;
    return std::max(1, static_cast<int>(share + 0.5));
  }
  static int count(size_t n) {
    PARE_CHECK(n <= static_cast<size_t>(std::numeric_limits<int>::max()), "mpi: ", n,
               " values are too many for one call");
    return static_cast<int>(n);
  }

  MPI_Comm background_ = MPI_COMM_NULL;
  std::vector<MPI_Request> running_;
  int rank_ = 0, size_ = 1, processors_ = 1;
};

#endif

}  // namespace

int launched_processes() {
  if (const int n = number_in("OMPI_COMM_WORLD_SIZE")) return n;
  if (const int n = number_in("PMI_SIZE")) return n;
  const bool managed = std::getenv("PMIX_RANK") || std::getenv("PMI_RANK");
  return managed ? std::max(1, number_in("SLURM_STEP_NUM_TASKS")) : 1;
}

#ifdef PARE_WITH_MPI

bool with_mpi() { return true; }

std::unique_ptr<Communicator> join_launched() {
  const int launched = launched_processes();
  if (launched == 1) return std::make_unique<Communicator>();
  auto group = std::make_unique<MpiGroup>();
  PARE_CHECK(group->size() == launched, "the launcher started ", launched,
             " processes, but MPI knows of ", group->size(),
             hint("start them with the mpirun of the MPI that pare was built with, or srun "
                  "--mpi=pmix"));
  return group;
}

void end_launched(int code) {
  int running = 0;
  MPI_Initialized(&running);
  if (running) MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

#else

bool with_mpi() { return false; }

std::unique_ptr<Communicator> join_launched() {
  const int launched = launched_processes();
  PARE_CHECK(launched == 1, "this is one of ", launched,
             " processes, and this pare was built without MPI: each would train for itself",
             hint("apt-get install libopenmpi-dev openmpi-bin, then build pare again"));
  return std::make_unique<Communicator>();
}

void end_launched(int code) { std::_Exit(code); }

#endif

}  // namespace pare::nn
