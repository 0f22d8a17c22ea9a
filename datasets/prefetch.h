#pragma once
// A background thread that stays a few batches ahead. Private to datasets.

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "core/batch.h"

namespace pare::datasets {

/// make(first), make(first + 1), ..., make(end - 1), at most `ahead` of them waiting to be taken.
class Prefetch {
 public:
  using Make = std::function<Batch(int64_t)>;
  Prefetch(Make make, int64_t first, int64_t end, int ahead);
  /// Finishes the batch in work, if any, and throws the others away.
  ~Prefetch();
  Prefetch(const Prefetch&) = delete;
  Prefetch& operator=(const Prefetch&) = delete;

  /// Waits for the next batch; nothing after the last. What make() threw is thrown here, from now
  /// on.
  std::optional<Batch> next();

 private:
  void run(int64_t first, int64_t end);
  bool push(Batch batch);

  const Make make_;
  const size_t ahead_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Batch> ready_;
  std::exception_ptr error_;
  bool stop_ = false, done_ = false;
  std::thread thread_;  // last: it uses everything above
};

}  // namespace pare::datasets
