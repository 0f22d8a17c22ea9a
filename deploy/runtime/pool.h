#pragma once
// Threads that wait for work: those of a session, and no other.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace pare::runtime {

class Pool {
 public:
  /// `threads` in all, the caller's included.
  explicit Pool(int threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }
  /// Calls f(i, thread) for every i in [0, n), in any order; f must not throw.
  void run(int64_t n, const std::function<void(int64_t i, int thread)>& f);

 private:
  void work(int thread);
  void take(int thread);

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<uint64_t> round_{0};
  std::atomic<int> busy_{0};          // workers that joined it
  bool stop_ = false, open_ = false;  // open: workers may still join the round
  const std::function<void(int64_t, int)>* f_ = nullptr;
  int64_t n_ = 0;
  std::atomic<int64_t> next_{0};
};

}  // namespace pare::runtime
