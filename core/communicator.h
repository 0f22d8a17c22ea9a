#pragma once
// Processes that train one model together. What is here is the group of one, in which every sum is
// the value itself; nn/mpi.h has the one that a launcher starts.

#include <cstddef>
#include <cstdint>
#include <span>

namespace pare {

/// Every call but those that ask for a number is collective: all processes make it, in the same
/// order and with as many values. All of them get the same bits. For one thread.
class Communicator {
 public:
  Communicator() = default;
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  virtual int rank() const { return 0; }  // of this process, from 0
  virtual int size() const { return 1; }
  /// This process's share of the processors that it may run on; 0: all.
  virtual int processors() const { return 0; }
  bool first() const { return rank() == 0; }
  bool alone() const { return size() == 1; }

  /// values = their sum over the processes.
  virtual void sum(std::span<double>) {}
  /// The same in the background: the values must be left alone until finish_sums(). Sums proceed
  /// while progress() is called now and then.
  virtual void start_sum(std::span<float>) {}
  virtual void progress() {}
  virtual void finish_sums() {}
  /// The first process's bytes.
  virtual void broadcast(std::span<std::byte>) {}
  /// Returns when all processes are here.
  void meet() {
    double nothing = 0;
    sum({&nothing, 1});
  }
};

/// The group of one.
inline Communicator& no_group() {
  static Communicator one;
  return one;
}

/// Where part `index` of `parts` begins when n things are cut as evenly as can be.
inline int64_t part_begin(int64_t n, int index, int parts) { return n * index / parts; }

}  // namespace pare
