#include "core/scratch.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

namespace pare {

namespace {

constexpr size_t kAlign = 64;
constexpr size_t kFirstChunk = size_t{1} << 20;

struct Free {
  void operator()(std::byte* p) const { std::free(p); }
};

struct Chunk {
  std::unique_ptr<std::byte, Free> memory;
  size_t size;
};

/// Chunks are only added, so blocks handed out earlier stay where they are.
struct Arena {
  std::vector<Chunk> chunks;
  size_t chunk = 0, offset = 0;
};

Arena& arena() {
  thread_local Arena a;
  return a;
}

}  // namespace

Scratch::Scratch() : chunk_(arena().chunk), offset_(arena().offset) {}

Scratch::~Scratch() {
  arena().chunk = chunk_;
  arena().offset = offset_;
}

void* Scratch::bytes(size_t count) {
  Arena& a = arena();
  count = (count + kAlign - 1) / kAlign * kAlign;
  while (a.chunk < a.chunks.size() && a.offset + count > a.chunks[a.chunk].size) {
    ++a.chunk;
    a.offset = 0;
  }
  if (a.chunk == a.chunks.size()) {
    const size_t last = a.chunks.empty() ? kFirstChunk / 2 : a.chunks.back().size;
    const size_t size = std::max(2 * last, count);
    void* memory = std::aligned_alloc(kAlign, size);
    if (!memory) throw std::bad_alloc();
    a.chunks.push_back({std::unique_ptr<std::byte, Free>(static_cast<std::byte*>(memory)), size});
    a.offset = 0;
  }
  std::byte* block = a.chunks[a.chunk].memory.get() + a.offset;
  a.offset += count;
  return block;
}

}  // namespace pare
