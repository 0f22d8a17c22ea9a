#pragma once
// A group whose processes are threads of the test: f(group) runs in each of them.

#include <barrier>
#include <cstring>
#include <exception>
#include <functional>
#include <thread>
#include <vector>

#include "core/communicator.h"

namespace pare::test {

struct Meeting {
  explicit Meeting(int n) : barrier(n), parts(static_cast<size_t>(n)) {}
  std::barrier<> barrier;
  std::vector<std::span<std::byte>> parts;
};

class ThreadGroup final : public Communicator {
 public:
  ThreadGroup(Meeting& meeting, int rank) : meeting_(meeting), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(meeting_.parts.size()); }

  void sum(std::span<double> values) override { add(values); }
  void start_sum(std::span<float> values) override { running_.push_back(values); }
  void finish_sums() override {
    for (const std::span<float> values : running_) add(values);
    running_.clear();
  }
  void broadcast(std::span<std::byte> bytes) override {
    enter(bytes);
    const std::span<std::byte> first = meeting_.parts[0];
    if (rank_ > 0) std::memcpy(bytes.data(), first.data(), first.size());
    meeting_.barrier.arrive_and_wait();
  }

 private:
  void enter(std::span<std::byte> bytes) {
    meeting_.parts[static_cast<size_t>(rank_)] = bytes;
    meeting_.barrier.arrive_and_wait();
  }
  template <class T>
  void add(std::span<T> values) {
    std::vector<T> copy(values.begin(), values.end()), total(values.size());
    enter(std::as_writable_bytes(std::span(copy)));
    for (const std::span<std::byte> part : meeting_.parts) {
      const T* from = reinterpret_cast<const T*>(part.data());
      for (size_t i = 0; i < total.size(); ++i) total[i] += from[i];
    }
    meeting_.barrier.arrive_and_wait();
    std::copy(total.begin(), total.end(), values.begin());
  }

  Meeting& meeting_;
  int rank_;
  std::vector<std::span<float>> running_;
};

/// Rethrows what the first failing process threw; then the others must have got as far.
inline void run_group(int n, const std::function<void(ThreadGroup&)>& f) {
  Meeting meeting(n);
  std::vector<std::exception_ptr> errors(static_cast<size_t>(n));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < n; ++rank) {
    threads.emplace_back([&, rank] {
      ThreadGroup group(meeting, rank);
      try {
        f(group);
      } catch (...) {
        errors[static_cast<size_t>(rank)] = std::current_exception();
      }
    });
  }
  for (std::thread& t : threads) t.join();
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

}  // namespace pare::test
