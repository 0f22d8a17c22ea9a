// Fused and plain results must agree: bit for bit in the forward, whose arithmetic is the same, and
// in the gradients up to the order of two multiplications.

#include "core/deferred.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "core/autograd.h"
#include "core/ops.h"
#include "core/parallel.h"
#include "core/winograd.h"

using namespace pare;

namespace {

struct Result {
  Tensor y, dx, dgamma, dbeta, dresidual;
};

const Pointwise kFourBits{.kind = Pointwise::Kind::quantize, .a = 0.5f, .b = 15, .c = 1};

using Tail = std::function<Tensor(const Tensor& z, const Tensor& residual)>;

Result run(const Tail& tail, bool fused, bool train) {
  set_fusion(fused);
  Rng rng(9);
  const Tensor x = Tensor::normal({3, 5, 7, 21}, rng, 0.5f, 2.0f).requires_grad_();
  const Tensor gamma = Tensor::uniform({21}, rng, -1.5f, 1.5f).requires_grad_();
  const Tensor beta = Tensor::normal({21}, rng).requires_grad_();
  const Tensor residual = Tensor::normal(x.shape(), rng).requires_grad_();
  const Tensor dy = Tensor::normal(x.shape(), rng);
  Tensor mean = Tensor::uniform({21}, rng), var = Tensor::uniform({21}, rng, 0.5f, 2.0f);
  const Tensor y = tail(batch_norm(x, gamma, beta, mean, var, {.train = train}), residual);
  y.backward(dy);
  set_fusion(true);
  return {y.detach(), x.grad(), gamma.grad(), beta.grad(), residual.grad()};
}

/// The next block of a ResNet: its convolution reads the sum quantized, its residual as it is.
template <class F>
Tail next_block(F&& quantize) {
  return [quantize](const Tensor& z, const Tensor& r) {
    const Tensor s = z + r;
    Rng rng(5);
    const int64_t C = s.dim(-1);
    return conv2d(quantize(s), Tensor::normal({C, 3, 3, C}, rng, 0, 0.1f), {}, {.pad = 1}) + s;
  };
}

Tensor four_bits(const Tensor& x) {
  const Tensor step = Tensor::of({0.25f}).requires_grad_();
  return fake_quant(x, step, {}, {.lo = -8, .hi = 7});
}

const std::vector<std::pair<const char*, Tail>> kTails = {
    {"residual, sign and residual", next_block([](const Tensor& s) { return sign(s, Ste::clip); })},
    {"residual, quantize and residual",
     next_block([](const Tensor& s) { return pointwise(kFourBits, s); })},
    {"residual, fake_quant and residual", next_block(four_bits)},
    {"residual, relu, fake_quant and residual",
     next_block([](const Tensor& s) { return four_bits(relu(s)); })},
    {"alone", [](const Tensor& z, const Tensor&) { return z; }},
    {"relu", [](const Tensor& z, const Tensor&) { return relu(z); }},
    {"relu6", [](const Tensor& z, const Tensor&) { return relu6(z); }},
    {"leaky_relu", [](const Tensor& z, const Tensor&) { return leaky_relu(z, 0.1f); }},
    {"hard_swish", [](const Tensor& z, const Tensor&) { return hard_swish(z); }},
    {"sign", [](const Tensor& z, const Tensor&) { return sign(z, Ste::clip); }},
    {"relu, quantize",
     [](const Tensor& z, const Tensor&) { return pointwise(kFourBits, relu(z)); }},
    {"quantize", [](const Tensor& z, const Tensor&) { return pointwise(kFourBits, z); }},
    {"sign, soft", [](const Tensor& z, const Tensor&) { return sign(z, Ste::triangle); }},
    {"residual", [](const Tensor& z, const Tensor& r) { return z + r; }},
    {"residual from the left", [](const Tensor& z, const Tensor& r) { return r + z; }},
    {"residual, relu", [](const Tensor& z, const Tensor& r) { return relu(z + r); }},
    {"relu, residual", [](const Tensor& z, const Tensor& r) { return relu(z) + r; }},
    {"not fusable", [](const Tensor& z, const Tensor&) { return silu(z); }},
    {"used twice", [](const Tensor& z, const Tensor& r) { return relu(z) + z * r; }},
    {"added to itself", [](const Tensor& z, const Tensor&) { return relu(z + z); }},
};

double gap(const Tensor& a, const Tensor& b) {
  if (!a || !b) return static_cast<bool>(a) == static_cast<bool>(b) ? 0 : 1e30;
  double worst = 0, scale = 1e-30;
  for (int64_t i = 0; i < a.numel(); ++i) {
    worst = std::max(worst, std::abs(double{a.data()[i]} - b.data()[i]));
    scale = std::max(scale, std::abs(double{b.data()[i]}));
  }
  return worst / scale;
}

/// Two residual blocks of 20 channels: gradients of the input and of all parameters.
std::vector<Tensor> block_gradients(bool fused) {
  set_fusion(fused);
  Rng rng(3);
  const int64_t C = 20;
  std::vector<Tensor> leaves{Tensor::normal({5, 9, 8, C}, rng).requires_grad_()};
  const auto conv_bn = [&](Tensor x) {
    leaves.push_back(Tensor::normal({C, 3, 3, C}, rng, 0, 0.1f).requires_grad_());
    const Tensor z = conv2d(x, leaves.back(), {}, {.pad = 1});
    leaves.push_back(Tensor::uniform({C}, rng, 0.5f, 1.5f).requires_grad_());
    leaves.push_back(Tensor::normal({C}, rng).requires_grad_());
    Tensor mean = Tensor::zeros({C}), var = Tensor::ones({C});
    return batch_norm(z, leaves[leaves.size() - 2], leaves.back(), mean, var);
  };
  Tensor x = relu(conv_bn(leaves[0]));
  for (int block = 0; block < 2; ++block) x = relu(conv_bn(relu(conv_bn(x))) + x);
  x.backward(Tensor::normal(x.shape(), rng));
  set_fusion(true);
  std::vector<Tensor> gradients;
  for (const Tensor& leaf : leaves) gradients.push_back(leaf.grad());
  return gradients;
}

}  // namespace

TEST_CASE("what joins batch_norm's pass gives the plain result") {
  for (bool train : {true, false}) {
    for (const auto& item : kTails) {  // clang 14: a lambda, as CAPTURE makes, takes no binding
      const std::string name = item.first;
      const Tail& tail = item.second;
      CAPTURE(name);
      CAPTURE(train);
      const Result fused = run(tail, true, train), plain = run(tail, false, train);
      CHECK(fused.y == plain.y);
      // Sums of 105 float32 terms; the factor f' is applied before or after one multiplication.
      CHECK(gap(fused.dx, plain.dx) < 2e-6);
      CHECK(gap(fused.dgamma, plain.dgamma) < 2e-6);
      CHECK(gap(fused.dbeta, plain.dbeta) < 2e-6);
      CHECK(gap(fused.dresidual, plain.dresidual) < 2e-6);
    }
  }
}

TEST_CASE("without gradients what follows a convolution joins it") {
  struct Case {
    Shape weight;
    ConvOptions options;
  };
  const std::vector<Case> cases = {{{20, 3, 3, 16}, {.pad = 1}},
                                   {{20, 1, 1, 16}, {}},
                                   {{20, 3, 3, 16}, {.stride = 2, .pad = 1}},
                                   {{20, 3, 3, 4}, {.pad = 1, .groups = 4}}};
  const NoGrad guard;
  for (const Case& c : cases) {
    CAPTURE(c.weight.str());
    for (const auto& item : kTails) {
      const std::string name = item.first;
      CAPTURE(name);
      const auto run = [&](bool fused) {
        set_fusion(fused);
        Rng rng(9);
        const Tensor x = Tensor::normal({3, 9, 14, 16}, rng), w = Tensor::normal(c.weight, rng);
        const Tensor z = conv2d(x, w, Tensor::normal({20}, rng), c.options);
        const Tensor y = item.second(z, Tensor::normal(z.shape(), rng));
        const bool waits = name == "relu" || name == "residual, relu" || name == "relu, quantize";
        if (waits) CHECK(static_cast<bool>(z.pending()) == fused);  // never in memory
        y.data();
        if (waits) CHECK(static_cast<bool>(z.pending()) == fused);
        set_fusion(true);
        return y;
      };
      CHECK(run(true) == run(false));
    }
  }
}

TEST_CASE("with gradients a convolution is in memory before relu") {
  Rng rng(9);
  const Tensor x = Tensor::normal({1, 9, 14, 16}, rng);
  const Tensor w = Tensor::normal({20, 3, 3, 16}, rng).requires_grad_();
  const Tensor z = conv2d(x, w, {}, {.pad = 1}), y = relu(z);
  CHECK(!z.pending());
}

TEST_CASE("a pass that copies its input computes the pending values itself") {
  const std::vector<std::pair<const char*, std::function<Tensor(const Tensor&)>>> consumers = {
      {"conv2d",
       [](const Tensor& a) {
         Rng rng(4);
         return conv2d(a, Tensor::normal({18, 3, 3, 21}, rng), {}, {.pad = 1});
       }},
      {"conv2d 1x1",
       [](const Tensor& a) {
         Rng rng(4);
         return conv2d(a, Tensor::normal({18, 1, 1, 21}, rng));
       }},
      {"max_pool2d",
       [](const Tensor& a) { return max_pool2d(a, {.kernel = 3, .stride = 2, .pad = 1}); }},
      {"channel_shuffle", [](const Tensor& a) { return channel_shuffle(a, 3); }},
  };
  using Maker = std::function<Tensor(const Tensor&)>;
  const std::vector<std::pair<const char*, Maker>> makers = {
      {"relu(batch_norm)",
       [](const Tensor& x) {
         Tensor mean = Tensor::zeros({21}), var = Tensor::ones({21});
         return relu(batch_norm(x, {}, {}, mean, var));
       }},
      {"sign", [](const Tensor& x) { return sign(x); }},
      {"ternary",
       [](const Tensor& x) { return pointwise({.kind = Pointwise::Kind::ternary, .a = 0.5f}, x); }},
      {"quantize", [](const Tensor& x) { return pointwise(kFourBits, x); }},
  };
  for (const auto& item : consumers) {
    for (const auto& maker : makers) {
      const std::string name = item.first, made = maker.first;
      CAPTURE(name);
      CAPTURE(made);
      const auto run = [&](bool fused) {
        set_fusion(fused);
        Rng rng(9);
        const Tensor x = Tensor::normal({3, 19, 7, 21}, rng, 0.5f, 2.0f).requires_grad_();
        const Tensor a = maker.second(x);
        const Tensor y = item.second(a);
        y.data();
        CHECK(static_cast<bool>(a.pending()) == fused);
        y.backward(Tensor::normal(y.shape(), rng));
        set_fusion(true);
        return std::pair{y.detach(), x.grad()};
      };
      const auto fused = run(true), plain = run(false);
      CHECK(fused.first == plain.first);
      CHECK(gap(fused.second, plain.second) < 2e-6);
    }
  }
}

TEST_CASE("pending work is done before what it reads is changed") {
  Rng rng(3);
  const Tensor x = Tensor::normal({1, 6, 6, 4}, rng);
  Tensor w = Tensor::normal({5, 3, 3, 4}, rng);
  const Tensor want = conv2d(x, w.clone());
  want.data();
  const Tensor y = conv2d(x, w);
  CHECK(y.pending());
  w.fill_(0.0f);
  CHECK_FALSE(y.pending());
  CHECK(y == want);
}

TEST_CASE("a quantizer behind a relu keeps relu's slope at zero") {
  const auto gradient = [](bool fused) {
    set_fusion(fused);
    const Tensor x = Tensor::of({-1, 0, 1, 2, 3, 4}).reshape({6, 1}).detach().requires_grad_();
    Tensor mean = Tensor::zeros({1}), var = Tensor::ones({1});
    const Tensor y = relu(batch_norm(x, {}, {}, mean, var, {.train = false, .eps = 0}));
    pointwise(kFourBits, y).backward(Tensor::ones({6, 1}));
    set_fusion(true);
    return x.grad();
  };
  CHECK(gradient(true) == gradient(false));
  CHECK(gradient(true) == Tensor::of({0, 0, 0.5f, 0.5f, 0, 0}).reshape({6, 1}));
}

TEST_CASE("bounds of a sum are taken while it is computed") {
  const auto run = [](bool fused) {
    set_fusion(fused);
    Rng rng(9);
    const Tensor x = Tensor::normal({3, 40, 7, 21}, rng, 0.5f, 2.0f).requires_grad_();
    Tensor mean = Tensor::zeros({21}), var = Tensor::ones({21});
    const Tensor s = batch_norm(x, {}, {}, mean, var) + Tensor::normal(x.shape(), rng);
    CHECK((pending_blocks(s) > 1) == fused);
    const Bounds b = bounds(s);
    CHECK(pending_blocks(s) == 0);
    set_fusion(true);
    const std::span<const float> values = s.span();
    CHECK(b.min == *std::min_element(values.begin(), values.end()));
    CHECK(b.max == *std::max_element(values.begin(), values.end()));
    return b;
  };
  const Bounds fused = run(true), plain = run(false);
  CHECK(fused.min == plain.min);
  CHECK(fused.max == plain.max);
}

TEST_CASE("gradients of residual blocks are the plain ones, and the same bits for any threads") {
  const WinogradUse before = winograd_use();
  for (WinogradUse use : {WinogradUse::off, WinogradUse::always}) {
    set_winograd_use(use);
    CAPTURE(winograd_use_name(use));
    const std::vector<Tensor> plain = block_gradients(false);
    std::vector<Tensor> first;
    for (int threads : {1, 2, 3}) {
      set_num_threads(threads);
      const std::vector<Tensor> fused = block_gradients(true);
      for (size_t i = 0; i < plain.size(); ++i) {
        CAPTURE(i);
        CHECK(gap(fused[i], plain[i]) < 2e-5);
        if (threads > 1) CHECK(fused[i] == first[i]);
      }
      if (threads == 1) first = fused;
    }
    set_num_threads(0);
  }
  set_winograd_use(before);
}

TEST_CASE("batch_norm's gradient waits for its reader, until what it reads is changed") {
  set_fusion(true);
  const auto gradient = [](bool change) {
    Rng rng(4);
    Tensor x = Tensor::normal({3, 4, 5, 6}, rng).requires_grad_();
    Tensor mean = Tensor::zeros({6}), var = Tensor::ones({6});
    const Tensor y = relu(batch_norm(x, {}, {}, mean, var));
    y.backward(Tensor::normal(x.shape(), rng));
    CHECK(x.grad().pending());
    if (change) {
      x.fill_(0);
      CHECK_FALSE(x.grad().pending());
    }
    return x.grad().clone();
  };
  CHECK(gradient(true) == gradient(false));
}

TEST_CASE(
    "a quantizer learns its scale whoever reads the input's gradient, before, after or never") {
  enum class Reader { before, after, never };
  const auto gradients = [](bool fused, Reader reader) {
    set_fusion(fused);
    Rng rng(6);
    Tensor x = Tensor::normal({5, 9, 8, 20}, rng).requires_grad_();
    const Tensor step = Tensor::scalar(0.3f).requires_grad_();
    const Tensor zero = Tensor::scalar(1.0f).requires_grad_();
    const Tensor q = fake_quant(x, step, zero, {.lo = -4, .hi = 3});
    const Tensor y = conv2d(q, Tensor::normal({20, 3, 3, 20}, rng), {}, {.pad = 1});
    y.backward(Tensor::normal(y.shape(), rng));
    CHECK((x.grad().pending() != nullptr) == fused);
    Tensor dx;
    if (reader == Reader::before) dx = x.grad().clone();
    if (reader == Reader::never) x.zero_grad();
    std::vector<Tensor> all{step.grad().clone(), zero.grad().clone()};
    if (reader == Reader::after) {
      CHECK_FALSE(x.grad().pending());
      dx = x.grad().clone();
    }
    if (dx) all.push_back(dx);
    set_fusion(true);
    return all;
  };
  const auto plain = gradients(false, Reader::before), first = gradients(true, Reader::before);
  REQUIRE(first.size() == 3);
  for (size_t i = 0; i < 3; ++i) CHECK(gap(first[i], plain[i]) < 1e-5);
  CHECK(gradients(true, Reader::after) == first);
  CHECK(gradients(true, Reader::never) == std::vector<Tensor>{first[0], first[1]});
}

TEST_CASE("a walk computes pending rows as it comes to them") {
  struct Halves final : Deferred {
    mutable std::vector<int64_t> rows;
    Tensor from;
    void run(float* y) const override { run_rows(y, 0, 4); }
    bool by_rows() const override { return true; }
    void run_rows(float* y, int64_t first, int64_t count) const override {
      rows.push_back(first);
      const float* x = from ? from.data() : y;
      for (int64_t i = first * 2; i < (first + count) * 2; ++i) y[i] = x[i] / 2;
    }
  };
  set_fusion(true);
  Rng rng(2);
  const Tensor x = Tensor::normal({4, 2}, rng), place = x.clone(), half = mul(x, 0.5f);
  for (bool in_place : {false, true}) {
    const auto work = std::make_shared<Halves>();
    if (!in_place) work->from = x;
    const Tensor y =
        in_place ? Tensor::deferred_in(place, work, {}) : Tensor::deferred(x.shape(), work, {x});
    CHECK(y.pending());
    const RowWalk walk(y);
    CHECK_FALSE(y.pending());
    walk.come_to(2, 2);
    walk.come_to(0, 2);
    CHECK(work->rows == std::vector<int64_t>{2, 0});
    CHECK(y == half);
    CHECK((y.data() == place.data()) == in_place);
    const RowWalk again(y);  // nothing is pending: nothing to come to
    again.come_to(0, 4);
    CHECK(y == half);
  }
}

TEST_CASE("values appear when they are read, and only then") {
  Rng rng(1);
  const Tensor x = Tensor::normal({4, 6}, rng);
  Tensor mean = Tensor::zeros({6}), var = Tensor::ones({6});
  const Tensor z = batch_norm(x, {}, {}, mean, var);
  CHECK(z.pending());
  const Tensor a = relu(z);
  CHECK(a.pending());
  const Tensor view = a.detach();
  CHECK(view.at({1, 1}) == std::max(z.at({1, 1}), 0.0f));
  CHECK_FALSE(a.pending());
  CHECK(a == relu(z.clone()));
}
