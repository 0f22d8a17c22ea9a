#include "core/parallel.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <limits>
#include <mutex>
#include <vector>

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

/// Hands out chunks, counted by 32 bits. Each thread begins with a stretch of its own, so in all
/// loops over the same images it meets the same ones, and what it wrote in one it finds in its own
/// cache in the next: cores that share no cache pass each other only what they must. On a shared
/// machine a core may be away for milliseconds: whoever has finished takes from the end of the
/// longest stretch that is left. Fewer chunks at a time towards the end.
class Handout {
 public:
  Handout(int64_t chunks, int threads) : stretches_(static_cast<size_t>(threads)) {
    for (int64_t i = 0; i < threads; ++i) {
      stretches_[static_cast<size_t>(i)].left = {static_cast<uint32_t>(i * chunks / threads),
                                                 static_cast<uint32_t>((i + 1) * chunks / threads)};
    }
  }
  /// Empty if nothing is left.
  Range take(int thread) {
    Stretch* from = &stretches_[static_cast<size_t>(thread)];
    while (true) {
      Left left = from->left.load(std::memory_order_relaxed);
      while (left.size() > 0) {
        const bool own = from == &stretches_[static_cast<size_t>(thread)];
        const uint32_t count = std::max<uint32_t>(1, left.size() / kTurns);
        Left rest = left;
        (own ? rest.begin += count : rest.end -= count);
        if (from->left.compare_exchange_weak(left, rest, std::memory_order_relaxed)) {
          return own ? Range{left.begin, rest.begin} : Range{rest.end, left.end};
        }
      }
      uint32_t most = 0;
      for (Stretch& s : stretches_) {
        const uint32_t size = s.left.load(std::memory_order_relaxed).size();
        if (size > most) most = size, from = &s;
      }
      if (most == 0) return {0, 0};
    }
  }
  /// Nothing more is handed out.
  void drop() {
    for (Stretch& s : stretches_) s.left = Left{};
  }

 private:
  static constexpr uint32_t kTurns = 4;
  struct Left {
    uint32_t begin = 0, end = 0;  // chunks
    uint32_t size() const { return end - begin; }
  };
  struct alignas(64) Stretch {
    std::atomic<Left> left;
  };
  std::vector<Stretch> stretches_;
};

}  // namespace

int num_threads() { return thread_count > 0 ? thread_count : default_threads(); }
void set_num_threads(int n) { thread_count = std::max(n, 0); }

void parallel_for(int64_t n, int64_t grain, FunctionRef<void(Range)> f) {
  if (n <= 0) return;
  flush_denormals();
  grain = std::max<int64_t>(grain, 1);
  while (n / grain > std::numeric_limits<int32_t>::max()) grain *= 2;
  const int64_t chunks = (n + grain - 1) / grain;
  const int workers = static_cast<int>(std::min<int64_t>(num_threads(), chunks));
  if (workers == 1 || omp_in_parallel()) {
    f({0, n});
    return;
  }
  Handout handout(chunks, workers);
  std::exception_ptr error;
  std::mutex mutex;
#pragma omp parallel num_threads(workers)
  {
    flush_denormals();
    try {
      for (Range r = handout.take(omp_get_thread_num()); r.size() > 0;
           r = handout.take(omp_get_thread_num())) {
        f({r.begin * grain, std::min(r.end * grain, n)});
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
      handout.drop();
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace pare
