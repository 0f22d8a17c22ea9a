#include "core/alloc.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdlib>
#include <iterator>
#include <mutex>
#include <new>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

namespace pare {

namespace {

constexpr size_t kAlign = 64;
/// Requests from here on share the arena.
constexpr size_t kLarge = size_t{1} << 20;

/// Size classes: eight steps per power of two, so at most 1/8 of a block is wasted and shapes that
/// come back every step find their old block. A vector of slack lets kernels load past the last
/// element.
size_t size_class(size_t bytes) {
  bytes += kAlign;
  if (bytes <= 512) return 512;
  const size_t step = std::bit_floor(bytes - 1) / 8;
  return (bytes + step - 1) / step * step;
}

/// Large blocks side by side in one stretch of address space, lowest free place first, so that
/// blocks of different sizes reuse each other's memory: what is ever touched stays close to what is
/// in use at the same time.
class Arena {
 public:
  Arena() {
    void* place = mmap(nullptr, kReserved, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place == MAP_FAILED) return;
    madvise(place, kReserved, MADV_HUGEPAGE);  // fewer TLB misses and page faults; only a hint
    base_ = static_cast<std::byte*>(place);
    free_.push_back({0, kReserved});
  }

  static size_t rounded(size_t bytes) { return (bytes + kAlign + kUnit - 1) / kUnit * kUnit; }

  /// Null if there is no room.
  std::byte* take(size_t size) {
    const auto found = std::find_if(free_.begin(), free_.end(),
                                    [&](const Range& r) { return r.end - r.begin >= size; });
    if (found == free_.end()) return nullptr;
    std::byte* block = base_ + found->begin;
    found->begin += size;
    if (found->begin == found->end) free_.erase(found);
    return block;
  }

  /// False if the block is not from here.
  bool give(std::byte* block, size_t size) {
    if (!base_ || block < base_ || block >= base_ + kReserved) return false;
    const size_t begin = static_cast<size_t>(block - base_), end = begin + size;
    auto next =
        std::find_if(free_.begin(), free_.end(), [&](const Range& r) { return r.begin >= end; });
    const bool joins_next = next != free_.end() && next->begin == end;
    const bool joins_last = next != free_.begin() && std::prev(next)->end == begin;
    if (joins_next && joins_last) {
      std::prev(next)->end = next->end;
      free_.erase(next);
    } else if (joins_next) {
      next->begin = begin;
    } else if (joins_last) {
      std::prev(next)->end = end;
    } else {
      free_.insert(next, {begin, end});
    }
    return true;
  }

  /// Bytes from the first block to the end of the last one in use.
  size_t extent() const { return free_.empty() ? kReserved : free_.back().begin; }

  /// Returns the pages of free places to the system.
  void release() {
    for (const Range& r : free_) {
      madvise(base_ + r.begin, std::min(r.end, touched_) - std::min(r.begin, touched_),
              MADV_DONTNEED);
    }
    touched_ = extent();
  }

  /// True if the blocks now reach further than ever since the last release.
  bool grew() {
    const bool more = extent() > touched_;
    touched_ = std::max(touched_, extent());
    return more;
  }
  size_t touched() const { return touched_; }

 private:
  static constexpr size_t kReserved = size_t{1} << 40, kUnit = 4096;
  struct Range {
    size_t begin, end;
  };

  std::byte* base_ = nullptr;
  std::vector<Range> free_;  // by address, never adjacent
  size_t touched_ = 0;
};

class Pool {
 public:
  /// A block of at least `bytes`, and its size.
  std::pair<float*, size_t> take(size_t bytes) {
    const std::lock_guard lock(mutex_);
    const bool large = bytes >= kLarge;
    const size_t size = large ? Arena::rounded(bytes) : size_class(bytes);
    stats_.live += size;
    stats_.peak = std::max(stats_.peak, stats_.live);
    if (large) {
      if (std::byte* block = arena_.take(size)) {
        stats_.system_allocations += arena_.grew();
        large_live_ += size;
        return {reinterpret_cast<float*>(block), size};
      }
    }
    if (auto& list = free_[size]; !list.empty()) {
      float* block = list.back();
      list.pop_back();
      cached_ -= size;
      return {block, size};
    }
    ++stats_.system_allocations;
    void* block = std::aligned_alloc(kAlign, (size + kAlign - 1) / kAlign * kAlign);
    if (!block) throw std::bad_alloc();
    return {static_cast<float*>(block), size};
  }

  void give(float* block, size_t size) {
    const std::lock_guard lock(mutex_);
    stats_.live -= size;
    if (arena_.give(reinterpret_cast<std::byte*>(block), size)) {
      large_live_ -= size;
      return;
    }
    cached_ += size;
    free_[size].push_back(block);
  }

  void release() {
    const std::lock_guard lock(mutex_);
    for (auto& [size, list] : free_) {
      for (float* block : list) std::free(block);
      list.clear();
    }
    cached_ = 0;
    arena_.release();
  }

  MemoryStats stats() {
    const std::lock_guard lock(mutex_);
    stats_.cached = cached_ + arena_.touched() - large_live_;
    return stats_;
  }

  void reset_peak() {
    const std::lock_guard lock(mutex_);
    stats_.peak = stats_.live;
  }

 private:
  std::mutex mutex_;
  Arena arena_;
  std::unordered_map<size_t, std::vector<float*>> free_;
  size_t cached_ = 0, large_live_ = 0;
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

Buffer::Buffer(size_t floats) : size_(floats) {
  std::tie(data_, capacity_) = pool().take(floats * sizeof(float));
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      capacity_(std::exchange(other.capacity_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(capacity_, other.capacity_);
  return *this;
}

Buffer::~Buffer() {
  if (data_) pool().give(data_, capacity_);
}

}  // namespace pare
