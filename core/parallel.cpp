#include "core/parallel.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace pare {

namespace {

/// Denormals cost up to 100x and carry nothing a network needs: results and inputs below 1e-38
/// count as zero.
void flush_denormals() {
#if defined(__SSE__)
  thread_local const bool done = [] {
    _mm_setcsr(_mm_getcsr() | 0x8040);  // FTZ | DAZ
    return true;
  }();
  (void)done;
#endif
}

int default_threads() {
  static const int n = omp_get_max_threads();
  return n;
}

int thread_count = 0;  // 0: not set

}  // namespace

int num_threads() { return thread_count > 0 ? thread_count : default_threads(); }
void set_num_threads(int n) { thread_count = std::max(n, 0); }

void parallel_for(int64_t n, int64_t grain, FunctionRef<void(Range)> f) {
  if (n <= 0) return;
  flush_denormals();
  grain = std::max<int64_t>(grain, 1);
  const int64_t chunks = (n + grain - 1) / grain;
  const int workers = static_cast<int>(std::min<int64_t>(num_threads(), chunks));
  if (workers == 1 || omp_in_parallel()) {
    f({0, n});
    return;
  }
  // Handed out in order to whoever is free, fewer chunks at a time towards the end: on a shared
  // machine a core may be away for milliseconds, and a fixed cut would make the others wait for it.
  std::atomic<int64_t> next{0};
  const auto take = [&next, n, grain, chunks, workers] {
    constexpr int64_t kTurns = 4;
    int64_t begin = next.load(std::memory_order_relaxed), end = 0;
    do {
      const int64_t left = chunks - begin / grain;
      end = begin + std::max<int64_t>(1, left / (workers * kTurns)) * grain;
    } while (begin < n && !next.compare_exchange_weak(begin, end, std::memory_order_relaxed));
    return Range{begin, std::min(end, n)};
  };
  std::exception_ptr error;
  std::mutex mutex;
#pragma omp parallel num_threads(workers)
  {
    flush_denormals();
    try {
      for (Range r = take(); r.begin < n; r = take()) f(r);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
      next = n;
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace pare
