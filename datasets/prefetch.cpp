#include "datasets/prefetch.h"

#include <utility>

namespace pare::datasets {

Prefetch::Prefetch(Make make, int64_t first, int64_t end, int ahead)
    : make_(std::move(make)),
      ahead_(static_cast<size_t>(ahead)),
      thread_([this, first, end] { run(first, end); }) {}

Prefetch::~Prefetch() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

std::optional<Batch> Prefetch::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !ready_.empty() || done_; });
  if (!ready_.empty()) {
    Batch batch = std::move(ready_.front());
    ready_.pop_front();
    lock.unlock();
    changed_.notify_all();
    return batch;
  }
  if (error_) std::rethrow_exception(error_);
  return std::nullopt;
}

bool Prefetch::push(Batch batch) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return ready_.size() < ahead_ || stop_; });
  if (stop_) return false;
  ready_.push_back(std::move(batch));
  lock.unlock();
  changed_.notify_all();
  return true;
}

void Prefetch::run(int64_t first, int64_t end) {
  std::exception_ptr error;
  try {
    for (int64_t i = first; i < end && push(make_(i)); ++i) {
    }
  } catch (...) {
    error = std::current_exception();
  }
  {
    const std::lock_guard lock(mutex_);
    error_ = std::move(error);
    done_ = true;
  }
  changed_.notify_all();
}

}  // namespace pare::datasets
