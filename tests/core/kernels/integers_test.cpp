// Convolutions of tensors on grids: sums of integers, to the bit, where the CPU has VPDPBUSD, and
// close to that everywhere else.

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "core/deferred.h"
#include "core/grid.h"
#include "core/kernels/conv_tile.h"
#include "core/kernels/fake_quant.h"
#include "core/kernels/quads.h"
#include "core/kernels/ref_conv.h"
#include "core/ops.h"
#include "core/ops/conv_passes.h"
#include "core/parallel.h"
#include "tests/core/kernels/conv_cases.h"
#include "tests/support/isa.h"

using namespace pare;
using namespace pare::conv_cases;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Codes {
  float lo, hi, zero;
};
const Codes kCodes[] = {{0, 255, 0}, {0, 15, 0}, {0, 255, 37}, {-128, 127, 0}, {-8, 7, 3}};

Tensor quantized(const Tensor& x, const Codes& c, float step) {
  return fake_quant(x, Tensor::scalar(step), Tensor::scalar(c.zero), {.lo = c.lo, .hi = c.hi});
}

Tensor quantized_filters(const Tensor& w, float lo, float hi, Rng& rng) {
  const Tensor steps = Tensor::uniform({w.dim(0)}, rng, 0.01f, 0.05f);
  return fake_quant(w, steps, {}, {.lo = lo, .hi = hi, .share = QuantShare::filter});
}

std::vector<float> integers_of(const Tensor& t) {
  const std::vector<float>& step = t.grid()->step;
  const int64_t row = t.numel() / t.dim(0);
  std::vector<float> whole;
  for (int64_t i = 0; i < t.numel(); ++i) {
    const size_t k = step.size() == 1 ? 0 : static_cast<size_t>(i / row);
    whole.push_back(std::nearbyint(t.data()[i] / step[k]));
  }
  return whole;
}

/// The definition: y = fma(sum of integers, step of x times step of w, bias).
std::vector<float> exact_forward(const ConvShape& s, const Tensor& x, const Tensor& w,
                                 const Tensor& b) {
  const auto sums = ref::conv_forward(s, integers_of(x).data(), integers_of(w).data(), nullptr);
  std::vector<float> y;
  for (size_t i = 0; i < sums.size(); ++i) {
    const size_t o = i % static_cast<size_t>(s.out);
    const float scale = x.grid()->step[0] * w.grid()->step[w.grid()->step.size() == 1 ? 0 : o];
    y.push_back(std::fma(static_cast<float>(sums[i]), scale, b ? b.data()[o] : 0.0f));
  }
  return y;
}

bool depthwise(const ConvShape& s) { return s.groups == s.in && s.groups == s.out; }
bool in_words(const ConvShape& s) { return s.groups == 1 || s.in / s.groups % 4 == 0; }

Tensor forward(const ConvShape& s, const Tensor& x, const Tensor& w, const Tensor& b) {
  return conv_forward(s, x, w, b, {s.images, s.out_h(), s.out_w(), s.out}, /*exact=*/true);
}

struct Operands {
  Tensor x, w, b;
};

Operands operands(const ConvShape& s, const Codes& codes, Rng& rng) {
  return {quantized(Tensor::normal({s.images, s.height, s.width, s.in}, rng), codes, 0.02f),
          quantized_filters(
              Tensor::normal({s.out, s.kernel_h, s.kernel_w, s.in / s.groups}, rng, 0, 0.5f), -7, 7,
              rng),
          Tensor::normal({s.out}, rng)};
}

}  // namespace

TEST_CASE("convolutions on grids are sums of integers, on every ISA") {
  if (!kernels::quad_kernels()) MESSAGE("skipped: this CPU has no VPDPBUSD, float32 sums only");
  test::for_each_isa([&](std::string_view isa) {
    CAPTURE(std::string(isa));
    for (const ConvShape& s : shapes()) {
      CAPTURE(name(s));
      for (const Codes& codes : kCodes) {
        CAPTURE(codes.lo);
        CAPTURE(codes.zero);
        Rng rng(3);
        const Operands o = operands(s, codes, rng);
        const Tensor bias = codes.lo == 0 ? o.b : Tensor{};
        const std::vector<float> want = exact_forward(s, o.x, o.w, bias);
        const Tensor y = forward(s, o.x, o.w, bias);
        const bool integers = kernels::quad_kernels() && !depthwise(s) && in_words(s);
        if (integers) {
          CHECK(std::equal(want.begin(), want.end(), y.data()));
        } else {
          CHECK(gap(y, {want.begin(), want.end()}) < kTolerance);
        }
      }
    }
  });
}

TEST_CASE("binary and ternary operands, eight bits at their ends") {
  const ConvShape s{2, 6, 5, 24, 40, 3, 3, 1, 1, 1, 1, 1, 1, 1};
  Rng rng(5);
  const Tensor x = Tensor::normal({2, 6, 5, 24}, rng), w = Tensor::normal({40, 3, 3, 24}, rng);
  const Tensor signs = sign(x, Ste::clip);
  REQUIRE(signs.grid());
  const Tensor weights[] = {sign(w, Ste::clip), quantized(w, {-128, 127, 0}, 1e-3f),
                            fake_quant(w, Tensor::scalar(1e-3f), {}, {.lo = -128, .hi = 127})};
  const Tensor inputs[] = {signs, quantized(x, {0, 255, 255}, 1e-3f),
                           quantized(x, {0, 255, 0}, 1e-3f)};
  for (const Tensor& a : inputs) {
    for (const Tensor& b : weights) {
      const std::vector<float> want = exact_forward(s, a, b, {});
      const Tensor y = forward(s, a, b, {});
      if (kernels::quad_kernels()) CHECK(std::equal(want.begin(), want.end(), y.data()));
      CHECK(gap(y, {want.begin(), want.end()}) < kTolerance);
    }
  }
}

TEST_CASE("the same bits for any number of threads and with fusion off") {
  const ConvShape s{5, 14, 13, 21, 50, 3, 3, 2, 2, 1, 1, 1, 1, 1};
  Rng rng(6);
  const Operands o = operands(s, kCodes[1], rng);
  const Tensor gamma = Tensor::uniform({21}, rng, -1, 2);
  Tensor mean = Tensor::zeros({21}), var = Tensor::ones({21});
  const auto run = [&] {
    const Tensor n = batch_norm(o.x, gamma, {}, mean, var, {.train = false});
    const Tensor q = fake_quant(n, Tensor::scalar(0.1f), {}, {.lo = 0, .hi = 15});
    REQUIRE(q.grid());
    return forward(s, q, o.w, o.b).clone();
  };
  const int threads = num_threads();
  const Tensor want = run();
  for (int t : {1, 2, 3}) {
    set_num_threads(t);
    CHECK(run() == want);
  }
  set_num_threads(threads);
  set_fusion(false);
  CHECK(run() == want);
  set_fusion(true);
  set_integer_products(false);
  const Tensor floats = run();
  set_integer_products(true);
  CHECK(gap(floats, {want.span().begin(), want.span().end()}) < kTolerance);
}

TEST_CASE("NaN in a quantized operand is still seen behind the convolution") {
  const ConvShape s{2, 6, 5, 8, 9, 3, 3, 1, 1, 1, 1, 1, 1, 1};
  Rng rng(7);
  Tensor x = Tensor::normal({2, 6, 5, 8}, rng), w = Tensor::normal({9, 3, 3, 8}, rng);
  const auto run = [&] {
    return forward(s, quantized(x, {0, 15, 0}, 0.1f),
                   fake_quant(w, Tensor::scalar(0.1f), {}, {.lo = -7, .hi = 7}), {});
  };
  x.data()[100] = kNan;
  const Tensor bad_input = run();
  CHECK(std::isnan(bad_input.at({0, 2, 2, 0})));  // pixel 12 is row 2, column 2
  x.data()[100] = 0;
  w.data()[4] = kNan;
  CHECK(std::isnan(run().at({1, 3, 3, 0})));
  w.data()[4] = std::numeric_limits<float>::infinity();  // the largest code
  CHECK(!std::isnan(run().at({1, 3, 3, 0})));
}

TEST_CASE("grids follow views, pools and shuffles, and end with a change of the values") {
  Rng rng(8);
  const Tensor x = quantized(Tensor::normal({2, 4, 4, 8}, rng), {0, 15, 3}, 0.25f);
  REQUIRE(x.grid());
  CHECK(x.grid()->lo == -3);
  CHECK(x.grid()->hi == 12);
  CHECK(x.grid()->step == std::vector<float>{0.25f});
  CHECK(x.detach().grid() == x.grid());
  CHECK(x.reshape({8, 4, 8}).grid() == x.grid());
  CHECK(max_pool2d(x, {.kernel = 2, .stride = 2}).grid() == x.grid());
  CHECK(channel_shuffle(x, 2).grid() == x.grid());
  CHECK(!avg_pool2d(x, {.kernel = 2, .stride = 2}).grid());
  CHECK(!relu(x).grid());
  CHECK(!(x + x).grid());
  Tensor changed = x.detach();
  changed.data()[0] = 0.1f;
  CHECK(!x.grid());
}

TEST_CASE("grids that do not fit bytes are summed in float32") {
  const ConvShape s{1, 4, 4, 8, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1};
  Rng rng(9);
  const Tensor x = quantized(Tensor::normal({1, 4, 4, 8}, rng), {0, 1023, 0}, 0.001f);
  const Tensor w = Tensor::normal({8, 3, 3, 8}, rng);
  const Tensor wide = fake_quant(w, Tensor::scalar(1e-4f), {}, {.lo = -32768, .hi = 32767});
  const Tensor narrow = fake_quant(w, Tensor::scalar(0.1f), {}, {.lo = -7, .hi = 7});
  for (const Tensor& weight : {wide, narrow}) {
    const auto want = ref::conv_forward(s, x.data(), weight.data(), nullptr);
    CHECK(gap(forward(s, x, weight, {}), want) < kTolerance);
  }
}

TEST_CASE("bytes of values, with tails and odd channels") {
  Rng rng(10);
  test::for_each_isa([&](std::string_view) {
    for (int64_t channels : {1, 3, 4, 7, 16, 18, 33, 64}) {
      const int64_t pixels = 5;
      const kernels::ByteCode code{1 / 0.05f, -9, 100};
      std::vector<float> x, to(static_cast<size_t>(pixels * kernels::quads(channels)));
      for (int64_t i = 0; i < pixels * channels; ++i)
        x.push_back(0.05f * std::floor(rng.uniform(-9.0f, 100.99f)));
      CHECK(kernels::byte_quads(code, x.data(), pixels, channels, to.data()));
      const uint8_t* bytes = reinterpret_cast<const uint8_t*>(to.data());
      for (int64_t p = 0; p < pixels; ++p) {
        for (int64_t k = 0; k < 4 * kernels::quads(channels); ++k) {
          const float v = k < channels ? x[static_cast<size_t>(p * channels + k)] : 0.0f;
          const int want = k < channels ? static_cast<int>(std::lround(v / 0.05f)) + 9 : 0;
          CHECK(bytes[p * 4 * kernels::quads(channels) + k] == want);
        }
      }
      for (float bad : {kNan, 0.05f * 101, 0.05f * -10, std::numeric_limits<float>::infinity()}) {
        std::vector<float> broken = x;
        broken.back() = bad;
        CHECK(!kernels::byte_quads(code, broken.data(), pixels, channels, to.data()));
      }
    }
  });
}

TEST_CASE("quantizing to bytes is quantizing, then bytes") {
  Rng rng(11);
  test::for_each_isa([&](std::string_view) {
    for (const FakeQuant& q :
         {FakeQuant{.scale = 0.05f, .lo = -8, .hi = 7},
          FakeQuant{.scale = 0.02f, .zero = 117, .lo = 0, .hi = 255, .shift_first = true},
          FakeQuant{
              .scale = 0.05f, .zero = 3, .lo = 0, .hi = 15, .rounding = Rounding::half_away}}) {
      const kernels::ByteCode code{1 / q.scale, static_cast<int>(q.lo - q.zero),
                                   static_cast<int>(q.hi - q.zero)};
      for (int64_t channels : {1, 3, 4, 7, 16, 18, 33, 64}) {
        const int64_t pixels = 5, words = pixels * kernels::quads(channels);
        std::vector<float> x, y(static_cast<size_t>(pixels * channels));
        for (int64_t i = 0; i < pixels * channels; ++i) x.push_back(rng.uniform(-4.0f, 4.0f));
        x[0] = q.scale * 2.5f;  // half-way
        kernels::fake_quant(q, x.data(), y.data(), pixels * channels);
        std::vector<float> want(static_cast<size_t>(words)), got(want);
        CHECK(kernels::byte_quads(code, y.data(), pixels, channels, want.data()));
        CHECK(kernels::quant_quads(q, code, x.data(), pixels, channels, got.data()));
        CHECK(std::memcmp(want.data(), got.data(), static_cast<size_t>(words) * 4) == 0);
        x.back() = kNan;
        CHECK(!kernels::quant_quads(q, code, x.data(), pixels, channels, got.data()));
        x.back() = std::numeric_limits<float>::infinity();
        CHECK(kernels::quant_quads(q, code, x.data(), pixels, channels, got.data()));
      }
    }
  });
}
