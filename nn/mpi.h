#pragma once
// The group of processes that mpirun or srun started. Open MPI, if the build found it.

#include <memory>

#include "core/communicator.h"

namespace pare::nn {

/// Whether this build can join processes.
bool with_mpi();
/// How many processes a launcher says it started, this one included; 1: no launcher.
int launched_processes();
/// All of them; no_group() will do if it is one. Throws if this build cannot join processes, or MPI
/// knows of fewer than the launcher. Once per program.
std::unique_ptr<Communicator> join_launched();
/// Ends this process and all others of the launch with this exit code. For programs only.
[[noreturn]] void end_launched(int code);

}  // namespace pare::nn
