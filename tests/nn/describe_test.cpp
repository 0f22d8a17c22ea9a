#include "nn/describe.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "nn/layers.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::nn;
using test::contains;

namespace {

/// Three bits a value and a learned scale per filter.
struct ThreeBits final : Module, StoredBits {
  explicit ThreeBits(int64_t filters) : scale(Tensor::ones({filters}).requires_grad_()) {}
  Tensor forward(const Tensor& w) override { return w; }
  void visit(Visitor& v) override { v("scale", scale); }
  std::string describe() const override { return "ThreeBits"; }
  int64_t stored_bits(const Tensor& w) const override { return 3 * w.numel() + 32 * w.dim(0); }

  Tensor scale;
};

/// A layer that is there but not called, one that is called twice.
struct Odd final : Module {
  Odd() : used(Linear({.in = 4, .out = 4})), unused(Linear({.in = 4, .out = 1})) {}
  Tensor forward(const Tensor& x) override { return used(used(flatten(x))); }
  void visit(Visitor& v) override { v("unused", unused)("used", used); }
  std::string describe() const override { return "Odd"; }

  Layer used, unused;
};

Layer net() {
  return Sequential({Conv2d({.in = 2, .out = 6, .pad = 1, .groups = 2}), BatchNorm2d(6), ReLU(),
                     MaxPool2d({.kernel = 2, .stride = 2}),
                     ConvTranspose2d({.in = 6, .out = 3, .kernel = 2, .stride = 2, .bias = false}),
                     Flatten(), Linear({.in = 3 * 8 * 8, .out = 5})});
}

constexpr int64_t kConv = 6 * 9 + 6, kUp = 6 * 4 * 3, kLinear = 192 * 5 + 5;

}  // namespace

TEST_CASE("the summary counts parameters, multiplications and bytes") {
  Layer model = net();
  const Summary s = summarize(model, {8, 8, 2});
  REQUIRE(s.rows.size() == 7);
  CHECK(s.rows[0].path == "0");
  CHECK(s.rows[0].type == "Conv2d(2, 6, kernel=3, pad=1, groups=2)");
  CHECK(s.rows[0].output == Shape{1, 8, 8, 6});
  CHECK(s.rows[0].params == kConv);
  CHECK(s.rows[0].macs == 8 * 8 * 6 * 9);
  CHECK(s.rows[0].bits == 32 * kConv);
  CHECK(s.rows[1].params == 12);
  CHECK(s.rows[1].bits == 32 * 24);
  CHECK(s.rows[2].params == 0);
  CHECK(s.rows[3].output == Shape{1, 4, 4, 6});
  CHECK(s.rows[4].macs == 4 * 4 * 6 * 4 * 3);
  CHECK(s.rows[6].macs == 192 * 5);
  CHECK(s.rows[6].output == Shape{1, 5});
  CHECK(s.params == kConv + 12 + kUp + kLinear);
  CHECK(s.macs == 8 * 8 * 6 * 9 + 4 * 4 * 6 * 4 * 3 + 192 * 5);
  CHECK(s.bytes_fp32 == 4 * (s.params + 12));
  CHECK(s.bytes_quantized == s.bytes_fp32);
}

TEST_CASE("quantized weights count the bits that are stored, whole bytes per tensor") {
  Layer model = net();
  auto& layers = model.as<Sequential>()->layers;
  const int64_t plain = summarize(model, {8, 8, 2}).bytes_fp32;
  layers[0].as<Conv2d>()->weight_fn = ThreeBits(6);
  layers[6].as<Linear>()->weight_fn = ThreeBits(5);
  layers[6].as<Linear>()->input_fn = Activation({.kind = Pointwise::Kind::sign});
  const Summary s = summarize(model, {8, 8, 2});
  CHECK(s.bytes_fp32 == plain);
  const int64_t conv = (54 * 3 + 6 * 32 + 7) / 8, linear = (960 * 3 + 5 * 32) / 8;
  CHECK(s.bytes_quantized == plain - 4 * (54 + 960) + conv + linear);
  CHECK(s.params == kConv + 12 + kUp + kLinear + 11);
  const auto row = [&](const std::string& path) {
    return *std::find_if(s.rows.begin(), s.rows.end(), [&](auto& r) { return r.path == path; });
  };
  CHECK(row("0").bits == 8 * conv + 32 * 6);
  CHECK(row("0.weight_fn").params == 6);
  CHECK(row("0.weight_fn").bits == 0);
  // What learns nothing in a socket is no row of its own.
  CHECK(std::none_of(s.rows.begin(), s.rows.end(), [](auto& r) { return r.path == "6.input_fn"; }));
  CHECK(contains(row("6").type, "weight=ThreeBits, input=Activation(sign)"));
}

TEST_CASE("a layer that is called twice works twice, one that is not called still counts") {
  Layer model = Odd();
  const Summary s = summarize(model, {2, 2, 1});
  REQUIRE(s.rows.size() == 2);
  CHECK(s.rows[0].path == "used");
  CHECK(s.rows[0].params == 20);
  CHECK(s.rows[0].macs == 32);
  CHECK(s.rows[1].path == "unused");
  CHECK(s.rows[1].macs == 0);
  CHECK(s.params == 25);
  CHECK(contains(table(s), "not called"));
}

TEST_CASE("a summary leaves the model as it was") {
  Layer model = net();
  const Tensor mean = buffers(model)[0].tensor.clone();
  model.as<Sequential>()->layers[1]->training = false;
  summarize(model, {8, 8, 2});
  CHECK(buffers(model)[0].tensor == mean);
  CHECK(model->training);
  CHECK_FALSE(model.as<Sequential>()->layers[1]->training);
  CHECK(model.as<Sequential>()->layers[2]->training);
}

TEST_CASE("the table is aligned and ends in totals") {
  Layer model = Sequential({Conv2d({.in = 2, .out = 60, .pad = 1}), ReLU(), Flatten(),
                            Linear({.in = 60 * 64, .out = 5})});
  CHECK("\n" + table(summarize(model, {8, 8, 2})) == R"(
layer  type                            output      params    MACs     size
0      Conv2d(2, 60, kernel=3, pad=1)  [8, 8, 60]   1,140  69.1 k  4.56 kB
1      ReLU                            [8, 8, 60]
2      Flatten                         [3840]
3      Linear(3840, 5)                 [5]         19,205  19.2 k  76.8 kB
total                                              20,345  88.3 k  81.4 kB
)");
  model.as<Sequential>()->layers[3].as<Linear>()->weight_fn = ThreeBits(5);
  CHECK(contains(table(summarize(model, {8, 8, 2})), "float32 size 81.4 kB, 6.9 times smaller"));
}
