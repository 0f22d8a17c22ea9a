#pragma once
// Running a program.

#include <memory>
#include <vector>

#include "deploy/runtime/program.h"

namespace pare::runtime {

/// A program made ready, with threads and memory of its own. One thread at a time may use it.
class Session {
 public:
  /// Checks the program first. threads = 0: one for each processor.
  explicit Session(Program program, int threads = 0);
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  const Program& program() const;
  const Buffer& input() const;
  const Buffer& output() const;
  int threads() const;

  /// images [count, h, w, c] -> outputs [count, h w c of the output]. The same bytes for any number
  /// of threads, images at a time and instruction set.
  void run(const float* images, int64_t count, float* outputs);

  /// Seconds in each op since the last call, of runs since then; by one thread at a time.
  struct Profile {
    std::vector<double> seconds;  // by op
    int64_t images = 0;
  };
  Profile profile(const float* images, int64_t count);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The names of the instruction sets that this CPU has kernels for, and of the one in use.
std::vector<const char*> instruction_sets();
const char* instruction_set();
/// "portable", "avx2", ...; null: back to the usual one.
void force_instruction_set(const char* name);

}  // namespace pare::runtime
