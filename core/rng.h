#pragma once
// Philox4x32-10 (Salmon et al., SC 2011): a counter-based generator. The i-th number is a pure
// function of (key, i), so filling in parallel, resuming and splitting into streams cost nothing.

#include <array>
#include <cstddef>
#include <cstdint>

namespace pare {

class Tensor;

class Rng {
 public:
  explicit Rng(uint64_t seed = 0, uint64_t stream = 0);

  /// An independent generator for sub-task `id`, the same however much of this one was used.
  Rng split(uint64_t id) const;

  uint32_t next();  // uniform over 32 bits
  float uniform();  // [0, 1)
  float uniform(float lo, float hi) { return lo + (hi - lo) * uniform(); }
  float normal();            // N(0, 1), Box-Muller
  int64_t below(int64_t n);  // uniform over 0 .. n-1, unbiased
  bool coin(float p = 0.5f) { return uniform() < p; }

  /// Fisher-Yates.
  template <class Container>
  void shuffle(Container& items) {
    for (int64_t i = static_cast<int64_t>(items.size()) - 1; i > 0; --i) {
      using std::swap;
      swap(items[static_cast<size_t>(i)], items[static_cast<size_t>(below(i + 1))]);
    }
  }

  /// Key and position: all there is to save for an exact resume.
  struct State {
    uint64_t key = 0, counter = 0;
    bool operator==(const State&) const = default;
  };
  State state() const { return {key_, counter_}; }
  void set_state(State s) { key_ = s.key, counter_ = s.counter; }

  /// The block of four numbers at a counter: what everything above is made of.
  static std::array<uint32_t, 4> block(uint64_t key, uint64_t counter);
  uint64_t key() const { return key_; }

 private:
  uint64_t key_ = 0, counter_ = 0;  // counter in 32-bit numbers, four to a block
};

}  // namespace pare
