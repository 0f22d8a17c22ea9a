#include "nn/optim.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "core/ops.h"
#include "core/parallel.h"
#include "nn/init.h"
#include "nn/layers.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::nn;
using test::contains;
using test::message_of;

namespace {

using Doubles = std::vector<double>;

/// One parameter of 37 values and a gradient per step.
struct Problem {
  explicit Problem(int64_t n = 37) {
    Rng rng(1);
    p = Tensor::normal({n}, rng).requires_grad_();
    for (int i = 0; i < 12; ++i) grads.push_back(Tensor::normal({n}, rng));
  }
  std::vector<ParamGroup> groups(float decay) const { return {{{{"p", p}}, decay}}; }
  void step(Optimizer& optim, size_t i) {
    p.set_grad(grads[i]);
    optim.step();
  }

  Tensor p;
  std::vector<Tensor> grads;
};

/// The update of one value: (p, g, step from 1) -> new p, with its own memory.
using Reference = std::function<double(double p, double g, int step)>;

void check_formula(const std::function<std::unique_ptr<Optimizer>(const Problem&)>& make,
                   const std::function<Reference()>& reference) {
  Problem problem;
  const std::unique_ptr<Optimizer> optim = make(problem);
  std::vector<Reference> each(static_cast<size_t>(problem.p.numel()));
  Doubles want(each.size());
  for (size_t i = 0; i < want.size(); ++i) {
    each[i] = reference();
    want[i] = problem.p.data()[i];
  }
  for (size_t s = 0; s < problem.grads.size(); ++s) {
    problem.step(*optim, s);
    for (size_t i = 0; i < want.size(); ++i) {
      want[i] = each[i](want[i], problem.grads[s].data()[i], static_cast<int>(s) + 1);
      // Twelve steps of some float32 operations on values near one.
      CHECK(std::abs(problem.p.data()[i] - want[i]) < 5e-6);
    }
  }
  CHECK(optim->steps() == 12);
}

Reference sgd_reference(double lr, double momentum, double dampening, double decay, bool nesterov) {
  return [=, v = 0.0](double p, double g, int step) mutable {
    g += decay * p;
    v = step == 1 ? g : momentum * v + (1 - dampening) * g;
    return p - lr * (nesterov ? g + momentum * v : v);
  };
}

Reference adam_reference(double lr, double b1, double b2, double eps, double decay,
                         bool decoupled) {
  return [=, m = 0.0, v = 0.0](double p, double g, int t) mutable {
    if (decoupled) {
      p -= lr * decay * p;
    } else {
      g += decay * p;
    }
    m = b1 * m + (1 - b1) * g;
    v = b2 * v + (1 - b2) * g * g;
    const double m_hat = m / (1 - std::pow(b1, t)), v_hat = v / (1 - std::pow(b2, t));
    return p - lr * m_hat / (std::sqrt(v_hat) + eps);
  };
}

Layer small_net() {
  Layer net = Sequential(
      {Conv2d({.in = 2, .out = 3}), BatchNorm2d(3), Flatten(), Linear({.in = 27, .out = 2})});
  Rng rng(3);
  init(net, rng);
  return net;
}

/// One step on random data.
void train_step(Layer& net, Optimizer& optim, uint64_t seed) {
  Rng rng(seed);
  optim.zero_grad();
  sum(square(net(Tensor::normal({4, 5, 5, 2}, rng)))).backward();
  optim.step();
}

bool equal_weights(const Layer& a, const Layer& b) {
  const auto pa = parameters(a), pb = parameters(b);
  for (size_t i = 0; i < pa.size(); ++i) {
    if (!(pa[i].tensor == pb[i].tensor)) return false;
  }
  return pa.size() == pb.size();
}

}  // namespace

TEST_CASE("sgd: a group may have a momentum of its own") {
  for (const float others : {0.5f, 0.0f}) {
    Problem own, all;
    std::vector<ParamGroup> groups = own.groups(0.1f);
    groups[0].momentum = 0.99f;
    const auto a = sgd(groups, {.lr = 0.1f, .momentum = others});
    const auto b = sgd(all.groups(0.1f), {.lr = 0.1f, .momentum = 0.99f});
    for (size_t i = 0; i < own.grads.size(); ++i) own.step(*a, i), all.step(*b, i);
    CHECK(own.p == all.p);
  }
  const auto with = [](float momentum) {
    std::vector<ParamGroup> groups = Problem().groups(0);
    groups[0].momentum = momentum;
    return message_of([&] { sgd(groups, {}); });
  };
  CHECK(contains(with(1.0f), "momentum must be in 0..1, got 1"));
}

TEST_CASE("sgd follows its formula") {
  struct Case {
    float momentum, dampening, decay;
    bool nesterov;
  };
  for (const Case& c : {Case{0, 0, 0, false}, Case{0, 0, 0.1f, false}, Case{0.9f, 0, 0.1f, false},
                        Case{0.9f, 0.5f, 0, false}, Case{0.9f, 0, 0.1f, true}}) {
    CAPTURE(c.momentum);
    CAPTURE(c.nesterov);
    check_formula(
        [&](const Problem& p) {
          return sgd(p.groups(c.decay), {.lr = 0.05f,
                                         .momentum = c.momentum,
                                         .dampening = c.dampening,
                                         .nesterov = c.nesterov});
        },
        [&] { return sgd_reference(0.05, c.momentum, c.dampening, c.decay, c.nesterov); });
  }
}

TEST_CASE("adam and adamw follow their formulas") {
  const AdamOptions o{.lr = 0.02f, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-4f};
  check_formula([&](const Problem& p) { return adam(p.groups(0.1f), o); },
                [] { return adam_reference(0.02, 0.8, 0.95, 1e-4, 0.1, false); });
  check_formula([&](const Problem& p) { return adamw(p.groups(0.1f), o); },
                [] { return adam_reference(0.02, 0.8, 0.95, 1e-4, 0.1, true); });
  check_formula([&](const Problem& p) { return adam(p.groups(0), {}); },
                [] { return adam_reference(1e-3, 0.9, 0.999, 1e-8, 0, false); });
}

TEST_CASE("groups: decay only for matrices, learning rate scaled per group") {
  const Layer net = small_net();
  const auto all = param_groups(net, 0.1f);
  REQUIRE(all.size() == 1);
  CHECK(all[0].params.size() == 6);
  const auto split = param_groups(net, 0.1f, false);
  REQUIRE(split.size() == 2);
  CHECK(split[0].weight_decay == 0.1f);
  CHECK(split[0].params.size() == 2);
  CHECK(split[0].params[1].name == "3.weight");
  CHECK(split[1].weight_decay == 0);
  CHECK(split[1].params.size() == 4);

  Tensor a = Tensor::ones({2}).requires_grad_(), b = Tensor::ones({2}).requires_grad_();
  const auto optim = sgd({{{{"a", a}}, 0.0f, 1.0f}, {{{"b", b}}, 0.0f, 0.1f}}, {.lr = 0.5f});
  a.set_grad(Tensor::ones({2}));
  b.set_grad(Tensor::ones({2}));
  optim->step();
  CHECK(a.at({0}) == doctest::Approx(0.5));
  CHECK(b.at({0}) == doctest::Approx(0.95));
  optim->set_lr(0.1f);
  optim->groups()[1].lr_scale = 0;
  optim->step();
  CHECK(a.at({0}) == doctest::Approx(0.5 - 0.1 * 1.9));
  CHECK(b.at({0}) == doctest::Approx(0.95));
}

TEST_CASE("a parameter without gradient is left alone, and begins at its own step one") {
  Tensor a = Tensor::ones({3}).requires_grad_(), b = Tensor::ones({3}).requires_grad_();
  const auto optim = adam({{{{"a", a}, {"b", b}}, 0.5f}}, {.lr = 0.1f});
  a.set_grad(Tensor::ones({3}));
  optim->step();
  optim->step();
  CHECK(b == Tensor::ones({3}));
  b.set_grad(Tensor::ones({3}));
  optim->step();
  CHECK(b.at({0}) == doctest::Approx(0.9));  // the first step of adam is lr, whatever the gradient
  optim->zero_grad();
  CHECK_FALSE(a.grad());
}

TEST_CASE("results are the same bits for any number of threads") {
  const int before = num_threads();
  std::vector<Tensor> results;
  for (int threads : {1, 2, 5}) {
    set_num_threads(threads);
    Problem problem(100'003);
    const auto optim = adamw(problem.groups(0.1f), {});
    for (size_t i = 0; i < 3; ++i) {
      problem.p.set_grad(problem.grads[i]);
      clip_grad_norm(optim->groups(), 1.0f);
      optim->step();
    }
    results.push_back(problem.p);
  }
  set_num_threads(before);
  CHECK(results[0] == results[1]);
  CHECK(results[0] == results[2]);
}

TEST_CASE("a loaded optimizer goes on as the saved one would have") {
  const auto make = [](const Layer& net, int kind) {
    const auto groups = param_groups(net, 0.01f, false);
    return kind == 0 ? sgd(groups, {.lr = 0.05f}) : adam(groups, {.lr = 0.01f});
  };
  for (int kind : {0, 1}) {
    Layer net = small_net();
    const auto optim = make(net, kind);
    for (uint64_t i = 0; i < 3; ++i) train_step(net, *optim, i);
    safetensors::File file;
    optim->save(file, "optim.");

    Layer again = net;
    const auto loaded = make(again, kind);
    loaded->load(file, "optim.");
    CHECK(loaded->steps() == 3);
    for (uint64_t i = 3; i < 6; ++i) {
      train_step(net, *optim, i);
      train_step(again, *loaded, i);
    }
    CHECK(equal_weights(net, again));

    Layer fresh = net;
    const auto forgot = make(fresh, kind);
    train_step(net, *optim, 9);
    train_step(fresh, *forgot, 9);
    CHECK_FALSE(equal_weights(net, fresh));  // the state matters
  }
}

TEST_CASE("the state of another optimizer or model is refused whole") {
  Layer net = small_net();
  const auto optim = adam(param_groups(net, 0), {});
  train_step(net, *optim, 1);
  safetensors::File file;
  optim->save(file, "optim.");

  const auto other_kind = sgd(param_groups(net, 0), {});
  std::string error = message_of([&] { other_kind->load(file, "optim."); });
  CHECK(contains(error, "missing     momentum.0.bias"));
  CHECK(contains(error, "unexpected  m.0.bias"));
  CHECK(other_kind->steps() == 0);

  Layer wide = Sequential(
      {Conv2d({.in = 2, .out = 5}), BatchNorm2d(5), Flatten(), Linear({.in = 27, .out = 2})});
  const auto other_model = adam(param_groups(wide, 0), {});
  error = message_of([&] { other_model->load(file, "optim."); });
  CHECK(contains(error, "m.0.weight: found [3, 3, 3, 2], expected [5, 3, 3, 2]"));
  CHECK(other_model->steps() == 0);
}

TEST_CASE("options that make no sense are refused") {
  const Problem p;
  CHECK(contains(message_of([&] { sgd(p.groups(0), {.momentum = 1.5f}); }), "momentum"));
  CHECK(contains(message_of([&] { sgd(p.groups(0), {.momentum = 0, .nesterov = true}); }),
                 "nesterov"));
  CHECK(contains(message_of([&] { sgd(p.groups(0), {.lr = -1}); }), "learning rate"));
  CHECK(contains(message_of([&] { sgd(p.groups(-1), {}); }), "weight decay"));
  CHECK(contains(message_of([&] { adam(p.groups(0), {.beta1 = 1.0}); }), "betas"));
  CHECK(contains(message_of([&] { adam(p.groups(0), {.eps = 0}); }), "eps"));
  CHECK(contains(message_of([&] { sgd({}, {}); }), "no parameters"));
  CHECK(contains(message_of([&] { sgd({{{{"p", p.p}, {"p", p.p}}}}, {}); }), "two parameters"));
}

TEST_CASE("gradients are clipped by their joint norm") {
  Tensor a = Tensor::zeros({2}).requires_grad_(), b = Tensor::zeros({1}).requires_grad_();
  Tensor c = Tensor::zeros({1}).requires_grad_();  // without gradient
  const std::vector<ParamGroup> groups{{{{"a", a}, {"c", c}}}, {{{"b", b}}}};
  a.set_grad(Tensor::of({2, 3}));
  b.set_grad(Tensor::of({6}));
  CHECK(clip_grad_norm(groups, 10) == doctest::Approx(7));
  CHECK(a.grad() == Tensor::of({2, 3}));
  CHECK(clip_grad_norm(groups, 3.5f) == doctest::Approx(7));
  CHECK(a.grad().at({1}) == doctest::Approx(1.5));
  CHECK(b.grad().at({0}) == doctest::Approx(3));
  CHECK_FALSE(c.grad());

  // Two parameters that were handed one and the same gradient are each scaled once.
  const Tensor shared = Tensor::of({8});
  b.set_grad(shared);
  c.set_grad(shared);
  a.zero_grad();
  clip_grad_norm(groups, std::sqrt(32.0f));
  CHECK(b.grad().at({0}) == doctest::Approx(4));
  CHECK(c.grad().at({0}) == doctest::Approx(4));

  b.set_grad(Tensor::of({INFINITY}));
  CHECK(std::isinf(clip_grad_norm(groups, 1)));
  CHECK(c.grad().at({0}) == doctest::Approx(4));
  CHECK(contains(message_of([&] { clip_grad_norm(groups, 0); }), "positive"));
}

TEST_CASE("ema: warmed-up average of weights and buffers, exchange, save and load") {
  Layer net = small_net();
  Ema ema(net, 0.5f);
  Tensor bias = parameters(net)[1].tensor, running = buffers(net)[1].tensor;
  double want_bias = 0, want_var = 1;
  for (int t = 0; t < 12; ++t) {
    bias.fill_(static_cast<float>(t));
    running.fill_(static_cast<float>(2 * t));
    ema.update();
    const double d = std::min(0.5, (1.0 + t) / (10.0 + t));
    want_bias = d * want_bias + (1 - d) * t;
    want_var = d * want_var + (1 - d) * 2 * t;
  }
  ema.swap();
  CHECK(bias.at({0}) == doctest::Approx(want_bias).epsilon(1e-5));
  CHECK(running.at({2}) == doctest::Approx(want_var).epsilon(1e-5));
  ema.swap();
  CHECK(bias.at({0}) == 11);

  safetensors::File file;
  ema.save(file, "ema.");
  CHECK(file.at("ema.0.weight").shape == std::vector<int64_t>{3, 2, 3, 3});
  Layer again = net;
  Ema loaded(again, 0.5f);
  loaded.load(file, "ema.");
  ema.update();
  loaded.update();
  ema.swap();
  loaded.swap();
  CHECK(equal_weights(net, again));
  CHECK(buffers(net)[0].tensor == buffers(again)[0].tensor);

  file.entries.erase("ema.0.bias");
  CHECK(contains(message_of([&] { loaded.load(file, "ema."); }), "missing     0.bias"));
  CHECK(contains(message_of([&] { Ema(net, 1.0f); }), "decay"));
}
