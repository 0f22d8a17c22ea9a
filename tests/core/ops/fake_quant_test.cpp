#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "core/deferred.h"
#include "core/ops.h"
#include "core/parallel.h"
#include "tests/support/close.h"
#include "tests/support/isa.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::test;

namespace {

/// y and the gradients of x, scale and zero.
struct Result {
  Tensor y, dx, ds, dz;
};

Result run(Tensor x, Tensor scale, Tensor zero, const FakeQuantOptions& o, const Tensor& dy) {
  for (Tensor* t : {&x, &scale, &zero}) {
    if (!*t) continue;
    *t = t->clone();
    t->requires_grad_();
  }
  const Tensor y = fake_quant(x, scale, zero, o);
  y.backward(dy);
  return {y.detach(), x.grad(), scale.grad(), zero ? zero.grad() : Tensor{}};
}

Tensor random(const Shape& shape, uint64_t seed, float size = 1) {
  Rng rng(seed);
  return Tensor::normal(shape, rng, 0, size);
}

}  // namespace

TEST_CASE("fake_quant: gradients are LSQ's and LSQ+'s surrogate") {
  const Tensor x = Tensor::of({-9, -0.4f, 0.3f, 9}), ones = Tensor::ones({4});
  const Result r = run(x, Tensor::of({1}), {}, {.lo = -4, .hi = 3}, ones);
  CHECK(r.y == Tensor::of({-4, 0, 0, 3}));
  CHECK(r.dx == Tensor::of({0, 1, 1, 0}));
  CHECK(close(r.ds, Tensor::of({-4 + 0.4f - 0.3f + 3}), {.absolute = 1e-6}));

  // A zero point shifts the codes: 0 .. 7 stand for -2 .. 5; 0.5 s is a tie, to even.
  const Result a = run(x * 0.5f, Tensor::of({0.5f}), Tensor::of({2.3f}),
                       {.lo = 0, .hi = 7, .grad_scale = 0.1f}, ones);
  CHECK(a.y == Tensor::of({-1, 0, 0, 2.5f}));
  CHECK(close(a.ds, Tensor::of({0.1f * (-2 + 0.4f - 0.3f + 5)}), {.absolute = 1e-6}));
  CHECK(close(a.dz, Tensor::of({0.1f * -0.5f * 2}), {.absolute = 1e-6}));

  // The scale is used by magnitude; its gradient follows.
  const Result n = run(x, Tensor::of({-1}), {}, {.lo = -4, .hi = 3}, ones);
  CHECK(n.y == r.y);
  CHECK(close(n.ds, r.ds * -1.0f, {}));
}

TEST_CASE("fake_quant: a clipping level learns from what it clips") {
  const Tensor x = Tensor::of({-1, 0, 0.4f, 1.9f, 2.1f, 7}), dy = Tensor::of({1, 2, 4, 8, 16, 32});
  const Result r = run(x, Tensor::of({2}), {}, {.lo = 0, .hi = 3, .clip = true}, dy);
  CHECK(close(r.y, Tensor::of({0, 0, 2 / 3.0f, 2, 2, 2}), {.absolute = 1e-6}));
  CHECK(r.dx == Tensor::of({0, 2, 4, 8, 0, 0}));
  CHECK(r.ds == Tensor::of({48}));
  const Result s = run(Tensor::of({-5, -1, 1, 5}), Tensor::of({2}), {},
                       {.lo = -4, .hi = 3, .clip = true}, Tensor::of({1, 2, 4, 8}));
  CHECK(s.dx == Tensor::of({0, 2, 4, 0}));
  CHECK(s.ds == Tensor::of({8 - 1}));
}

TEST_CASE("fake_quant: limits hold gradients back, not values") {
  const Result r = run(Tensor::of({-0.9f, -0.5f, 0.5f, 0.9f}), Tensor::of({0.1f}), {},
                       {.lo = -8, .hi = 7, .min = Tensor::of({-0.6f}), .max = Tensor::of({0.6f})},
                       Tensor::ones({4}));
  CHECK(close(r.y, Tensor::of({-0.8f, -0.5f, 0.5f, 0.7f}), {.absolute = 1e-6}));
  CHECK(r.dx == Tensor::of({0, 1, 1, 0}));
}

TEST_CASE("fake_quant: per filter and per channel are one quantizer for each") {
  const Tensor x = random({3, 5, 4, 6}, 1), dy = random({3, 5, 4, 6}, 2);
  for (const bool filter : {true, false}) {
    CAPTURE(filter);
    const int axis = filter ? 0 : 3;
    const int64_t groups = x.dim(axis);
    Rng rng(3);
    const Tensor scale = Tensor::uniform({groups}, rng, 0.05f, 0.4f);
    const Tensor zero = Tensor::uniform({groups}, rng, 2, 5);
    FakeQuantOptions o{.lo = 0, .hi = 7};
    o.share = filter ? QuantShare::filter : QuantShare::channel;
    const Result all = run(x, scale, zero, o, dy);
    o.share = QuantShare::tensor;
    for (int64_t g = 0; g < groups; ++g) {
      const Result one = run(slice(x, axis, g, g + 1), slice(scale, 0, g, g + 1),
                             slice(zero, 0, g, g + 1), o, slice(dy, axis, g, g + 1));
      CHECK(slice(all.y, axis, g, g + 1) == one.y);
      CHECK(slice(all.dx, axis, g, g + 1) == one.dx);
      // Sums of 60 or 72 terms in another order.
      CHECK(close(slice(all.ds, 0, g, g + 1), one.ds, {.absolute = 1e-5}));
      CHECK(close(slice(all.dz, 0, g, g + 1), one.dz, {.absolute = 1e-5}));
    }
  }
}

TEST_CASE("fake_quant: the input's gradient does not depend on who learns the scale") {
  const Tensor x = random({4, 9, 9, 7}, 11), dy = random({4, 9, 9, 7}, 12);
  const Tensor weights = random({5, 3, 3, 7}, 13), dz = random({4, 9, 9, 5}, 14);
  const auto gradient = [&](QuantShare share, bool learned, const auto& loss) {
    const int64_t groups = share == QuantShare::tensor ? 1 : share == QuantShare::filter ? 4 : 7;
    Tensor in = x.clone(), scale = Tensor::full({groups}, 0.3f), zero = Tensor::full({groups}, 2);
    in.requires_grad_();
    if (learned) scale.requires_grad_();
    loss(in, [&](const Tensor& t) {
      return fake_quant(t, scale, zero, {.lo = 0, .hi = 7, .share = share, .shift_first = true});
    });
    CHECK(static_cast<bool>(scale.grad()) == learned);
    return in.grad();
  };
  const auto alone = [&](const Tensor& in, const auto& quant) { quant(in).backward(dy); };
  const auto normalized = [&](const Tensor& in, const auto& quant) {
    Tensor mean = Tensor::zeros({7}), var = Tensor::ones({7});
    quant(relu(batch_norm(in, {}, {}, mean, var))).backward(dy);
  };
  const auto before_conv = [&](const Tensor& in, const auto& quant) {
    conv2d(quant(in), weights, {}, {.pad = {1, 1}}).backward(dz);
  };
  for (QuantShare share : {QuantShare::tensor, QuantShare::filter, QuantShare::channel}) {
    CHECK(gradient(share, false, alone) == gradient(share, true, alone));
    CHECK(gradient(share, false, before_conv) == gradient(share, true, before_conv));
  }
  CHECK(gradient(QuantShare::tensor, false, normalized) ==
        gradient(QuantShare::tensor, true, normalized));
}

TEST_CASE("fake_quant: the same bits with 1 and 5 threads") {
  const Tensor x = random({64, 17, 17, 7}, 4), dy = random({64, 17, 17, 7}, 5);
  const auto with = [&](int threads, QuantShare share, int64_t groups) {
    set_num_threads(threads);
    const Result r = run(x, Tensor::full({groups}, 0.2f), Tensor::full({groups}, 3),
                         {.lo = 0, .hi = 15, .share = share}, dy);
    set_num_threads(0);
    return std::vector<Tensor>{r.y, r.dx, r.ds, r.dz};
  };
  CHECK(with(1, QuantShare::tensor, 1) == with(5, QuantShare::tensor, 1));
  CHECK(with(1, QuantShare::filter, 64) == with(5, QuantShare::filter, 64));
  CHECK(with(1, QuantShare::channel, 7) == with(5, QuantShare::channel, 7));
}

TEST_CASE("fake_quant: a scale of zero gives numbers, and its sums over a long run are accurate") {
  const Result r =
      run(Tensor::of({-1, 0, 1}), Tensor::of({0}), {}, {.lo = -4, .hi = 3}, Tensor::ones({3}));
  for (const Tensor* t : {&r.y, &r.dx, &r.ds}) {
    for (float v : t->span()) CHECK(std::isfinite(v));
  }
  const int64_t n = 3 << 20;  // as many gradients of 1 beyond the range
  const Result big =
      run(Tensor::full({n}, 100), Tensor::of({1}), {}, {.lo = -4, .hi = 3}, Tensor::ones({n}));
  CHECK(big.ds == Tensor::of({3.0f * static_cast<float>(n)}));
}

TEST_CASE("bounds: of values in memory and of values that are not computed yet") {
  const Tensor x = random({4, 9, 9, 5}, 6, 3);
  Tensor mean = Tensor::full({5}, 0.5f), var = Tensor::ones({5});
  const auto activation = [&] { return relu(batch_norm(x, {}, {}, mean, var, {.train = false})); };
  const Tensor waiting = activation();
  const Bounds b = bounds(waiting), c = bounds(activation().clone());
  CHECK(b.min == c.min);
  CHECK(b.max == c.max);
  CHECK(b.min == 0);
  CHECK(b.max == max(waiting).item());
  CHECK(bounds(Tensor::of({-2, 7})).min == -2);
  CHECK(std::isnan(bounds(Tensor::of({1, std::nanf("")})).max));
  CHECK(contains(message_of([] { bounds({}); }), "empty"));
}

TEST_CASE("bounds: of normalized batches they are known before the values are") {
  const Tensor x = random({6, 9, 9, 21}, 7, 3), gamma = random({21}, 8), beta = random({21}, 9);
  const auto normalized = [&](const Tensor& of) {
    Tensor mean = Tensor::zeros({21}), var = Tensor::ones({21});
    return batch_norm(of, gamma, beta, mean, var);  // gamma has both signs
  };
  const std::vector<std::function<Tensor(const Tensor&)>> functions = {
      [](const Tensor& t) { return t; },
      [](const Tensor& t) { return relu(t); },
      [](const Tensor& t) { return relu6(t); },
      [](const Tensor& t) { return leaky_relu(t, 0.1f); },
      [](const Tensor& t) { return clamp(t, -0.5f, 0.25f); },
      [](const Tensor& t) { return leaky_relu(t, -0.5f); },
      [](const Tensor& t) { return hard_swish(t); },
  };
  for_each_isa([&](std::string_view isa) {
    CAPTURE(isa);
    for (size_t i = 0; i < functions.size(); ++i) {
      CAPTURE(i);
      const Tensor waiting = functions[i](normalized(x));
      REQUIRE(waiting.pending());
      const Bounds b = bounds(waiting);
      CHECK(waiting.pending());
      CHECK(waiting.pending()->bounds().has_value() == (i < 5));
      const Bounds c = bounds(waiting.clone());
      CHECK(b.min == c.min);
      CHECK(b.max == c.max);
    }
  });
  Tensor odd = x.clone();
  odd.data()[1000] = std::nanf("");
  CHECK(std::isnan(bounds(relu(normalized(odd))).max));
}

TEST_CASE("fake_quant: what does not fit is refused") {
  const Tensor x = Tensor::ones({2, 3}), one = Tensor::of({1}), two = Tensor::ones({2});
  const auto says = [&](const Tensor& s, const Tensor& z, const FakeQuantOptions& o) {
    return message_of([&] { fake_quant(x, s, z, o); });
  };
  CHECK(contains(says(two, {}, {}), "1 scales"));
  CHECK(contains(says(one, two, {}), "1 scales"));
  CHECK(contains(says(two, {}, {.share = QuantShare::channel}), "3 scales"));
  CHECK(contains(says(one, {}, {.lo = 1, .hi = 3}), "codes"));
  CHECK(contains(says(one, one, {.clip = true}), "clipping level"));
  CHECK(contains(
      says(Tensor::ones({3}), {}, {.share = QuantShare::channel, .min = Tensor::ones({3})}),
      "limits"));
  CHECK(says(two, {}, {.share = QuantShare::filter}).empty());
}
