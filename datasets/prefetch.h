#pragma once
// Background threads that stay a few batches ahead. Private to datasets.

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "core/batch.h"

namespace pare::datasets {

/// A batch in the making: any thread does any piece, in any order; then one thread finishes it.
struct Job {
  virtual ~Job() = default;
  virtual int64_t pieces() const = 0;
  virtual void work(int64_t piece) = 0;
  virtual Batch finish() = 0;
};

/// The batches first, ..., end - 1 in order, at most `ahead` of them in work or waiting to be
/// taken.
class Prefetch {
 public:
  using Make = std::function<std::unique_ptr<Job>(int64_t)>;
  Prefetch(Make make, int64_t first, int64_t end, int ahead, int threads);
  /// Finishes the pieces in work, if any, and throws all batches away.
  ~Prefetch();
  Prefetch(const Prefetch&) = delete;
  Prefetch& operator=(const Prefetch&) = delete;

  /// Waits for the next batch; nothing after the last. What a job threw is thrown here, from now
  /// on.
  std::optional<Batch> next();

 private:
  struct Slot {
    std::unique_ptr<Job> job = {};
    int64_t given = 0, left = 0;  // pieces
    std::optional<Batch> batch = {};
    std::exception_ptr error = {};
    bool done() const { return batch || error; }
  };

  void run();
  /// A slot with a piece to do, perhaps a new one; null: none now. Under the lock.
  Slot* find_work();
  void do_piece(Slot& slot, std::unique_lock<std::mutex>& lock);

  const Make make_;
  const size_t ahead_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Slot> slots_;  // references stay valid while others come and go at the ends
  int64_t next_, end_;      // batch to begin with next
  bool stop_ = false;
  std::vector<std::thread> threads_;  // last: they use everything above
};

}  // namespace pare::datasets
