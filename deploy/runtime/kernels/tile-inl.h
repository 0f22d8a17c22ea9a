// The bodies of tile.h, written once over a vector type V. An ISA file defines V, kPanels, kRows
// (for each number of panels) and kSignRows in a namespace of its own and then includes this.
//
// Loops over accumulators are unrolled by pragma, or they would live on the stack.

#include "deploy/runtime/kernels/words-inl.h"

template <class Dot, int R, int P>
void tile(const Tile& t) noexcept {
  constexpr int N = P * kHalves;
  const auto* start = static_cast<const typename Dot::Out*>(t.start);
  typename Dot::Reg acc[R][N];
#pragma GCC unroll 16
  for (int m = 0; m < R; ++m) {
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) acc[m][n] = Dot::start(start + n * V::kLanes);
  }
  const int64_t panel = t.runs * t.run * kPanel;
  const uint32_t* w = t.w;
  for (int64_t i = 0; i < t.runs; ++i) {
    const uint8_t* x = t.x + t.offsets[i];
    for (int64_t k = 0; k < t.run; ++k, x += 4, w += kPanel) {
      typename Dot::Weight b[N];
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n) {
        b[n] = Dot::weight(w + (n / kHalves) * panel + (n % kHalves) * V::kLanes);
      }
#pragma GCC unroll 16
      for (int m = 0; m < R; ++m) {
        const typename Dot::Input a = Dot::input(word_at(x + m * t.x_pixel));
#pragma GCC unroll 16
        for (int n = 0; n < N; ++n) acc[m][n] = Dot::dot(acc[m][n], a, b[n]);
      }
    }
  }
  auto* raw = static_cast<typename Dot::Out*>(t.raw);
#pragma GCC unroll 16
  for (int m = 0; m < R; ++m) {
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) Dot::store(raw + (m * N + n) * V::kLanes, acc[m][n]);
  }
}

/// Counts set bits of words, bit by bit and 32 * kLanes at a time: full adders (carry save) make
/// one word of weight eight of eight words, so that counting, which is dear, happens once for them
/// all (Harley and Seal, in Warren, Hacker's Delight, 5-2).
struct Counter {
  using Bits = typename V::Bits;
  Bits ones = V::none(), twos = V::none(), fours = V::none(), eights = V::none();
  Bits total = V::none();  // numbers, one for each lane

  template <class Word>
  [[gnu::always_inline]] void eight(Word&& a) {
    Bits two_a, two_b, four_a, four_b, eight;
    V::add(ones, a(0), a(1), ones, two_a);
    V::add(ones, a(2), a(3), ones, two_b);
    V::add(twos, two_a, two_b, twos, four_a);
    V::add(ones, a(4), a(5), ones, two_a);
    V::add(ones, a(6), a(7), ones, two_b);
    V::add(twos, two_a, two_b, twos, four_b);
    V::add(fours, four_a, four_b, fours, eight);
    total = V::count(total, eight, 8);
  }
  // What is left, seven words at most. With what was carried that is 14: `eights` is set once.
  template <class Word>
  [[gnu::always_inline]] void four(Word&& a) {
    Bits two_a, two_b, four;
    V::add(ones, a(0), a(1), ones, two_a);
    V::add(ones, a(2), a(3), ones, two_b);
    V::add(twos, two_a, two_b, twos, four);
    carry_fours(four);
  }
  template <class Word>
  [[gnu::always_inline]] void two(Word&& a) {
    Bits two;
    V::add(ones, a(0), a(1), ones, two);
    carry_twos(two);
  }
  [[gnu::always_inline]] void one(Bits a) {
    const Bits two = V::both(ones, a);
    ones = V::either(ones, a);
    carry_twos(two);
  }
  [[gnu::always_inline]] Bits sum() const {
    const Bits low = V::count(V::count(V::count(total, ones, 1), twos, 2), fours, 4);
    return V::count(low, eights, 8);
  }

 private:
  [[gnu::always_inline]] void carry_twos(Bits two) {
    const Bits four = V::both(twos, two);
    twos = V::either(twos, two);
    carry_fours(four);
  }
  [[gnu::always_inline]] void carry_fours(Bits four) {
    eights = V::either(eights, V::both(fours, four));
    fours = V::either(fours, four);
  }
};

/// How many signs of x and w differ, where the mask is set.
template <bool kMasked>
[[gnu::always_inline]] inline typename V::Bits differing(const uint32_t* x, const uint32_t* w,
                                                         const uint32_t* mask, int64_t words) {
  int64_t k = 0;
  const auto word = [&](int i) __attribute__((always_inline)) {
    const int64_t at = (k + i) * kPanel;
    if constexpr (kMasked) return V::differ(x + k + i, V::load(w + at), V::load(mask + at));
    return V::differ(x + k + i, V::load(w + at));
  };
  Counter c;
  for (; k + 8 <= words; k += 8) c.eight(word);
  if (words & 4) c.four(word), k += 4;
  if (words & 2) c.two(word), k += 2;
  if (words & 1) c.one(word(0));
  return c.sum();
}

template <bool kMasked>
void sign_rows(const Tile& t, int64_t rows, int64_t panels) noexcept {
  const int64_t words = t.runs * t.run, panel = words * kPanel;
  alignas(64) uint32_t x[kMaxSignWords];
  auto* raw = static_cast<int32_t*>(t.raw);
  for (int64_t m = 0; m < rows; ++m) {
    for (int64_t i = 0; i < t.runs; ++i) {
      const uint8_t* from = t.x + m * t.x_pixel + t.offsets[i];
      for (int64_t k = 0; k < t.run; ++k) x[i * t.run + k] = word_at(from + 4 * k);
    }
    for (int64_t n = 0; n < panels * kHalves; ++n) {
      const int64_t at = (n / kHalves) * panel + (n % kHalves) * V::kLanes;
      const uint32_t* mask = kMasked ? t.mask + at : nullptr;
      const typename V::Bits d = differing<kMasked>(x, t.w + at, mask, words);
      V::store_rest(raw + (m * panels * kHalves + n) * V::kLanes, t.base[m] + n * V::kLanes, d);
    }
  }
}

void signs(const Tile& t, int64_t rows, int64_t panels) noexcept {
  if (t.mask) {
    sign_rows<true>(t, rows, panels);
  } else {
    sign_rows<false>(t, rows, panels);
  }
}

/// Nearest whole number of |x| < 2^22: adding 1.5 * 2^23 leaves no room for a fraction.
inline float nearest(float x, bool half_away) {
  constexpr float kShift = 12582912.0f;
  const float r = (x + kShift) - kShift, rest = x - r;
  if (!half_away) return r;
  return rest == 0.5f && x > 0 ? r + 1 : rest == -0.5f && x < 0 ? r - 1 : r;
}

inline float limited(float t, float min, float max) {
  t = t > min ? t : min;  // NaN becomes min
  return t < max ? t : max;
}

// Parameters are copied where results are written: behind a reference they could be what is written
// to, and the loops would not become vectors.
template <class Raw>
void to_float(const FinishTile& parameters) noexcept {
  const FinishTile f = parameters;
  for (int64_t m = 0; m < f.rows; ++m) {
    const Raw* raw = static_cast<const Raw*>(f.raw) + m * f.raw_row;
    float* y = static_cast<float*>(f.y) + m * f.y_row;
    for (int64_t i = 0; i < f.count; ++i) {
      y[i] = limited(static_cast<float>(raw[i]) * f.scale[i] + f.bias[i], f.min, f.max);
    }
  }
}

template <bool kAway>
void to_code(FinishTile f) noexcept {
  for (int64_t m = 0; m < f.rows; ++m) {
    const int32_t* raw = static_cast<const int32_t*>(f.raw) + m * f.raw_row;
    uint8_t* y = static_cast<uint8_t*>(f.y) + m * f.y_row;
    for (int64_t i = 0; i < f.count; ++i) {
      const float t = limited(static_cast<float>(raw[i]) * f.scale[i] + f.bias[i], f.min, f.max);
      y[i] = static_cast<uint8_t>(static_cast<int32_t>(nearest(t, kAway)) + f.zero);
    }
  }
}

template <class W = V>
void to_code_any(const FinishTile& f) noexcept {
  if (f.half_away) return to_code<true>(f);
  if constexpr (W::kFinishes) {
    W::to_code(f);
  } else {
    to_code<false>(f);
  }
}

template <bool kAway>
void add_codes_by(AddCodes f) noexcept {
  for (int64_t i = 0; i < f.n; ++i) {
    const float a = static_cast<float>(f.a[i] - f.zero_a) * f.scale_a;
    const float b = static_cast<float>(f.b[i] - f.zero_b) * f.scale_b;
    const float t = limited(a + b, f.min, f.max);
    f.y[i] = static_cast<uint8_t>(static_cast<int32_t>(nearest(t, kAway)) + f.zero);
  }
}

void add_codes(const AddCodes& f) noexcept {
  if (f.half_away) {
    add_codes_by<true>(f);
  } else {
    add_codes_by<false>(f);
  }
}

void add_floats(const AddFloats& parameters) noexcept {
  const AddFloats f = parameters;
  for (int64_t i = 0; i < f.n; ++i) {
    f.y[i] = limited(f.scale_a * f.a[i] + f.scale_b * f.b[i], f.min, f.max);
  }
}

template <bool kAway, bool kMultiply>
void encode_by(Encode f) noexcept {
  for (int64_t i = 0; i < f.n; ++i) {
    const float x = f.x[i];
    const float t = kMultiply ? limited(x * f.scale, 0, 1) * f.steps : x / f.scale + f.shift;
    const float code = nearest(limited(t, f.min, f.max), kAway);
    f.y[i] = static_cast<uint8_t>(static_cast<int32_t>(code) + f.zero);
  }
}

void encode_ternary(Encode f) noexcept {
  for (int64_t i = 0; i < f.n; ++i) {
    const float x = f.x[i];
    f.y[i] = static_cast<uint8_t>((x > f.scale) - (x < -f.scale) + f.zero);
  }
}

void encode(const Encode& f) noexcept {
  if (f.how == Encode::How::ternary) return encode_ternary(f);
  const bool multiply = f.how == Encode::How::multiply;
  if (f.half_away) return multiply ? encode_by<true, true>(f) : encode_by<true, false>(f);
  return multiply ? encode_by<false, true>(f) : encode_by<false, false>(f);
}

template <class In, class W, class Out>
void depthwise(const In* const* x, const W* w, int64_t taps, int64_t channels, Out zero,
               Out* raw) noexcept {
  for (int64_t c = 0; c < channels; ++c) raw[c] = 0;
  for (int64_t t = 0; t < taps; ++t) {
    const In* from = x[t];
    if (!from) continue;  // outside of the image
    const W* by = w + t * channels;
    for (int64_t c = 0; c < channels; ++c) raw[c] += (from[c] - zero) * by[c];
  }
}

#include "deploy/runtime/kernels/signs-inl.h"
#include "deploy/runtime/kernels/winograd-inl.h"

// Tiles of every size up to kRows[P - 1] x P.
template <class Dot, int R, int P>
constexpr void fill(TileKernel (&rows)[kMaxRows][kMaxPanels]) {
  rows[R - 1][P - 1] = tile<Dot, R, P>;
  if constexpr (R < kRows[P - 1]) fill<Dot, R + 1, P>(rows);
}

template <class Dot, int P = 1>
constexpr void fill_all(TileKernel (&rows)[kMaxRows][kMaxPanels]) {
  fill<Dot, 1, P>(rows);
  if constexpr (P < kPanels) fill_all<Dot, P + 1>(rows);
}

constexpr Kernels make(const char* name) {
  Kernels k{};
  k.name = name;
  k.panels = kPanels, k.sign_rows = kSignRows;
  for (int p = 0; p < kPanels; ++p) k.rows[p] = kRows[p];
  fill_all<typename V::Float>(k.floats);
  fill_all<typename V::Code>(k.codes);
  k.signs = signs;
  fill_tables(k.tables);
  k.likes_tables = V::kLikesTables;
  k.float_to_float = to_float<float>;
  k.int_to_float = to_float<int32_t>;
  k.int_to_code = to_code_any<>;
  k.int_to_bits = to_bits<int32_t>;
  k.float_to_bits = to_bits<float>;
  k.signs_of = signs_of;
  k.add_codes = add_codes;
  k.add_floats = add_floats;
  k.encode = encode;
  k.depthwise_codes = depthwise<uint8_t, int8_t, int32_t>;
  k.depthwise_floats = depthwise<float, float, float>;
  k.winograd_input = winograd_input, k.winograd_output = winograd_output;
  return k;
}
