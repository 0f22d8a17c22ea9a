#pragma once
// Caching allocator: 64-byte aligned blocks, kept in free lists by size class when released, so
// that a training step that has run once allocates nothing from the system.

#include <cstddef>
#include <cstdint>

namespace pare {

/// Bytes asked of the allocator; all counters are process-wide.
struct MemoryStats {
  size_t live = 0;                // held by tensors now
  size_t peak = 0;                // most ever live, since reset_peak()
  size_t cached = 0;              // released, kept for reuse
  size_t system_allocations = 0;  // calls that had to go to the system
};

MemoryStats memory_stats();
void reset_peak_memory();
/// Returns every cached block to the system.
void release_cached_memory();

/// One aligned block of floats, owned. Contents are undefined after construction.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t floats);
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();

  float* data() const { return data_; }
  size_t size() const { return size_; }  // floats asked for

 private:
  float* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;  // bytes of the block
};

}  // namespace pare
