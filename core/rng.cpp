#include "core/rng.h"

#include <cmath>

namespace pare {

namespace {

/// Spreads a seed over 64 bits (splitmix64's finalizer), so that seeds 1, 2, 3 give unrelated keys.
uint64_t mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

}  // namespace

std::array<uint32_t, 4> Rng::block(uint64_t key, uint64_t counter) {
  constexpr uint64_t kMul0 = 0xD2511F53, kMul1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  std::array<uint32_t, 4> c{static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0,
                            0};
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = kMul0 * c[0], p1 = kMul1 * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(p0)};
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  return c;
}

Rng::Rng(uint64_t seed, uint64_t stream) : key_(mix(mix(seed) ^ stream)) {}

Rng Rng::split(uint64_t id) const {
  Rng child;
  child.key_ = mix(key_ ^ mix(id ^ 0x5851F42D4C957F2Dull));
  return child;
}

uint32_t Rng::next() {
  const std::array<uint32_t, 4> b = block(key_, counter_ / 4);
  return b[counter_++ % 4];
}

float Rng::uniform() { return static_cast<float>(next() >> 8) * 0x1p-24f; }

float Rng::normal() {
  const float u = 1.0f - uniform();  // (0, 1]: log stays finite
  const float v = uniform();
  return std::sqrt(-2.0f * std::log(u)) * std::cos(6.2831853f * v);
}

int64_t Rng::below(int64_t n) {
  // Rejection keeps the result unbiased; 64 bits so that n may be any size.
  const uint64_t range = static_cast<uint64_t>(n);
  const uint64_t limit = UINT64_MAX - UINT64_MAX % range;
  for (;;) {
    const uint64_t x = (uint64_t{next()} << 32) | next();
    if (x < limit) return static_cast<int64_t>(x % range);
  }
}

}  // namespace pare
