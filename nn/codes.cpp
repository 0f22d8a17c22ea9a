#include "nn/codes.h"

#include <cmath>

#include "core/error.h"

namespace pare::nn {

std::vector<int32_t> integers(const Codes& codes, const Tensor& y) {
  const int64_t groups = static_cast<int64_t>(codes.scale.size());
  const int64_t expected = codes.share == QuantShare::tensor   ? 1
                           : codes.share == QuantShare::filter ? y.dim(0)
                                                               : y.dim(-1);
  PARE_CHECK(groups == expected && codes.zero.size() == codes.scale.size(), "codes: ", expected,
             " scales and zero points are needed for ", y.shape(), ", got ", groups, " and ",
             codes.zero.size());
  const bool channels = codes.share == QuantShare::channel;
  const int64_t run = y.numel() / groups;
  const float* values = y.data();
  std::vector<int32_t> out(static_cast<size_t>(y.numel()));
  for (int64_t i = 0; i < y.numel(); ++i) {
    const auto k = static_cast<size_t>(channels ? i % groups : i / run);
    const float s = codes.scale[k];
    const float code = s > 0 ? std::nearbyint(values[i] / s + codes.zero[k]) : codes.hi;
    PARE_CHECK(code >= codes.lo && code <= codes.hi, "codes: ", values[i], " is code ", code,
               ", and codes run from ", codes.lo, " to ", codes.hi,
               hint("is it what the quantizer made of the weight?"));
    out[static_cast<size_t>(i)] = static_cast<int32_t>(code);
  }
  return out;
}

}  // namespace pare::nn
