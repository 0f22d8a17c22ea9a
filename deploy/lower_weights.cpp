#include "deploy/lower_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"

namespace pare::deploy {

using runtime::Coding;

namespace {

/// The tightest coding that has all these numbers; f32: none has.
Coding coding_of(const std::vector<int16_t>& values) {
  const auto [lo, hi] = std::minmax_element(values.begin(), values.end());
  const auto within = [&](int least, int most) { return *lo >= least && *hi <= most; };
  const auto all = [&](auto&& f) { return std::all_of(values.begin(), values.end(), f); };
  const bool odd = all([](int v) { return v % 2 != 0; });
  if (within(-1, 1)) return odd ? Coding::binary : Coding::ternary;
  if (within(-2, 1)) return Coding::s2;
  if (odd && within(-3, 3)) return Coding::o2;
  if (within(-8, 7)) return Coding::s4;
  if (odd && within(-15, 15)) return Coding::o4;
  if (within(-128, 127)) return Coding::s8;
  return odd && within(-255, 255) ? Coding::o8 : Coding::f32;
}

}  // namespace

PackedWeight pack(const Node& conv) {
  const Tensor& w = conv.weight;
  PackedWeight p{.filters = w.dim(0), .n = w.numel() / w.dim(0)};
  if (!conv.codes) return p;
  const auto as_floats = [&](const char* why) {
    return PackedWeight{.filters = p.filters, .n = p.n, .why_float = why};
  };
  const nn::Codes& codes = *conv.codes;
  if (codes.share == QuantShare::channel) return as_floats("scales per input channel");
  const std::vector<int32_t> integers = nn::integers(codes, w);
  const bool each = codes.share == QuantShare::filter;
  constexpr int32_t kMost = INT16_MAX;  // and far too many for any coding
  for (int64_t f = 0; f < p.filters; ++f) {
    const auto group = static_cast<size_t>(each ? f : 0);
    const float zero = codes.zero[group];
    if (zero != std::nearbyint(zero)) return as_floats("a fractional zero point");
    p.scale.push_back(codes.scale[group]);
    for (int64_t i = 0; i < p.n; ++i) {
      const int32_t code = integers[static_cast<size_t>(f * p.n + i)] - static_cast<int32_t>(zero);
      p.values.push_back(static_cast<int16_t>(std::clamp(code, -kMost, kMost)));
    }
  }
  p.coding = coding_of(p.values);
  return p.coding == Coding::f32 ? as_floats("more than 8 bits") : p;
}

runtime::Bytes PackedWeight::bytes(const Tensor& weight) const {
  if (coding == Coding::f32) {
    std::vector<uint8_t> raw(static_cast<size_t>(weight.numel()) * 4);
    std::memcpy(raw.data(), weight.data(), raw.size());
    return runtime::Bytes::of(std::move(raw));
  }
  const int64_t each = runtime::filter_bytes(coding, n);
  std::vector<uint8_t> raw(static_cast<size_t>(each * filters));
  for (int64_t f = 0; f < filters; ++f) {
    runtime::pack_filter(coding, values.data() + f * n, n, raw.data() + f * each);
  }
  return runtime::Bytes::of(std::move(raw));
}

int32_t threshold(int32_t most, const std::function<bool(int32_t)>& f) {
  if (!f(most)) return INT32_MAX;
  if (f(-most)) return INT32_MIN;
  int32_t no = -most, yes = most;
  while (yes - no > 1) {
    const int32_t middle = no + (yes - no) / 2;
    (f(middle) ? yes : no) = middle;
  }
  return yes;
}

}  // namespace pare::deploy
