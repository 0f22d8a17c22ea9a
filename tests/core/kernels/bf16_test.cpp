// bfloat16 operands: the rounding, the three passes against their definition on every ISA, and the
// instruction against its emulation where the CPU has it.

#include "core/kernels/bf16.h"

#include <doctest/doctest.h>

#include <limits>

#include "core/kernels/isa.h"
#include "core/kernels/ref_conv.h"
#include "core/ops.h"
#include "core/ops/conv_passes.h"
#include "core/parallel.h"
#include "core/precision.h"
#include "core/winograd.h"
#include "tests/core/kernels/conv_cases.h"

using namespace pare;
using namespace pare::conv_cases;

namespace {

/// bfloat16 operands, of the direct sum unless told otherwise.
struct Bf16 {
  explicit Bf16(WinogradUse use = WinogradUse::off) {
    set_precision(Precision::bf16);
    set_winograd_use(use);
  }
  ~Bf16() {
    set_precision(Precision::fp32);
    set_winograd_use(before);
  }
  WinogradUse before = winograd_use();
};

float from_bf16(uint32_t half) {
  const uint32_t bits = half << 16;
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

float rounded(float x) { return from_bf16(kernels::to_bf16(x)); }

Tensor rounded(const Tensor& x) {
  Tensor y = Tensor::uninit(x.shape());
  for (int64_t i = 0; i < x.numel(); ++i) y.data()[i] = rounded(x.data()[i]);
  return y;
}

std::pair<float, float> numbers(float word) {
  uint32_t bits;
  std::memcpy(&bits, &word, sizeof bits);
  return {from_bf16(bits & 0xffffu), from_bf16(bits >> 16)};
}

template <class F>
void on_every_isa(F&& f) {
  const Isa before = active_isa();
  for (Isa isa : supported_isas()) {
    CAPTURE(std::string(isa_name(isa)));
    force_isa(isa);
    f();
  }
  force_isa(before);
}

}  // namespace

TEST_CASE("bfloat16 rounds to nearest, ties to even") {
  CHECK(rounded(1.0f) == 1.0f);
  CHECK(rounded(1.0f + 0x1p-8f) == 1.0f);           // a tie: down to even
  CHECK(rounded(1.0f + 3 * 0x1p-8f) == 1.015625f);  // a tie: up to even
  CHECK(rounded(1.0f + 0x1.02p-8f) == 1.0078125f);  // above the tie
  CHECK(rounded(-1.0f - 0x1.02p-8f) == -1.0078125f);
  CHECK(rounded(0.0f) == 0.0f);
  CHECK(std::signbit(rounded(-0.0f)));
  constexpr float inf = std::numeric_limits<float>::infinity();
  CHECK(rounded(std::numeric_limits<float>::max()) == inf);
  CHECK(rounded(-inf) == -inf);
  CHECK(std::isnan(rounded(std::numeric_limits<float>::quiet_NaN())));
  CHECK(std::isnan(rounded(std::numeric_limits<float>::signaling_NaN())));
}

TEST_CASE("pairs of channels and of rows hold the rounded numbers on every ISA") {
  Rng rng(4);
  on_every_isa([&] {
    for (int64_t channels : {1, 2, 3, 16, 31, 34, 65}) {
      CAPTURE(channels);
      const int64_t pixels = 5, words = kernels::pairs(channels);
      Tensor x = Tensor::normal({pixels, channels}, rng);
      x.data()[0] = std::numeric_limits<float>::quiet_NaN();
      std::vector<float> to(static_cast<size_t>(pixels * words));
      kernels::bf16_channel_pairs(x.data(), pixels, channels, to.data());
      bool equal = std::isnan(numbers(to[0]).first);
      for (int64_t i = 1; i < pixels * words; ++i) {
        const int64_t k = i % words * 2;
        const float* pixel = x.data() + i / words * channels;
        const auto [first, second] = numbers(to[static_cast<size_t>(i)]);
        equal = equal && first == rounded(pixel[k]) &&
                second == (k + 1 < channels ? rounded(pixel[k + 1]) : 0.0f);
      }
      CHECK(equal);
      kernels::bf16_row_pairs(x.data() + channels, nullptr, channels, to.data());
      for (int64_t k = 0; k < channels; ++k) {
        CHECK(numbers(to[static_cast<size_t>(k)]).first == rounded(x.data()[channels + k]));
        CHECK(numbers(to[static_cast<size_t>(k)]).second == 0.0f);
      }
    }
  });
}

TEST_CASE("convolution passes with bfloat16 operands equal their definition on every ISA") {
  const Bf16 guard;
  on_every_isa([] {
    for (const ConvShape& s : shapes()) {
      CAPTURE(name(s));
      Rng rng(11);
      const Tensor x = rounded(Tensor::normal({s.images, s.height, s.width, s.in}, rng));
      const Tensor w =
          rounded(Tensor::normal({s.out, s.kernel_h, s.kernel_w, s.in / s.groups}, rng));
      const Tensor b = Tensor::normal({s.out}, rng);
      const Tensor dy = rounded(Tensor::normal({s.images, s.out_h(), s.out_w(), s.out}, rng));
      const Tensor y = conv_forward(s, x, w, b, dy.shape());
      CHECK(gap(y, ref::conv_forward(s, x.data(), w.data(), b.data())) < kTolerance);
      const Tensor dx = conv_data_gradient(s, dy, w, {}, x.shape());
      CHECK(gap(dx, ref::conv_data_gradient(s, dy.data(), w.data())) < kTolerance);
      Tensor db;
      const Tensor dw = conv_weight_gradient(s, x, dy, w.shape(), &db);
      CHECK(gap(dw, ref::conv_weight_gradient(s, x.data(), dy.data())) < kTolerance);
      std::vector<double> sums(static_cast<size_t>(s.out));
      for (int64_t i = 0; i < dy.numel(); ++i) sums[static_cast<size_t>(i % s.out)] += dy.data()[i];
      CHECK(gap(db, sums) < kTolerance);
    }
  });
}

TEST_CASE("bfloat16 passes round their operands, and only theirs") {
  const ConvShape s{2, 9, 8, 21, 40, 3, 3, 1, 1, 1, 1, 1, 1, 1};
  Rng rng(6);
  const Tensor x = Tensor::normal({2, 9, 8, 21}, rng), w = Tensor::normal({40, 3, 3, 21}, rng);
  const Tensor dy = Tensor::normal({2, 9, 8, 40}, rng);
  const auto passes = [&s](const Tensor& in, const Tensor& weight, const Tensor& grad) {
    return std::vector<Tensor>{conv_forward(s, in, weight, {}, grad.shape()),
                               conv_data_gradient(s, grad, weight, {}, in.shape()),
                               conv_weight_gradient(s, in, grad, weight.shape(), nullptr)};
  };
  const auto plain = passes(x, w, dy);
  const Bf16 guard;
  const auto got = passes(x, w, dy), want = passes(rounded(x), rounded(w), rounded(dy));
  for (size_t i = 0; i < got.size(); ++i) {
    CHECK(got[i] == want[i]);
    CHECK_FALSE(got[i] == plain[i]);
  }
  const Tensor exact = conv2d(x, w, {}, {.pad = 1, .exact = true});
  CHECK(exact == plain[0]);
}

TEST_CASE(
    "Winograd's algorithm rounds to bfloat16 where channels come in pairs, else stays float32") {
  for (int64_t in : {32, 33}) {
    const ConvShape s{2, 8, 8, in, 17, 3, 3, 1, 1, 1, 1, 1, 1, 1};
    Rng rng(7);
    const Tensor x = Tensor::normal({2, 8, 8, in}, rng), w = Tensor::normal({17, 3, 3, in}, rng);
    const Tensor dy = Tensor::normal({2, 8, 8, 17}, rng);
    const auto passes = [&](Precision p, WinogradUse use) {
      const Bf16 guard(use);
      set_precision(p);
      std::vector<Tensor> all{conv_forward(s, x, w, {}, dy.shape()),
                              conv_data_gradient(s, dy, w, {}, x.shape()),
                              conv_weight_gradient(s, x, dy, w.shape(), nullptr)};
      for (const Tensor& t : all) t.data();
      return all;
    };
    const auto got = passes(Precision::bf16, WinogradUse::always);
    const auto floats = passes(Precision::fp32, WinogradUse::always);
    const auto direct = passes(Precision::bf16, WinogradUse::off);
    for (size_t i = 0; i < got.size(); ++i) {
      CAPTURE(i);
      // The weight gradient sums up over tiles, but goes with the forward pass.
      const bool pairs = i != 1 && in % 2 == 0;
      CHECK((got[i] == floats[i]) == !pairs);
      CHECK_FALSE(got[i] == direct[i]);
      const std::vector<double> want(floats[i].data(), floats[i].data() + floats[i].numel());
      CHECK(gap(got[i], want) < 0.04);
    }
  }
}

TEST_CASE("what is computed on the way is rounded like what is stored") {
  const Bf16 guard;
  Rng rng(8);
  const Tensor x = Tensor::normal({3, 10, 10, 17}, rng), w = Tensor::normal({24, 3, 3, 17}, rng);
  const auto grads = [&](bool stored) {
    Tensor in = x.detach().requires_grad_(), weight = w.detach().requires_grad_();
    Tensor mean = Tensor::zeros({17}), var = Tensor::ones({17});
    Tensor h = relu(batch_norm(in, {}, {}, mean, var, {.train = true}));
    if (stored) h.data();
    const Tensor y = conv2d(h, weight, {}, {.pad = 1});
    sum(y * y).backward();
    return std::vector<Tensor>{y.detach(), in.grad(), weight.grad()};
  };
  const auto fused = grads(false), plain = grads(true);
  for (size_t i = 0; i < fused.size(); ++i) CHECK(fused[i] == plain[i]);
}

TEST_CASE("bfloat16 passes give the same bits for any number of threads") {
  const Bf16 guard;
  const ConvShape s{5, 12, 12, 23, 40, 3, 3, 2, 2, 1, 1, 1, 1, 1};
  Rng rng(3);
  const Tensor x = Tensor::normal({s.images, s.height, s.width, s.in}, rng);
  const Tensor w = Tensor::normal({s.out, 3, 3, s.in}, rng);
  const Tensor dy = Tensor::normal({s.images, s.out_h(), s.out_w(), s.out}, rng);
  const auto all = [&](int threads) {
    set_num_threads(threads);
    return std::vector<Tensor>{conv_forward(s, x, w, {}, dy.shape()),
                               conv_data_gradient(s, dy, w, {}, x.shape()),
                               conv_weight_gradient(s, x, dy, w.shape(), nullptr)};
  };
  const auto one = all(1), five = all(5);
  set_num_threads(0);
  for (size_t i = 0; i < one.size(); ++i) CHECK(one[i] == five[i]);
}

#if defined(__x86_64__)
TEST_CASE("VDPBF16PS equals its emulation") {
  if (!cpu_has_avx512_bf16()) {
    MESSAGE("skipped: this CPU has no VDPBF16PS");
    return;
  }
  constexpr int64_t kRun = 70;
  Rng rng(9);
  const Tensor a = Tensor::normal({2 * kRun}, rng), b = Tensor::normal({2 * kRun * 48}, rng);
  std::vector<float> x(kRun), w(kRun * 48), bias(48, 0.5f);
  kernels::bf16_channel_pairs(a.data(), 1, 2 * kRun, x.data());
  kernels::bf16_channel_pairs(b.data(), 1, 2 * kRun * 48, w.data());
  const auto run = [&](const kernels::TileKernels& kernels) {
    std::vector<float> y(48);
    const int64_t zero = 0;
    kernels.gather(
        1, 3,
        {x.data(), &zero, &zero, 1, kRun, w.data(), y.data(), &zero, 48, bias.data(), x.data()});
    return y;
  };
  const auto got = run(kernels::kPairAvx512Bf16), want = run(kernels::kPairAvx512);
  for (size_t i = 0; i < got.size(); ++i) CHECK(got[i] == doctest::Approx(want[i]).epsilon(1e-6));
}
#endif
