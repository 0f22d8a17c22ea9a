#include "core/alloc.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <new>
#include <unordered_map>
#include <utility>
#include <vector>

namespace pare {

namespace {

constexpr size_t kAlign = 64;
constexpr size_t kHugePage = size_t{2} << 20;

/// Size classes: eight steps per power of two, so at most 1/8 of a block is wasted and shapes that
/// come back every step find their old block. A vector of slack lets kernels load past the last
/// element.
size_t size_class(size_t bytes) {
  bytes += kAlign;
  if (bytes <= 512) return 512;
  const size_t step = std::bit_floor(bytes - 1) / 8;
  return (bytes + step - 1) / step * step;
}

class Pool {
 public:
  float* take(size_t bytes) {
    const size_t size = size_class(bytes);
    const std::lock_guard lock(mutex_);
    stats_.live += size;
    stats_.peak = std::max(stats_.peak, stats_.live);
    if (auto& list = free_[size]; !list.empty()) {
      float* block = list.back();
      list.pop_back();
      stats_.cached -= size;
      return block;
    }
    ++stats_.system_allocations;
    return from_system(size);
  }

  void give(float* block, size_t bytes) {
    const size_t size = size_class(bytes);
    const std::lock_guard lock(mutex_);
    stats_.live -= size;
    stats_.cached += size;
    free_[size].push_back(block);
  }

  void release() {
    const std::lock_guard lock(mutex_);
    for (auto& [size, list] : free_) {
      for (float* block : list) std::free(block);
      list.clear();
    }
    stats_.cached = 0;
  }

  MemoryStats stats() {
    const std::lock_guard lock(mutex_);
    return stats_;
  }

  void reset_peak() {
    const std::lock_guard lock(mutex_);
    stats_.peak = stats_.live;
  }

 private:
  static float* from_system(size_t size) {
    const bool huge = size >= kHugePage;
    const size_t align = huge ? kHugePage : kAlign;
    void* block = std::aligned_alloc(align, (size + align - 1) / align * align);
    if (!block) throw std::bad_alloc();
    if (huge) madvise(block, size, MADV_HUGEPAGE);  // fewer TLB misses and page faults; only a hint
    return static_cast<float*>(block);
  }

  std::mutex mutex_;
  std::unordered_map<size_t, std::vector<float*>> free_;
  MemoryStats stats_;
};

Pool& pool() {
  static Pool* instance = new Pool;  // never destroyed: tensors may outlive any static
  return *instance;
}

}  // namespace

MemoryStats memory_stats() { return pool().stats(); }
void reset_peak_memory() { pool().reset_peak(); }
void release_cached_memory() { pool().release(); }

Buffer::Buffer(size_t floats) : data_(pool().take(floats * sizeof(float))), size_(floats) {}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Buffer::~Buffer() {
  if (data_) pool().give(data_, size_ * sizeof(float));
}

}  // namespace pare
