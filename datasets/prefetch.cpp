#include "datasets/prefetch.h"

#include <utility>

namespace pare::datasets {

Prefetch::Prefetch(Make make, int64_t first, int64_t end, int ahead, int threads)
    : make_(std::move(make)), ahead_(static_cast<size_t>(ahead)), next_(first), end_(end) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
}

Prefetch::~Prefetch() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

std::optional<Batch> Prefetch::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return slots_.empty() ? next_ == end_ : slots_.front().done(); });
  if (slots_.empty()) return std::nullopt;
  if (slots_.front().error) std::rethrow_exception(slots_.front().error);
  std::optional<Batch> batch = std::move(slots_.front().batch);
  slots_.pop_front();
  lock.unlock();
  changed_.notify_all();
  return batch;
}

void Prefetch::run() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (Slot* slot = find_work()) {
      do_piece(*slot, lock);
    } else {
      changed_.wait(lock);
    }
  }
}

Prefetch::Slot* Prefetch::find_work() {
  for (Slot& slot : slots_) {
    if (slot.error) return nullptr;  // what comes behind it will not be taken
    if (slot.job && slot.given < slot.job->pieces()) return &slot;
  }
  if (slots_.size() == ahead_ || next_ == end_) return nullptr;
  Slot& slot = slots_.emplace_back();
  try {
    slot.job = make_(next_++);
    slot.left = slot.job->pieces();
    changed_.notify_all();  // others may help with it
    return &slot;
  } catch (...) {
    slot.error = std::current_exception();
    changed_.notify_all();
    return nullptr;
  }
}

void Prefetch::do_piece(Slot& slot, std::unique_lock<std::mutex>& lock) {
  const int64_t piece = slot.given++;
  lock.unlock();
  std::exception_ptr error;
  try {
    slot.job->work(piece);
  } catch (...) {
    error = std::current_exception();
  }
  lock.lock();
  if (error && !slot.error) {
    slot.error = error;  // its other pieces will not be done
    changed_.notify_all();
  }
  if (--slot.left > 0) return;
  if (!slot.error) {
    lock.unlock();
    std::optional<Batch> batch;
    try {
      batch = slot.job->finish();
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    slot.batch = std::move(batch);
    slot.error = error;
  }
  slot.job.reset();
  changed_.notify_all();
}

}  // namespace pare::datasets
