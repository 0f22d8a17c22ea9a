// The three passes against their definition, on every ISA.

#include <doctest/doctest.h>

#include "core/kernels/isa.h"
#include "core/kernels/ref_conv.h"
#include "core/ops/conv_passes.h"
#include "core/parallel.h"
#include "tests/core/kernels/conv_cases.h"

using namespace pare;
using namespace pare::conv_cases;

TEST_CASE("convolution passes equal their definition on every ISA") {
  const Isa before = active_isa();
  for (Isa isa : supported_isas()) {
    force_isa(isa);
    for (const ConvShape& s : shapes()) {
      CAPTURE(std::string(isa_name(isa)));
      CAPTURE(name(s));
      Rng rng(11);
      const Tensor x = Tensor::normal({s.images, s.height, s.width, s.in}, rng);
      const Tensor w = Tensor::normal({s.out, s.kernel_h, s.kernel_w, s.in / s.groups}, rng);
      const Tensor b = Tensor::normal({s.out}, rng);
      const Tensor dy = Tensor::normal({s.images, s.out_h(), s.out_w(), s.out}, rng);

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
  }
  force_isa(before);
}

TEST_CASE("convolution passes give the same bits for any number of threads") {
  const ConvShape s{5, 12, 12, 24, 40, 3, 3, 1, 1, 1, 1, 1, 1, 1};
  Rng rng(3);
  const Tensor x = Tensor::normal({s.images, s.height, s.width, s.in}, rng);
  const Tensor w = Tensor::normal({s.out, 3, 3, s.in}, rng);
  const Tensor dy = Tensor::normal({s.images, s.out_h(), s.out_w(), s.out}, rng);
  const auto all = [&](int threads) {
    set_num_threads(threads);
    Tensor db;
    Tensor dw = conv_weight_gradient(s, x, dy, w.shape(), &db);
    return std::vector<Tensor>{conv_forward(s, x, w, {}, dy.shape()),
                               conv_data_gradient(s, dy, w, {}, x.shape()), dw, db};
  };
  const auto one = all(1), two = all(2), five = all(5);
  set_num_threads(0);
  for (size_t i = 0; i < one.size(); ++i) {
    CHECK(one[i] == two[i]);
    CHECK(one[i] == five[i]);
  }
}
