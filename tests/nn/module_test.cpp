#include <doctest/doctest.h>

#include "core/autograd.h"
#include "nn/init.h"
#include "nn/layers.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::nn;
using test::contains;
using test::message_of;

namespace {

/// Two convolutions and a dropout under names of its own.
struct Net final : Module {
  Net()
      : stem(Conv2d({.in = 2, .out = 4, .kernel = 3, .pad = 1})),
        body(Sequential({BatchNorm2d(4), ReLU(), Dropout(0.5f),
                         Conv2d({.in = 4, .out = 3, .kernel = 1, .bias = false})})) {}
  Tensor forward(const Tensor& x) override { return body(stem(x)); }
  void visit(Visitor& v) override { v("stem", stem)("body", body)("none", none); }
  std::string describe() const override { return "Net"; }

  Layer stem, body, none;
};

std::vector<std::string> names(const std::vector<NamedTensor>& tensors) {
  std::vector<std::string> out;
  for (const NamedTensor& t : tensors) out.push_back(t.name);
  return out;
}

Layer ready_net(uint64_t seed = 1) {
  Layer net = Net();
  Rng rng(seed);
  init(net, rng);
  return net;
}

Tensor input() {
  Rng rng(5);
  return Tensor::normal({2, 5, 5, 2}, rng);
}

/// Remembers what it was told, in order.
struct Recorder final : ForwardObserver {
  void after(Module& module, const Tensor& x, const Tensor& y) override {
    lines.push_back(str(module.describe(), " ", x.shape(), " ", y.shape()));
  }
  std::vector<std::string> lines;
};

}  // namespace

TEST_CASE("parameters and buffers have dotted paths in visiting order") {
  const Layer net = Net();
  CHECK(names(parameters(net)) == std::vector<std::string>{"stem.weight", "stem.bias",
                                                           "body.0.weight", "body.0.bias",
                                                           "body.3.weight"});
  CHECK(names(buffers(net)) ==
        std::vector<std::string>{"body.0.running_mean", "body.0.running_var"});
  std::vector<std::string> rngs;
  for_each_rng(net, [&](const std::string& path, Rng&) { rngs.push_back(path); });
  CHECK(rngs == std::vector<std::string>{"body.2.rng"});
}

TEST_CASE("a copied layer has its own values, flags and generators") {
  Layer net = ready_net();
  set_training(net, false);
  Layer copy = net;
  CHECK(copy(input()) == net(input()));
  CHECK_FALSE(copy->training);

  const auto before = parameters(net)[0].tensor.clone();
  parameters(copy)[0].tensor.fill_(7);
  buffers(copy)[0].tensor.fill_(7);
  CHECK(parameters(net)[0].tensor == before);
  CHECK(buffers(net)[0].tensor == Tensor::zeros({4}));
  for (const NamedTensor& p : parameters(copy)) CHECK(p.tensor.requires_grad());
  for (const NamedTensor& b : buffers(copy)) CHECK_FALSE(b.tensor.requires_grad());

  Layer assigned;
  assigned = net;
  parameters(assigned)[1].tensor.fill_(3);
  CHECK(parameters(net)[1].tensor == Tensor::zeros({4}));
  const Layer& itself = assigned;
  assigned = itself;
  CHECK(parameters(assigned)[1].tensor == Tensor::full({4}, 3));
}

TEST_CASE("a frozen parameter stays frozen in a copy") {
  Layer net = ready_net();
  set_requires_grad(net, false);
  const Layer copy = net;
  for (const NamedTensor& p : parameters(copy)) CHECK_FALSE(p.tensor.requires_grad());
}

TEST_CASE("an empty layer is the identity") {
  const Tensor x = input();
  CHECK(Layer()(x) == x);
  CHECK(parameters(Layer()).empty());
}

TEST_CASE("set_training reaches every module, EvalMode puts each flag back") {
  Layer net = ready_net();
  const auto flags = [&] {
    std::vector<bool> all;
    for_each_layer(net, [&](const std::string&, Layer& l) { all.push_back(l->training); });
    return all;
  };
  set_training(net, false);
  CHECK(flags() == std::vector<bool>(7, false));
  set_training(net, true);
  net.as<Net>()->body.as<Sequential>()->layers[0]->training = false;  // frozen statistics
  const std::vector<bool> mixed = flags();
  {
    const EvalMode eval(net);
    CHECK(flags() == std::vector<bool>(7, false));
  }
  CHECK(flags() == mixed);
  {
    const EvalMode eval(net);  // a layer may be taken out meanwhile
    net.as<Net>()->body.as<Sequential>()->layers[1] = {};
  }
  CHECK(net.as<Net>()->body.as<Sequential>()->layers[1].operator bool() == false);
  CHECK(net->training);
}

TEST_CASE("replacing a layer while walking: its new fields are walked") {
  Layer net = Net();
  std::vector<std::string> seen;
  for_each_layer(net, [&](const std::string& path, Layer& layer) {
    seen.push_back(path);
    if (path == "stem") layer = Sequential({Conv2d({.in = 2, .out = 4, .kernel = 1}), Tanh()});
  });
  CHECK(seen[1] == "stem");
  CHECK(seen[2] == "stem.0");
  CHECK(seen[3] == "stem.1");
  CHECK(parameters(net)[0].tensor.shape() == Shape{4, 1, 1, 2});
}

TEST_CASE("an error names the innermost module on the way") {
  Layer net = ready_net();
  assign_paths(net);
  net.as<Net>()->stem = Conv2d({.in = 2, .out = 5, .kernel = 3});
  assign_paths(net);
  set_training(net, false);
  const std::string text = message_of([&] { net(input()); });
  CHECK(contains(text, "in      body.0"));
  CHECK_FALSE(contains(text, "in      body\n"));
}

TEST_CASE("observers see each call, children first, and nest") {
  Layer net = ready_net();
  const EvalMode eval(net);
  const NoGrad guard;
  Recorder outer;
  {
    Recorder inner;
    net(input());
    CHECK(inner.lines.size() == 7);
    CHECK(inner.lines == outer.lines);
    CHECK(inner.lines.front() == "Conv2d(2, 4, kernel=3, pad=1) [2, 5, 5, 2] [2, 5, 5, 4]");
    CHECK(inner.lines.back() == "Net [2, 5, 5, 2] [2, 5, 5, 3]");
  }
  net(input());
  CHECK(outer.lines.size() == 14);
}
