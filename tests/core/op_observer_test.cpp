#include "core/op_observer.h"

#include <doctest/doctest.h>

#include <functional>

#include "core/autograd.h"
#include "core/deferred.h"
#include "core/error.h"
#include "core/ops.h"

using namespace pare;

namespace {

/// "op(options)" of every call, tensors as their shapes.
struct Log final : OpObserver {
  void after(const OpCall& call) override {
    std::string options;
    for (const Attribute& a : call.attributes) {
      if (!a.name) continue;
      options += options.empty() ? "" : " ";
      options += std::string(a.name) + "=";
      std::visit([&](const auto& v) { options += text(v); }, a.value);
    }
    lines.push_back(std::string(call.op) + "(" + options + ")");
    inputs.push_back(call.inputs.size());
  }

  static std::string text(const Hw& v) { return str(v.h, "x", v.w); }
  static std::string text(const Tensor& t) { return "tensor" + t.shape().str(); }
  static std::string text(bool v) { return v ? "yes" : "no"; }
  template <class T>
  static std::string text(const T& v) {
    return str(v);
  }

  std::vector<std::string> lines;
  std::vector<size_t> inputs;
};

Tensor image(int64_t channels = 4) { return Tensor::ones({1, 6, 6, channels}); }

Tensor normalized(const Tensor& x) {
  Tensor mean = Tensor::zeros({x.dim(-1)}), var = Tensor::ones({x.dim(-1)});
  return batch_norm(x, {}, {}, mean, var, {.train = false, .eps = 0.5f});
}

}  // namespace

TEST_CASE("observers learn an op's name and options") {
  struct Case {
    std::function<void()> run;
    std::string last;
  };
  const Tensor x = image();
  Rng rng(1);
  const std::vector<Case> cases{
      {[&] {
         conv2d(x, Tensor::ones({2, 3, 1, 2}), {}, {.stride = {2, 1}, .pad = 1, .groups = 2});
       },
       "conv2d(stride=2x1 pad=1x1 dilation=1x1 groups=2)"},
      {[&] {
         conv_transpose2d(x, Tensor::ones({4, 2, 2, 1}), {}, {.stride = 2, .output_pad = 1});
       },
       "conv_transpose2d(stride=2x2 pad=0x0 output_pad=1x1 dilation=1x1 groups=1)"},
      {[&] { normalized(x); }, "batch_norm(eps=0.5 running_mean=tensor[4] running_var=tensor[4])"},
      {[&] { layer_norm(x, {}, {}, 0.25f); }, "layer_norm(eps=0.25)"},
      {[&] { max_pool2d(x, {.kernel = 3, .stride = 2, .pad = 1, .ceil_mode = true}); },
       "max_pool2d(kernel=3x3 stride=2x2 pad=1x1 ceil_mode=yes)"},
      {[&] {
         avg_pool2d(x, {.kernel = {1, 2}, .count_include_pad = false});
       },
       "avg_pool2d(kernel=1x2 stride=2x2 pad=0x0 ceil_mode=no count_include_pad=no)"},
      {[&] { global_avg_pool2d(x); }, "mean(axes=[1, 2] keep=yes)"},
      {[&] { sum(x, {-1}); }, "sum(axes=[3] keep=no)"},
      {[&] { max(x); }, "max(axes=[0, 1, 2, 3] keep=no)"},
      {[&] { var(x, {1}, true, 0); }, "var(axes=[1] keep=yes correction=0)"},
      // Axes apart are brought together first: order 0, 2, 1, 3, so it is the last two that go.
      {[&] {
         sum(x, {1, 3});
       },
       "sum(axes=[2, 3] keep=no)"},
      {[&] { relu(x); }, "relu()"},
      {[&] { leaky_relu(x, 0.5f); }, "leaky_relu(slope=0.5)"},
      {[&] { clamp(x, -1, 2); }, "clamp(lo=-1 hi=2)"},
      {[&] { round(x, Rounding::half_away); }, "round(rounding=half_away)"},
      {[&] { pointwise({.kind = Pointwise::Kind::quantize, .a = 1, .b = 15, .c = 2}, x); },
       "quantize(prescale=1 levels=15 scale=2 rounding=half_even)"},
      {[&] { x + 2.0f; }, "add(value=2)"},
      {[&] { x * 3.0f; }, "mul(value=3)"},
      {[&] { x / 4.0f; }, "div(value=4)"},
      {[&] { 5.0f / x; }, "div(numerator=5)"},
      {[&] {
         concat({x, x}, 1);
       },
       "concat(axis=1)"},
      {[&] { slice(x, -1, 1, 3); }, "slice(axis=3 begin=1 end=3)"},
      {[&] { pad(x, 3, 1, 2, 0.5f); }, "pad(axis=3 before=1 after=2 value=0.5)"},
      {[&] { channel_shuffle(x, 2); }, "channel_shuffle(groups=2)"},
      {[&] { dropout(x, 0.5f, rng); }, "dropout(p=0.5)"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.last);
    Log log;
    c.run();
    REQUIRE(!log.lines.empty());
    CHECK(log.lines.back() == c.last);
  }
}

TEST_CASE("observers are told off the tape too, and see ops as they are written") {
  const bool before = fusion_enabled();
  set_fusion(true);
  const NoGrad guard;
  const auto compute = [] { return relu(normalized(image()) + image()); };
  const Tensor fused = compute();
  Log outer;
  {
    Log inner;
    CHECK_FALSE(fusion_enabled());
    const Tensor plain = compute();
    CHECK(inner.lines.size() == 3);
    CHECK(inner.lines[1] == "add()");
    CHECK(inner.lines[2] == "relu()");
    CHECK(inner.inputs == std::vector<size_t>{4, 2, 1});
    CHECK(plain == fused);
  }
  CHECK(outer.lines.size() == 3);
  CHECK(OpObserver::any());
  set_fusion(before);
}

TEST_CASE("without an observer ops are fused again") {
  const bool before = fusion_enabled();
  set_fusion(true);
  { Log log; }
  CHECK_FALSE(OpObserver::any());
  CHECK(fusion_enabled());
  CHECK(normalized(image()).pending());
  set_fusion(before);
}
