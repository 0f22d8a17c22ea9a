#include "deploy/lower_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"

namespace pare::deploy {

using runtime::Coding;

namespace {

/// The tightest coding that has all these numbers.
Coding coding_of(const std::vector<int8_t>& values) {
  const auto [lo, hi] = std::minmax_element(values.begin(), values.end());
  const bool zero = std::find(values.begin(), values.end(), int8_t{0}) != values.end();
  if (*lo >= -1 && *hi <= 1) return zero ? Coding::ternary : Coding::binary;
  if (*lo >= -2 && *hi <= 1) return Coding::s2;
  return *lo >= -8 && *hi <= 7 ? Coding::s4 : Coding::s8;
}

}  // namespace

PackedWeight pack(const Node& conv) {
  const Tensor& w = conv.weight;
  PackedWeight p{.filters = w.dim(0), .n = w.numel() / w.dim(0)};
  if (!conv.codes) return p;
  const nn::Codes& codes = *conv.codes;
  if (codes.share == QuantShare::channel) return p.why_float = "scales per input channel", p;
  const std::vector<int32_t> integers = nn::integers(codes, w);
  const bool each = codes.share == QuantShare::filter;
  for (int64_t f = 0; f < p.filters; ++f) {
    const auto group = static_cast<size_t>(each ? f : 0);
    const float zero = codes.zero[group];
    if (zero != std::nearbyint(zero)) return p.why_float = "a fractional zero point", p;
    p.scale.push_back(codes.scale[group]);
    for (int64_t i = 0; i < p.n; ++i) {
      const int32_t code = integers[static_cast<size_t>(f * p.n + i)] - static_cast<int32_t>(zero);
      if (code < -128 || code > 127) {
        p.values.clear();
        return p.why_float = str("code ", code, " has more than 8 bits"), p;
      }
      p.values.push_back(static_cast<int8_t>(code));
    }
  }
  p.coding = coding_of(p.values);
  return p;
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
