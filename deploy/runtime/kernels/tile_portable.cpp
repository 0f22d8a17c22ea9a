// Any CPU, with the compiler's vectors of four: tiles of 2 pixels x 16 filters.
#include <cstring>

#include "deploy/runtime/kernels/tile.h"

namespace pare::runtime::kernels {
namespace portable {
namespace {

struct V {
  static constexpr int kLanes = 4;
  static constexpr bool kFinishes = false;
  using Bits [[gnu::vector_size(16)]] = uint32_t;
  using Ints [[gnu::vector_size(16)]] = int32_t;
  using Bytes [[gnu::vector_size(16)]] = uint8_t;
  using Floats [[gnu::vector_size(16)]] = float;

  template <class To, class From>
  static To read(const From* p) {
    To v;
    std::memcpy(&v, p, sizeof v);
    return v;
  }

  struct Float {
    using Reg = Floats;
    using Weight = Floats;
    using Input = float;
    using Out = float;
    static Reg start(const float* p) { return read<Floats>(p); }
    static Weight weight(const uint32_t* w) { return read<Floats>(w); }
    static Input input(uint32_t x) { return read<float>(&x); }
    static Reg dot(Reg acc, Input x, Weight w) {
      for (int i = 0; i < kLanes; ++i) acc[i] = __builtin_fmaf(x, w[i], acc[i]);
      return acc;
    }
    static void store(float* y, Reg acc) { std::memcpy(y, &acc, sizeof acc); }
  };

  struct Code {
    using Reg = Ints;
    using Weight = Ints;
    using Input = uint32_t;
    using Out = int32_t;
    static Reg start(const int32_t* p) { return read<Ints>(p); }
    static Weight weight(const uint32_t* w) { return read<Ints>(w); }
    static Input input(uint32_t x) { return x; }
    static Reg dot(Reg acc, Input x, Weight w) {
      for (int i = 0; i < 4; ++i) {
        const Ints byte = (Ints)((Bits)w << (24 - 8 * i)) >> 24;
        acc += byte * static_cast<int32_t>(x >> (8 * i) & 255);
      }
      return acc;
    }
    static void store(int32_t* y, Reg acc) { std::memcpy(y, &acc, sizeof acc); }
  };

  static Bits none() { return Bits{}; }
  static Bits load(const uint32_t* w) { return read<Bits>(w); }
  static Bits load_bytes(const uint8_t* w) { return read<Bits>(w); }
  static Bits differ(const uint32_t* x, Bits w) { return w ^ *x; }
  static Bits differ(const uint32_t* x, Bits w, Bits mask) { return (w ^ *x) & mask; }
  static Bits both(Bits a, Bits b) { return a & b; }
  static Bits either(Bits a, Bits b) { return a ^ b; }
  static void add(Bits a, Bits b, Bits c, Bits& sum, Bits& carry) {
    carry = (a & b) | ((a ^ b) & c);
    sum = a ^ b ^ c;
  }
  static Bits count(Bits total, Bits a, unsigned weight) {
    a -= a >> 1 & 0x55555555u;
    a = (a & 0x33333333u) + (a >> 2 & 0x33333333u);
    a = (a + (a >> 4)) & 0x0f0f0f0fu;
    return total + (a * 0x01010101u >> 24) * weight;
  }
  static void store_rest(int32_t* y, const int32_t* base, Bits d) {
    const Ints rest = read<Ints>(base) - (Ints)(d + d);
    std::memcpy(y, &rest, sizeof rest);
  }

  static uint32_t at_least(const int32_t* a, const int32_t* b) {
    uint32_t bits = 0;
    for (int i = 0; i < kLanes; ++i) bits |= uint32_t{a[i] >= b[i]} << i;
    return bits;
  }
  static uint32_t at_least_0(const float* x) {
    uint32_t bits = 0;
    for (int i = 0; i < kLanes; ++i) bits |= uint32_t{x[i] >= 0} << i;
    return bits;
  }

  static constexpr bool kLikesTables = false;
  static Bits table(const uint8_t* of_16) { return read<Bits>(of_16); }
  static Bits look_up(Bits table, Bits i) {
    Bytes y;
    for (int k = 0; k < 16; ++k) y[k] = ((Bytes)table)[((Bytes)i)[k]];
    return (Bits)y;
  }
  static Bits add_bytes(Bits a, Bits b) { return (Bits)((Bytes)a + (Bytes)b); }
  static void store_rests(int32_t* y, const int32_t* from, Bits d) {
    for (int i = 0; i < 16; ++i) y[i] = from[i] - 2 * ((Bytes)d)[i];
  }
};

constexpr int kPanels = 1, kRows[] = {2}, kSignRows = 2;
#include "deploy/runtime/kernels/tile-inl.h"

}  // namespace
}  // namespace portable

const Kernels kPortable = portable::make("portable");

}  // namespace pare::runtime::kernels
