#include "deploy/runtime/pool.h"

namespace pare::runtime {

namespace {

// An op of a small network takes some microseconds: a thread that slept at once would be late for
// the next.
constexpr int kTurns = 20000;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

Pool::Pool(int threads) {
  for (int t = 1; t < threads; ++t) workers_.emplace_back([this, t] { work(t); });
}

Pool::~Pool() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    ++round_;
  }
  wake_.notify_all();
  for (std::thread& t : workers_) t.join();
}

void Pool::take(int thread) {
  for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < n_;) (*f_)(i, thread);
}

void Pool::run(int64_t n, const std::function<void(int64_t, int)>& f) {
  if (workers_.empty() || n <= 1) {
    for (int64_t i = 0; i < n; ++i) f(i, 0);
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    f_ = &f;
    n_ = n;
    next_ = 0;
    open_ = true;
    ++round_;
  }
  wake_.notify_all();
  take(0);
  {
    // On a busy machine a core that slept may need milliseconds to wake up: who is not there by now
    // is not waited for.
    const std::lock_guard lock(mutex_);
    open_ = false;
  }
  for (int turn = 0; busy_.load(std::memory_order_acquire) > 0; ++turn) {
    if (turn < kTurns) {
      relax();
    } else {
      std::this_thread::yield();
    }
  }
}

void Pool::work(int thread) {
  for (uint64_t done = 0;;) {
    for (int turn = 0; turn < kTurns && round_.load(std::memory_order_acquire) == done; ++turn) {
      relax();
    }
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return round_.load(std::memory_order_relaxed) != done; });
      done = round_.load(std::memory_order_relaxed);
      if (stop_) return;
      if (!open_) continue;
      busy_.fetch_add(1, std::memory_order_relaxed);
    }
    take(thread);
    busy_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace pare::runtime
