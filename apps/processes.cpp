#include "apps/processes.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "core/error.h"
#include "core/kernels/isa.h"
#include "core/parallel.h"
#include "nn/mpi.h"

namespace pare {

namespace {

std::string host() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "an unknown host";
}

}  // namespace

int run_together(const std::string& program, const std::function<int(Communicator&)>& body) {
  const std::unique_ptr<Communicator> group = nn::join_launched();
  if (group->alone()) return body(*group);
  try {
    return body(*group);
  } catch (const std::exception& e) {
    // What goes wrong everywhere, such as a wrong flag, is told once: the first one ends the others
    // while they wait.
    if (!group->first()) std::this_thread::sleep_for(std::chrono::seconds(1));
    std::fflush(stdout);
    fmt::print(stderr, "pare: {}\n  in    {}, process {} of {}, on {}\n", e.what(), program,
               group->rank(), group->size(), host());
    std::fflush(stderr);
    nn::end_launched(1);
  }
}

void share_processors(const Communicator& group) {
  if (group.alone() || std::getenv("OMP_NUM_THREADS")) return;
  set_num_threads(std::min(num_threads(), group.processors()));
}

void check_same_isa(Communicator& group) {
  if (group.alone()) return;
  const std::string mine = isa_name(active_isa()), first = agree(group, mine);
  PARE_CHECK(mine == first, "this process computes with ", mine, ", the first one with ", first,
             hint("set PARE_ISA everywhere to what the weakest machine has"));
}

std::string agree(Communicator& group, std::string text) {
  uint64_t length = text.size();
  group.broadcast(std::as_writable_bytes(std::span(&length, 1)));
  text.resize(length);
  group.broadcast(std::as_writable_bytes(std::span(text)));
  return text;
}

}  // namespace pare
