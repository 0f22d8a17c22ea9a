// What threads cost: a loop of nothing, and how far apart two cores are.

#include <benchmark/benchmark.h>
#include <sched.h>

#include <atomic>
#include <thread>
#include <vector>

#include "core/parallel.h"

namespace {

/// Fork and join of all threads (OMP_NUM_THREADS).
void empty_loop(benchmark::State& state) {
  std::atomic<int64_t> done = 0;
  for (auto _ : state) {
    pare::parallel_for(pare::num_threads(), 1, [&](pare::Range r) { done += r.size(); });
  }
}
BENCHMARK(empty_loop)->Name("parallel/empty_loop")->UseRealTime();

/// Processors that this process may use.
std::vector<int> processors() {
  cpu_set_t set;
  std::vector<int> all;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return all;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &set)) all.push_back(i);
  }
  return all;
}

void stay_on(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  sched_setaffinity(0, sizeof set, &set);
}

/// A cache line goes from the first processor to the last one and back. On one chip it takes some
/// 0.1 us where both share a cache, and several times as long where they do not.
void round_trip(benchmark::State& state) {
  const std::vector<int> all = processors();
  if (all.size() < 2) return state.SkipWithError("needs two processors");
  alignas(128) std::atomic<int64_t> ball = 0;
  std::atomic<bool> stop = false;
  std::thread other([&] {
    stay_on(all.back());
    for (int64_t turn = 1; !stop.load(std::memory_order_relaxed);) {
      if (ball.load(std::memory_order_acquire) != turn) continue;
      ball.store(turn + 1, std::memory_order_release);
      turn += 2;
    }
  });
  std::thread([&] {
    stay_on(all.front());
    int64_t turn = 1;
    for (auto _ : state) {
      ball.store(turn, std::memory_order_release);
      while (ball.load(std::memory_order_acquire) != turn + 1) {
      }
      turn += 2;
    }
    stop = true;
  }).join();
  other.join();
}
BENCHMARK(round_trip)->Name("parallel/round_trip")->UseRealTime();

}  // namespace
