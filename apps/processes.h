#pragma once
// A program that a launcher (mpirun, srun) may have started several times.

#include <functional>
#include <string>

#include "core/communicator.h"

namespace pare {

/// body(group), with the exit code that it returns. In a group an exception in one process is
/// reported and ends all of them with code 1.
int run_together(const std::string& program, const std::function<int(Communicator&)>& body);

/// Uses this process's share of the machine's processors, unless the user said how many threads.
void share_processors(const Communicator& group);
/// Throws unless all compute with the same instructions.
void check_same_isa(Communicator& group);
/// The first process's text.
std::string agree(Communicator& group, std::string text);

}  // namespace pare
