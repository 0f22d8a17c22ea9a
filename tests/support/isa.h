#pragma once
// Running a test body once per instruction set, over lengths and addresses that find broken tails.

#include <algorithm>
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "core/kernels/isa.h"
#include "core/rng.h"

namespace pare::test {

/// body(name) with each ISA this CPU has forced; the one before is put back.
template <class F>
void for_each_isa(F&& body) {
  struct Restore {
    Isa before = active_isa();
    ~Restore() { force_isa(before); }
  } restore;
  for (Isa isa : supported_isas()) {
    force_isa(isa);
    body(std::string_view(isa_name(isa)));
  }
}

/// 0, 1, N-1, N, N+1, 2N+1 for vectors of 1, 4, 8 and 16 floats, and a long one.
inline std::vector<int64_t> lengths_around_lanes() {
  std::vector<int64_t> lengths = {0, 1000};
  for (int64_t lanes : {1, 4, 8, 16}) {
    for (int64_t n : {lanes - 1, lanes, lanes + 1, 2 * lanes + 1, 4 * lanes + 3}) {
      lengths.push_back(n);
    }
  }
  std::sort(lengths.begin(), lengths.end());
  lengths.erase(std::unique(lengths.begin(), lengths.end()), lengths.end());
  return lengths;
}

/// n floats at an address that no vector is aligned to, between two guards.
class Unaligned {
 public:
  explicit Unaligned(int64_t n) : all_(static_cast<size_t>(n) + 2, kGuard) {}
  Unaligned(int64_t n, Rng& rng, float lo, float hi) : Unaligned(n) {
    for (float& v : span()) v = rng.uniform(lo, hi);
  }

  float* data() { return all_.data() + 1; }
  const float* data() const { return all_.data() + 1; }
  std::span<float> span() { return {data(), all_.size() - 2}; }
  std::span<const float> span() const { return {data(), all_.size() - 2}; }
  float& operator[](int64_t i) { return data()[i]; }
  float operator[](int64_t i) const { return data()[i]; }
  /// Nothing was written before the first or after the last element.
  bool intact() const { return all_.front() == kGuard && all_.back() == kGuard; }

 private:
  static constexpr float kGuard = -123456.0f;
  std::vector<float> all_;
};

}  // namespace pare::test
