#include "nn/trace_channels.h"

#include <doctest/doctest.h>

#include "nn/layers.h"
#include "quant/binary.h"
#include "tests/nn/odd_net.h"
#include "tests/nn/traced.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::nn;
using namespace pare::test;

TEST_CASE("channels: a chain, and who holds them") {
  const Traced t(Sequential({Conv2d({.in = 3, .out = 4, .kernel = 3}), BatchNorm2d(4), ReLU(),
                             MaxPool2d({}), conv(4, 5)}),
                 image());
  CHECK(t.removable() == Lines{"4: 0"});
  CHECK(t.why_kept("input") == "channels of the input");
  CHECK(t.why_kept("4") == "channels of the output");
  const Units& u = t.of("0");
  CHECK(u.size() == 4);
  CHECK(std::set<int>(u.begin(), u.end()).size() == 4);
  using Role = Channels::Role;
  CHECK(t.axis("0.weight", 0).units == u);
  CHECK(t.axis("0.weight", 0).role == Role::out);
  CHECK(t.axis("0.weight", 3).units == t.of("input"));
  for (const char* name : {"0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var"}) {
    CAPTURE(name);
    CHECK(t.axis(name, 0).units == u);
    CHECK(t.axis(name, 0).role == Role::each);
  }
  CHECK(t.axis("4.weight", 3).units == u);
  CHECK(t.axis("4.weight", 3).role == Role::in);
  CHECK(t.of("3") == u);
  CHECK(t.channels.removable(u[0]));
  CHECK_FALSE(t.channels.removable(t.of("4")[0]));
}

TEST_CASE("channels: a sum of four ties them all") {
  const Traced t(OddNet({{"a", conv(3, 4)},
                         {"b", conv(3, 4)},
                         {"c", conv(3, 4)},
                         {"d", conv(3, 4)},
                         {"e", conv(4, 2)}},
                        [](const Parts& p, const Tensor& x) {
                          return p["e"](p["a"](x) + p["b"](x) + (p["c"](x) + p["d"](x)));
                        }),
                 image());
  CHECK(t.removable() == Lines{"4: a b c d"});
  for (const char* name : {"b", "c", "d", "add#3"}) CHECK(t.of(name) == t.of("a"));
}

TEST_CASE("channels: a shared module ties what it reads and what it makes") {
  const Traced t(OddNet({{"stem", conv(3, 4)}, {"twice", conv(4, 4)}, {"last", conv(4, 2)}},
                        [](const Parts& p, const Tensor& x) {
                          return p["last"](p["twice"](relu(p["twice"](p["stem"](x)))));
                        }),
                 image());
  CHECK(t.removable() == Lines{"4: stem twice twice#2"});
  CHECK(t.axis("twice.weight", 0).units == t.axis("twice.weight", 3).units);
  CHECK(t.axis("twice.weight", 0).users.size() == 2);
}

TEST_CASE("channels: depthwise convolutions pass channels on, a multiplier repeats them") {
  const Traced t(
      OddNet(
          {{"pw", conv(3, 4)}, {"dw", conv(4, 4, 4)}, {"dw2", conv(4, 8, 4)}, {"last", conv(8, 2)}},
          [](const Parts& p, const Tensor& x) {
            return p["last"](p["dw2"](relu(p["dw"](p["pw"](x)))));
          }),
      image());
  CHECK(t.removable() == Lines{"4: pw"});
  const Units& u = t.of("pw");
  CHECK(t.axis("dw.weight", 0).units == u);
  CHECK(t.axis("dw.weight", 0).role == Channels::Role::each);
  CHECK_FALSE(t.has_axis("dw.weight", 3));
  CHECK(t.axis("dw2.weight", 0).units == Units{u[0], u[0], u[1], u[1], u[2], u[2], u[3], u[3]});
  CHECK(t.axis("last.weight", 3).units == t.axis("dw2.weight", 0).units);
  CHECK(t.channels.blocks.empty());
}

TEST_CASE("channels: transposed convolutions") {
  const Traced t(
      Sequential({conv(3, 6), ConvTranspose2d({.in = 6, .out = 8, .kernel = 2, .stride = 2}),
                  ConvTranspose2d({.in = 8, .out = 4, .kernel = 2, .stride = 2, .groups = 2}),
                  ConvTranspose2d({.in = 4, .out = 8, .kernel = 1, .groups = 4}), conv(8, 2)}),
      image());
  CHECK(t.removable() == Lines{"4: 2", "6: 0", "8: 1"});
  CHECK(t.axis("1.weight", 0).units == t.of("0"));
  CHECK(t.axis("1.weight", 0).role == Channels::Role::in);
  CHECK(t.axis("1.weight", 3).units == t.of("1"));
  CHECK(t.axis("1.weight", 3).role == Channels::Role::out);
  CHECK(t.axis("1.bias", 0).units == t.of("1"));
  CHECK(t.axis("2.weight", 3).groups == 2);
  CHECK(t.axis("2.weight", 3).units == t.of("2"));
  const Units& u = t.of("2");
  CHECK(t.axis("3.weight", 0).units == u);  // depthwise: one filter block per channel it reads
  CHECK(t.axis("3.bias", 0).units == Units{u[0], u[0], u[1], u[1], u[2], u[2], u[3], u[3]});
  CHECK(t.of("3") == t.axis("3.bias", 0).units);
}

TEST_CASE("channels: squeeze and excitation ties the gate to what it gates") {
  const Traced t(OddNet({{"a", conv(3, 8)},
                         {"down", Linear({8, 2})},
                         {"up", Linear({2, 8})},
                         {"last", conv(8, 2)}},
                        [](const Parts& p, const Tensor& x) {
                          const Tensor h = p["a"](x);
                          const Tensor s = mean(h, {1, 2});
                          const Tensor gate = sigmoid(p["up"](relu(p["down"](s))));
                          return p["last"](h * reshape(gate, {h.dim(0), 1, 1, 8}));
                        }),
                 image());
  CHECK(t.removable() == Lines{"2: down", "8: a up"});
  CHECK(t.of("up") == t.of("a"));
}

TEST_CASE("channels: sums over channels end them, attention over a single one does not tie") {
  const Traced t(OddNet({{"a", conv(3, 4)}, {"gate", conv(1, 1)}, {"b", conv(4, 2)}},
                        [](const Parts& p, const Tensor& x) {
                          const Tensor h = p["a"](x);
                          return p["b"](h * sigmoid(p["gate"](mean(h, {3}, true))));
                        }),
                 image());
  CHECK(t.removable() == Lines{"1: gate", "4: a"});
  CHECK(contains(t.why_kept("mean"), "what mean sums up"));
}

TEST_CASE("channels: parameters and constants beside values") {
  struct Shift final : Module {
    Tensor forward(const Tensor& x) override { return x + offset; }
    void visit(Visitor& v) override { v("offset", offset); }
    std::string describe() const override { return "Shift"; }
    Tensor offset = Tensor::ones({4});
  };
  const Traced t(Sequential({conv(3, 4), Shift(), conv(4, 2)}), image());
  CHECK(t.removable() == Lines{"4: 0"});
  CHECK(t.axis("1.offset", 0).units == t.of("0"));

  const Tensor four = Tensor::ones({4}), one = Tensor::ones({1});
  for (const Tensor& given : {four, one}) {
    const Traced c(
        OddNet({{"a", conv(3, 4)}, {"b", conv(4, 2)}},
               [&](const Parts& p, const Tensor& x) { return p["b"](p["a"](x) * given); }),
        image());
    CHECK(c.removable().empty() == (given.numel() == 4));
    if (given.numel() == 4) CHECK(contains(c.why_kept("a"), "depends on the constant"));
  }
}

TEST_CASE("channels: a weight behind a transform is held like a plain one") {
  Layer quantized = conv(4, 5);
  quantized.as<Conv2d>()->weight_fn = quant::BinaryWeight({.in_place = false});
  quantized.as<Conv2d>()->input_fn = quant::BinaryActivation();
  const Traced t(Sequential({conv(3, 4), quantized, conv(5, 2)}), image());
  CHECK(t.removable() == Lines{"4: 0", "5: 1"});
  CHECK(t.axis("1.weight", 0).units == t.of("1"));
  CHECK(t.axis("1.weight", 3).units == t.of("0"));
}

TEST_CASE("channels: scales of a weight go with its filters") {
  struct Scaled final : Module {
    Tensor forward(const Tensor& w) override { return w * per_filter * layer; }
    void visit(Visitor& v) override { v("per_filter", per_filter)("layer", layer); }
    std::string describe() const override { return "Scaled"; }
    Tensor per_filter = Tensor::ones({5, 1, 1, 1}), layer = Tensor::ones({1});
  };
  Layer c = conv(4, 5);
  c.as<Conv2d>()->weight_fn = Scaled();
  const Traced t(Sequential({conv(3, 4), c, conv(5, 2)}), image());
  CHECK(t.removable() == Lines{"4: 0", "5: 1"});
  CHECK(t.axis("1.weight_fn.per_filter", 0).units == t.of("1"));
  CHECK_FALSE(t.has_axis("1.weight_fn.layer", 0));
}

TEST_CASE("channels print as a table") {
  const Layer net = Sequential({conv(3, 4), conv(4, 8, 2), conv(8, 2)});
  const Traced t(net, image());
  CHECK(table(t.graph, t.channels) ==
        "channels  made by  also in  read by  removable\n"
        "3         -        -        0        no: channels of the input\n"
        "4         0        -        1        yes\n"
        "8         1        -        2        yes\n"
        "2         2        -        -        no: channels of the output\n"
        "1: 2 blocks of 2 channels, equally many stay in each\n"
        "1: 2 blocks of 4 channels, equally many stay in each\n");
}
