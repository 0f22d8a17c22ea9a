#include "nn/trace.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "core/autograd.h"
#include "core/deferred.h"
#include "nn/init.h"
#include "nn/layers.h"
#include "quant/binary.h"
#include "quant/dorefa.h"
#include "tests/nn/odd_net.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::nn;
using test::contains;
using test::message_of;
using test::OddNet;
using test::Parts;

namespace {

constexpr int kNone = Graph::kNone;

Tensor image(int64_t channels = 3) { return Tensor::ones({1, 8, 8, channels}); }

Layer conv(int64_t in, int64_t out) {
  return Conv2d({.in = in, .out = out, .kernel = 3, .pad = 1, .bias = false});
}

/// "name: op of a, b": what the graph computes, tensors left out.
std::vector<std::string> lines(const Graph& g) {
  std::vector<std::string> out;
  for (const Graph::Node& n : g.nodes) {
    if (n.is_tensor()) continue;
    std::string line = n.name + ": " + n.op;
    for (const char* word = " of "; int i : n.inputs) {
      if (i == kNone || g[i].is_tensor()) continue;
      line += word + g[i].name;
      word = ", ";
    }
    out.push_back(line);
  }
  return out;
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("a trace is the graph as it is written, also where ops are fused") {
  const bool before = fusion_enabled();
  set_fusion(true);
  Layer net = OddNet({{"conv", conv(3, 4)}, {"bn", BatchNorm2d(4)}, {"fc", Linear({4, 2})}},
                     [](const Parts& p, const Tensor& x) {
                       const Tensor normalized = p["bn"](p["conv"](x));
                       const Tensor h = relu(normalized + p["conv"](x));
                       return p["fc"](flatten(global_avg_pool2d(h)));
                     });
  const Graph g = trace(net, image());
  CHECK(lines(g) == Lines{"input: input", "conv: conv2d of input", "bn: batch_norm of conv",
                          "conv#2: conv2d of input", "add: add of bn, conv#2", "relu: relu of add",
                          "mean: mean of relu", "flatten: flatten of mean",
                          "fc: linear of flatten"});
  CHECK(g[g.input].name == "input");
  CHECK(g[g.output].name == "fc");
  CHECK(fusion_enabled());
  set_fusion(before);
}

TEST_CASE("nodes know their parameters, options, module and users") {
  Layer net = Sequential({Conv2d({.in = 4, .out = 6, .kernel = {3, 1}, .stride = 2, .groups = 2}),
                          BatchNorm2d(6, {.affine = false}), LeakyReLU(0.5f)});
  const Graph g = trace(net, image(4));
  const Graph::Node& c = g[g.find("0")];
  CHECK(c.op == "conv2d");
  CHECK(c.shape == Shape{1, 3, 4, 6});
  CHECK(c.path == "0");
  REQUIRE(c.as<Conv2d>());
  CHECK(c.as<Linear>() == nullptr);
  CHECK(c.as<Conv2d>()->opt.groups == 2);
  CHECK(c.get<Hw>("stride") == Hw(2));
  CHECK(c.get<int64_t>("groups") == 2);
  CHECK(c.find("axis") == nullptr);
  CHECK(
      contains(message_of([&] { c.get<float>("groups"); }), "0 (conv2d) has no attribute groups"));

  REQUIRE(c.inputs.size() == 3);
  const Graph::Node& weight = g[c.inputs[1]];
  CHECK(weight.op == "parameter");
  CHECK(weight.name == "0.weight");
  CHECK(weight.tensor.data() == c.as<Conv2d>()->weight.data());
  CHECK(weight.users == std::vector<int>{g.find("0")});
  CHECK(g[c.inputs[2]].name == "0.bias");

  const int bn = g.find("1");
  CHECK(g[bn].inputs == std::vector<int>{g.find("0")});  // no gamma, no beta
  CHECK(g.input_of(bn, 1) == kNone);
  REQUIRE(g[bn].state.size() == 2);
  CHECK(g[g[bn].state[1]].name == "1.running_var");
  CHECK(g[g[bn].state[1]].op == "buffer");
  CHECK(g[bn].get<float>("eps") == 1e-5f);
  CHECK(g[g.find("2")].get<float>("slope") == 0.5f);
  CHECK(g[g.find("0")].users == std::vector<int>{bn});
  CHECK(g.find("3") == kNone);
}

TEST_CASE("tracing changes nothing") {
  Layer net = Sequential({conv(3, 4), BatchNorm2d(4), ReLU(), Dropout(0.5f), Flatten()});
  Rng rng(3);
  init(net, rng);
  net.as<Sequential>()->layers[0]->training = false;
  const auto* bn = net.as<Sequential>()->layers[1].as<BatchNorm2d>();
  const Tensor mean = bn->running_mean.clone();
  const Rng::State state = net.as<Sequential>()->layers[3].as<Dropout>()->rng.state();
  const Graph g = trace(net, image());
  CHECK(lines(g).size() == 5);  // dropout is the identity
  CHECK(bn->running_mean == mean);
  CHECK(net.as<Sequential>()->layers[3].as<Dropout>()->rng.state() == state);
  CHECK(net->training);
  CHECK_FALSE(net.as<Sequential>()->layers[0]->training);
  CHECK(grad_enabled());
  CHECK_FALSE(OpObserver::any());
}

TEST_CASE("a shared module is one parameter with two users") {
  Layer net = OddNet({{"conv", conv(3, 3)}},
                     [](const Parts& p, const Tensor& x) { return p["conv"](relu(p["conv"](x))); });
  const Graph g = trace(net, image());
  CHECK(lines(g) == Lines{"input: input", "conv: conv2d of input", "relu: relu of conv",
                          "conv#2: conv2d of relu"});
  CHECK(g[g.find("conv.weight")].users == std::vector<int>{g.find("conv"), g.find("conv#2")});
}

TEST_CASE("transforms stand between a parameter and its user") {
  Layer net = Sequential({conv(3, 4)});
  auto* c = net.as<Sequential>()->layers[0].as<Conv2d>();
  c->weight_fn = quant::BinaryWeight();
  c->input_fn = quant::DorefaActivation(4);
  const Graph g = trace(net, image());
  Lines found = lines(g);
  std::sort(found.begin(), found.end());  // the compiler chooses which socket runs first
  CHECK(found == Lines{"0.input_fn: quantize of input", "0.weight_fn: binary_weight",
                       "0: conv2d of 0.input_fn, 0.weight_fn", "input: input"});
  const Graph::Node& fn = g[g.find("0.weight_fn")];
  CHECK(g[fn.inputs[0]].name == "0.weight");
  CHECK(fn.as<quant::BinaryWeight>());
}

TEST_CASE("values without an op: detached, viewed, made up") {
  const Tensor offset = Tensor::full({4}, 2.0f);
  Layer net = OddNet({{"conv", conv(3, 4)}}, [&](const Parts& p, const Tensor& x) {
    const Tensor y = p["conv"](x);
    const Tensor scale = mean(y.detach(), {1, 2}, true);
    return (y / scale + offset).view({x.dim(0), 256}) * 2.0f;
  });
  const Graph g = trace(net, image());
  CHECK(lines(g) == Lines{"input: input", "conv: conv2d of input", "mean: mean of conv",
                          "div: div of conv, mean", "add: add of div", "reshape: reshape of add",
                          "mul: mul of reshape"});
  const Graph::Node& constant = g[g.input_of(g.find("add"), 1)];
  CHECK(constant.op == "constant");
  CHECK(constant.tensor == offset);
}

TEST_CASE("what does not lead to the output is left out") {
  Layer net = OddNet({{"a", conv(3, 4)}, {"b", conv(3, 4)}}, [](const Parts& p, const Tensor& x) {
    const Tensor unused = relu(p["b"](x));
    return split(p["a"](x), {1, 3})[1];
  });
  CHECK(lines(trace(net, image())) ==
        Lines{"input: input", "a: conv2d of input", "slice: slice of a"});

  Layer identity = Sequential();
  const Graph g = trace(identity, image());
  CHECK(g.size() == 1);
  CHECK(g.output == g.input);
}

TEST_CASE("modules made within a forward belong to the one around them") {
  Layer inner = OddNet({}, [](const Parts&, const Tensor& x) {
    const Layer made = Sequential({ReLU(), ReLU6()});
    return made(x) * 2.0f;
  });
  Layer net = Sequential({inner});
  CHECK(lines(trace(net, image())) == Lines{"input: input", "0.relu: relu of input",
                                            "0.relu6: relu6 of 0.relu", "0.mul: mul of 0.relu6"});
}

TEST_CASE("an error on the way is the model's own, and leaves no observer behind") {
  Layer net = Sequential({conv(3, 4), conv(5, 4)});
  assign_paths(net);
  const std::string message = message_of([&] { trace(net, image()); });
  CHECK(contains(message, "conv2d: input has 4 channels, weight expects 5"));
  CHECK(contains(message, "in      1"));
  CHECK_FALSE(OpObserver::any());
  CHECK(net->training);
  Layer empty;
  CHECK(contains(message_of([&] { trace(empty, image()); }), "the model is empty"));
  CHECK(contains(message_of([&] { trace(net, {}); }), "needs an example"));
}

TEST_CASE("a graph prints as a table, as Graphviz and as mermaid") {
  Layer net = OddNet({{"conv", Conv2d({.in = 3, .out = 4, .kernel = 3, .stride = 2})}},
                     [](const Parts& p, const Tensor& x) { return relu(p["conv"](x)); });
  const Graph g = trace(net, image());
  CHECK(table(g) ==
        "node   op      from   output        options   parameters\n"
        "input  input          [1, 8, 8, 3]\n"
        "conv   conv2d  input  [1, 3, 3, 4]  stride=2  weight [4, 3, 3, 3], bias [4]\n"
        "relu   relu    conv   [1, 3, 3, 4]\n"
        "output: relu\n");
  const int conv = g.find("conv"), relu = g.find("relu");
  CHECK(graphviz(g) == str("digraph model {\n  node [shape=box, fontname=\"sans-serif\"];\n"
                           "  n0 [label=\"input\\n[1, 8, 8, 3]\"];\n  n",
                           conv, " [label=\"conv\\nconv2d stride=2\\n[1, 3, 3, 4]\"];\n  n", relu,
                           " [label=\"relu\\n[1, 3, 3, 4]\"];\n  n0 -> n", conv, ";\n  n", conv,
                           " -> n", relu, ";\n}\n"));
  CHECK(mermaid(g) == str("flowchart TD\n  n0[\"input<br/>[1, 8, 8, 3]\"]\n  n", conv,
                          "[\"conv<br/>conv2d stride=2<br/>[1, 3, 3, 4]\"]\n  n", relu,
                          "[\"relu<br/>[1, 3, 3, 4]\"]\n  n0 --> n", conv, "\n  n", conv, " --> n",
                          relu, "\n"));
}

TEST_CASE("names that mean something to a chart are escaped") {
  Layer net = OddNet({{"a\"b", ReLU()}},
                     [](const Parts& p, const Tensor& x) { return p["a\"b"](p["a\"b"](x)); });
  const Graph g = trace(net, image());
  CHECK(contains(graphviz(g), "[label=\"a\\\"b\\nrelu"));
  CHECK(contains(mermaid(g), "[\"a#quot;b#35;2<br/>relu"));
}
