#pragma once
// Memory that the next block will read, handed out in pieces: each tile fetches one on its way. A
// block's copies stride through memory as no hardware prefetcher foresees, and a tile has little to
// load: a cache line now and then costs it nothing.
// (1x1 convolutions of 192 channels: weight gradient 57 -> 74 % of the peak.)

#include <cstdint>

namespace pare::kernels {

class Ahead {
 public:
  static constexpr int64_t kLine = 16;  // floats of a cache line

  /// One piece after the other; nothing is read, so the memory may end before.
  void add(const float* from, int64_t floats) {
    if (floats > 0 && parts_ < kParts) part_[parts_++] = {from, floats};
  }
  /// Lines that are left.
  int64_t lines() const {
    int64_t sum = 0;
    for (int i = next_; i < parts_; ++i) sum += (part_[i].left + kLine - 1) / kLine;
    return sum;
  }
  /// Fetches the next lines now.
  void fetch(int64_t lines) {
    for (; lines > 0 && next_ < parts_; --lines) {
      Part& p = part_[next_];
      __builtin_prefetch(p.from, 0, 3);
      p.from += kLine, p.left -= kLine;
      if (p.left <= 0) ++next_;
    }
  }
  /// The next lines; when all are fetched, lines that do no harm.
  const float* take(int64_t lines, const float* harmless) {
    while (next_ < parts_ && part_[next_].left <= 0) ++next_;
    if (next_ == parts_) return harmless;
    Part& p = part_[next_];
    const float* at = p.from;
    p.from += lines * kLine, p.left -= lines * kLine;
    return at;
  }

 private:
  static constexpr int kParts = 4;
  struct Part {
    const float* from;
    int64_t left;
  };
  Part part_[kParts] = {};
  int parts_ = 0, next_ = 0;
};

}  // namespace pare::kernels
