// Winograd's algorithm against the definition in double, on every ISA.

#include "core/kernels/winograd.h"

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>

#include "core/kernels/bf16.h"
#include "core/kernels/isa.h"
#include "core/kernels/ref_conv.h"
#include "core/ops.h"
#include "core/ops/conv_algorithm.h"
#include "core/ops/conv_weight_winograd.h"
#include "core/parallel.h"
#include "core/winograd.h"

using namespace pare;
using kernels::ConvShape;
using kernels::TileLayout;
using kernels::TileWords;
using kernels::WinogradKind;

namespace {

/// Largest difference, relative to the largest value.
double gap(const Tensor& got, const std::vector<double>& want) {
  double worst = 0, scale = 1e-30;
  for (int64_t i = 0; i < got.numel(); ++i) {
    worst = std::max(worst, std::abs(got.data()[i] - want[static_cast<size_t>(i)]));
    scale = std::max(scale, std::abs(want[static_cast<size_t>(i)]));
  }
  return worst / scale;
}

Tensor with(const GatherPass& pass, const WinogradKind& kind, const Tensor& x, const Tensor& w,
            const Tensor& bias, const Shape& shape) {
  Tensor y = Tensor::uninit(shape);
  Gather({pass}, x, w, bias, {.winograd = kind}).run(y.data());
  return y;
}

/// So many channels that weights outweigh tiles, whatever their kind.
constexpr ConvShape kHeavy{2, 5, 5, 370, 358, 3, 3, 1, 1, 1, 1};

/// Same size as the input, or one pixel smaller or larger; odd sizes and channels; several batches;
/// few tiles.
const ConvShape kShapes[] = {
    {3, 8, 8, 16, 16, 3, 3, 1, 1, 1, 1},   {2, 7, 9, 21, 33, 3, 3, 1, 1, 1, 1},
    {1, 5, 6, 17, 50, 3, 3, 1, 1, 0, 0},   {5, 33, 17, 40, 64, 3, 3, 1, 1, 2, 1},
    {2, 8, 8, 24, 48, 5, 5, 1, 1, 2, 2},   {3, 11, 6, 37, 19, 5, 5, 1, 1, 2, 0},
    {9, 40, 37, 16, 20, 3, 3, 1, 1, 1, 1}, kHeavy,
    {1, 6, 5, 190, 180, 5, 5, 1, 1, 2, 2}};

/// Of the largest value; worst seen 2.9e-6, with bfloat16 products 0.7 and 3.1 %.
double tolerance(const WinogradKind& kind) {
  if (kind.bf16) return kind.alpha() == 4 ? 0.008 : 0.04;
  return kind.alpha() == 4 ? 3e-6 : 5e-6;
}

/// An image that lies against a page which nobody may touch, in front of it or behind it.
class Guarded {
 public:
  Guarded(const Tensor& image, bool in_front) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t bytes = static_cast<size_t>(image.numel()) * sizeof(float);
    const size_t inside = (bytes + page - 1) / page * page;
    size_ = inside + 2 * page;
    memory_ = static_cast<std::byte*>(
        mmap(nullptr, size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    REQUIRE(memory_ != MAP_FAILED);
    REQUIRE(mprotect(memory_ + page, inside, PROT_READ | PROT_WRITE) == 0);
    std::byte* at = memory_ + page + (in_front ? 0 : inside - bytes);
    std::memcpy(at, image.data(), bytes);
    values_ = reinterpret_cast<const float*>(at);
  }
  ~Guarded() { munmap(memory_, size_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  const float* values() const { return values_; }

 private:
  std::byte* memory_;
  size_t size_;
  const float* values_;
};

/// Error of one output channel of random tiles, of the outputs' own size: all operands of the
/// products rounded to bfloat16, Winograd's transformed ones or those of the direct sum.
struct Rounded {
  double winograd, direct;
};
Rounded rounded_to_bf16(const WinogradKind& kind, int64_t channels) {
  const int64_t a = kind.alpha(), points = kind.points(), r = kind.r, m = kind.m;
  const auto value = [](float f) {
    return double{std::bit_cast<float>(kernels::to_bf16(f) << 16)};
  };
  double off = 0, direct_off = 0, size = 0;
  Rng rng(3);
  for (int trial = 0; trial < 100; ++trial) {
    const Tensor x = relu(Tensor::normal({a, a, channels}, rng));
    const Tensor w = Tensor::normal({r * r, channels}, rng);
    Tensor v = Tensor::uninit({points, channels}), u = Tensor::uninit({points, channels});
    Tensor sums = Tensor::uninit({points}), y = Tensor::uninit({m * m});
    kernels::winograd_input(kind, {x.data(), a, a, channels, 0, 0, 1},
                            {TileWords::floats, channels, channels}, v.data());
    kernels::winograd_weight(kind, w.data(), 1, channels, channels, u.data());
    for (int64_t p = 0; p < points; ++p) {
      double sum = 0;
      for (int64_t c = p * channels; c < (p + 1) * channels; ++c) {
        sum += value(u.data()[c]) * value(v.data()[c]);
      }
      sums.data()[p] = static_cast<float>(sum);
    }
    const float bias = 0;
    kernels::winograd_output(kind, {sums.data(), 1, 1, 1, &bias, 1, y.data(), m, 1, m, m});
    for (int64_t o = 0; o < m * m; ++o) {
      double want = 0, direct = 0;
      for (int64_t i = 0; i < r * r * channels; ++i) {
        const int64_t tap = i / channels, row = o / m + tap / r, col = o % m + tap % r;
        const float at = x.data()[(row * a + col) * channels + i % channels];
        want += double{at} * w.data()[i];
        direct += value(at) * value(w.data()[i]);
      }
      size += want * want;
      off += (y.data()[o] - want) * (y.data()[o] - want);
      direct_off += (direct - want) * (direct - want);
    }
  }
  return {std::sqrt(off / size), std::sqrt(direct_off / size)};
}

}  // namespace

TEST_CASE("Winograd's passes equal the definition") {
  const Isa before = active_isa();
  for (Isa isa : supported_isas()) {
    force_isa(isa);
    for (const ConvShape& s : kShapes) {
      Rng rng(5);
      const Tensor x = Tensor::normal({s.images, s.height, s.width, s.in}, rng);
      const Tensor w = Tensor::normal({s.out, s.kernel_h, s.kernel_w, s.in}, rng);
      const Tensor bias = Tensor::normal({s.out}, rng);
      const Tensor dy = Tensor::normal({s.images, s.out_h(), s.out_w(), s.out}, rng);
      const auto want_y = ref::conv_forward(s, x.data(), w.data(), bias.data());
      const auto want_dx = ref::conv_data_gradient(s, dy.data(), w.data());
      const auto want_dw = ref::conv_weight_gradient(s, x.data(), dy.data());
      std::vector<double> want_db(static_cast<size_t>(s.out));
      for (int64_t i = 0; i < dy.numel(); ++i) {
        want_db[static_cast<size_t>(i % s.out)] += dy.data()[i];
      }
      const GatherPass forward = forward_pass(s), backward = data_gradient_passes(s).at(0);
      const size_t floats = s.kernel_h == 3 ? 2 : 1;
      CHECK(winograd_kinds(forward).size() == floats);
      CHECK(winograd_kinds(backward).size() == floats);
      const auto kinds = winograd_kinds(forward, true), back = winograd_kinds(backward, true);
      CHECK(kinds.size() == (s.in % 2 == 0 ? 2 : 1) * floats);
      CHECK(back.size() == (s.out % 2 == 0 ? 2 : 1) * floats);
      for (const WinogradKind& kind : kinds) {
        const std::string isa_text = isa_name(isa);
        CAPTURE(isa_text);
        CAPTURE(kind.m);
        CAPTURE(kind.bf16);
        CAPTURE(s.in);
        CHECK(gap(with(forward, kind, x, w, bias, dy.shape()), want_y) < tolerance(kind));
        Tensor db;
        const Tensor dw = winograd_weight_gradient(s, kind, x, dy, w.shape(), &db);
        CHECK(gap(dw, want_dw) < tolerance(kind));
        CHECK(gap(db, want_db) < 1e-6);
      }
      for (const WinogradKind& kind : back) {
        CAPTURE(kind.m);
        CAPTURE(kind.bf16);
        CHECK(gap(with(backward, kind, dy, w, {}, x.shape()), want_dx) < tolerance(kind));
      }
    }
  }
  force_isa(before);
}

TEST_CASE(
    "Winograd's transforms take zeros where a tile leaves the image, and touch nothing there") {
  const Isa before = active_isa();
  for (Isa isa : supported_isas()) {
    force_isa(isa);
    for (const WinogradKind& kind : {WinogradKind{2, 3}, WinogradKind{4, 3}, WinogradKind{2, 5}}) {
      for (int64_t channels : {5, 16, 37}) {
        CAPTURE(kind.m);
        CAPTURE(channels);
        constexpr int64_t kHeight = 7, kWidth = 6;
        const int64_t tiles = kernels::ceil_div(kWidth, kind.m), pad = kind.r / 2;
        const int64_t border = kind.alpha(), plane = tiles * channels;
        const TileLayout layout{TileWords::floats, channels, plane};
        Rng rng(8);
        const Tensor image = Tensor::normal({kHeight, kWidth, channels}, rng);
        Tensor wide = Tensor::zeros({kHeight + 2 * border, kWidth + 2 * border, channels});
        for (int64_t row = 0; row < kHeight; ++row) {
          std::copy_n(image.data() + row * kWidth * channels, kWidth * channels,
                      wide.data() + ((row + border) * wide.dim(1) + border) * channels);
        }
        for (bool in_front : {true, false}) {
          const Guarded guarded(image, in_front);
          for (int64_t row = -pad; row < kHeight; row += kind.m) {
            Tensor got = Tensor::uninit({kind.points(), plane});
            Tensor want = Tensor::uninit({kind.points(), plane});
            const auto both = [&](auto transform, int64_t first_row, int64_t first_col) {
              transform(kernels::TileRow{guarded.values(), kHeight, kWidth, channels, first_row,
                                         first_col, tiles},
                        got.data());
              transform(kernels::TileRow{wide.data(), wide.dim(0), wide.dim(1), channels,
                                         first_row + border, first_col + border, tiles},
                        want.data());
              CHECK(got == want);
            };
            both([&](const kernels::TileRow& t,
                     float* v) { kernels::winograd_input(kind, t, layout, v); },
                 row, -pad);
            both([&](const kernels::TileRow& t,
                     float* z) { kernels::winograd_output_grad(kind, t, layout, z); },
                 row + pad, 0);
          }
        }
      }
    }
  }
  force_isa(before);
}

TEST_CASE("transformed tiles as words of bfloat16 are the rounded floats") {
  const Isa before = active_isa();
  const auto halves = [](const Tensor& words) {
    std::vector<uint16_t> all(static_cast<size_t>(2 * words.numel()));
    std::memcpy(all.data(), words.data(), all.size() * sizeof(uint16_t));
    return all;
  };
  for (Isa isa : supported_isas()) {
    force_isa(isa);
    for (const WinogradKind& kind : {WinogradKind{2, 3}, WinogradKind{4, 3}, WinogradKind{2, 5}}) {
      for (int64_t channels : {6, 16, 38}) {
        for (int64_t tiles : {1, 2, 5}) {
          CAPTURE(kind.m);
          CAPTURE(channels);
          CAPTURE(tiles);
          Rng rng(9);
          const int64_t height = 7, width = tiles * kind.m + 1, points = kind.points();
          const Tensor image = Tensor::normal({height, width, channels}, rng);
          const kernels::TileRow row{image.data(), height, width, channels, -1, -1, tiles};
          const auto transformed = [&](auto transform, TileWords words) {
            constexpr int64_t kGap = 3;  // between lines, where nothing may be written
            const int64_t used = words == TileWords::channel_pairs ? channels / 2 : channels;
            TileLayout layout{words, used + kGap, 0};
            const int64_t lines = layout.lines(tiles);
            layout.plane = lines * layout.line;
            Tensor v = Tensor::full({points * lines, layout.line}, 7);
            Tensor dense = Tensor::uninit({points, lines * used});
            transform(kind, row, layout, v.data());
            for (int64_t i = 0; i < points * lines; ++i) {
              std::copy_n(v.data() + i * layout.line, used, dense.data() + i * used);
              for (int64_t c = used; c < layout.line; ++c) CHECK(v.at({i, c}) == 7);
            }
            return dense;
          };
          const auto rounded = [&](const Tensor& v, int64_t point, int64_t tile, int64_t c) {
            const float value = v.at({point, tile * channels + c});
            return static_cast<uint16_t>(kernels::to_bf16(value));
          };
          for (auto transform : {kernels::winograd_input, kernels::winograd_output_grad}) {
            const Tensor v = transformed(transform, TileWords::floats);
            const auto by_channels = halves(transformed(transform, TileWords::channel_pairs));
            const auto by_tiles = halves(transformed(transform, TileWords::tile_pairs));
            bool equal = true;
            size_t i = 0, k = 0;
            for (int64_t p = 0; p < points; ++p) {
              for (int64_t t = 0; t < tiles; ++t) {
                for (int64_t c = 0; c < channels; ++c) {
                  equal = by_channels[i++] == rounded(v, p, t, c) && equal;
                }
              }
              for (int64_t t = 0; t < tiles; t += 2) {
                for (int64_t c = 0; c < channels; ++c) {
                  equal = by_tiles[k++] == rounded(v, p, t, c) && equal;
                  const uint16_t second = by_tiles[k++];
                  equal = equal && (t + 1 < tiles ? second == rounded(v, p, t + 1, c)
                                                  : (second & 0x7fff) == 0);
                }
              }
            }
            CHECK(i == by_channels.size());
            CHECK(k == by_tiles.size());
            CHECK(equal);
          }
        }
      }
    }
  }
  force_isa(before);
}

TEST_CASE("what Winograd's products of bfloat16 are off, beside the direct sum's") {
  // -s shows the numbers of docs/performance.md.
  for (const WinogradKind& kind : {WinogradKind{2, 3}, WinogradKind{4, 3}, WinogradKind{2, 5}}) {
    const Rounded error = rounded_to_bf16(kind, 64);
    CAPTURE(kind.m);
    CAPTURE(kind.r);
    INFO("off by ", error.winograd, ", the direct sum by ", error.direct);
    CHECK(error.direct < 0.003);
    CHECK(error.winograd < (kind.alpha() == 4 ? 2 : 5) * error.direct);
  }
}

TEST_CASE("Winograd's weight gradient: the same bits for any number of threads") {
  constexpr ConvShape kMany{9, 40, 37, 16, 20, 3, 3, 1, 1, 1, 1};  // many parts
  constexpr ConvShape kFew{33, 8, 8, 64, 60, 3, 3, 1, 1, 1, 1};    // four parts
  constexpr ConvShape kOne{3, 13, 9, 96, 112, 3, 3, 1, 1, 2, 1};   // one sum: too large for parts
  for (const ConvShape& s : {kMany, kFew, kOne, kHeavy}) {
    Rng rng(6);
    const Tensor x = Tensor::normal({s.images, s.height, s.width, s.in}, rng);
    const Tensor dy = Tensor::normal({s.images, s.out_h(), s.out_w(), s.out}, rng);
    for (const WinogradKind& kind : winograd_kinds(forward_pass(s), true)) {
      const auto with_threads = [&](int threads) {
        set_num_threads(threads);
        Tensor db;
        const Tensor dw = winograd_weight_gradient(s, kind, x, dy, {s.out, 3, 3, s.in}, &db);
        set_num_threads(0);
        return std::vector<Tensor>{dw, db};
      };
      const std::vector<Tensor> one = with_threads(1);
      for (int threads : {2, 3, 5}) CHECK(with_threads(threads) == one);
    }
  }
}

TEST_CASE("Winograd's passes give the same bits panel by panel, for any number of threads") {
  ConvShape few = kHeavy, many = kHeavy;
  few.images = 3, many.images = 60;
  Rng rng(7);
  const Tensor x = Tensor::normal({many.images, many.height, many.width, many.in}, rng);
  const Tensor w = Tensor::normal({many.out, 3, 3, many.in}, rng),
               b = Tensor::normal({many.out}, rng);
  for (const WinogradKind& kind : winograd_kinds(forward_pass(few), true)) {
    CAPTURE(kind.m);
    CAPTURE(kind.bf16);
    const auto outweigh = [&](const ConvShape& s) {
      const GatherPass pass = forward_pass(s);
      return kernels::WinogradPlan(pass.p, s.images, s.out, kind).weights_outweigh;
    };
    CHECK(outweigh(few));
    CHECK(!outweigh(many));
    const auto run = [&](const ConvShape& s) {
      return with(forward_pass(s), kind, x, w, b, {s.images, s.height, s.width, s.out});
    };
    const Tensor all = run(many);
    for (int threads : {1, 2, 5}) {
      set_num_threads(threads);
      const Tensor y = run(few);
      CHECK(std::equal(y.data(), y.data() + y.numel(), all.data()));
    }
    set_num_threads(0);
  }
}

TEST_CASE("conv2d uses Winograd's algorithm only where it is allowed and applies") {
  const auto differs = [](const ConvOptions& o, int64_t kernel, int64_t channels) {
    Rng rng(2);
    const Tensor x = Tensor::normal({2, 9, 9, channels}, rng);
    const Tensor w = Tensor::normal({32, kernel, kernel, channels / o.groups}, rng);
    set_winograd_use(WinogradUse::always);
    const Tensor y = conv2d(x, w, {}, o);
    y.data();
    set_winograd_use(WinogradUse::off);
    return !(y == conv2d(x, w, {}, o));
  };
  CHECK(differs({.pad = 1}, 3, 32));
  CHECK(differs({.pad = 2}, 5, 32));
  CHECK_FALSE(differs({.pad = 1, .exact = true}, 3, 32));
  CHECK_FALSE(differs({.stride = 2, .pad = 1}, 3, 32));
  CHECK_FALSE(differs({.pad = 2, .dilation = 2}, 3, 32));
  CHECK_FALSE(differs({.pad = 1, .groups = 2}, 3, 32));
  CHECK_FALSE(differs({.pad = 3}, 7, 32));
  CHECK_FALSE(differs({.pad = 1}, 3, 3));
}

TEST_CASE("a batch norm behind Winograd's algorithm gets the right statistics") {
  Rng rng(8);
  const ConvShape usual{5, 12, 12, 24, 40, 3, 3, 1, 1, 1, 1};
  for (const ConvShape& s : {usual, kHeavy}) {
    const Tensor x = Tensor::normal({s.images, s.height, s.width, s.in}, rng);
    const Tensor w = Tensor::normal({s.out, 3, 3, s.in}, rng);
    const auto run = [&](WinogradUse use) {
      set_winograd_use(use);
      Tensor mean = Tensor::zeros({s.out}), var = Tensor::ones({s.out});
      const Tensor y = batch_norm(conv2d(x, w, {}, {.pad = 1}), {}, {}, mean, var, {.train = true});
      y.data();
      set_winograd_use(WinogradUse::off);
      return y;
    };
    const Tensor plain = run(WinogradUse::off);
    const std::vector<double> want(plain.data(), plain.data() + plain.numel());
    CHECK(gap(run(WinogradUse::always), want) < 1.5e-5);
  }
}
