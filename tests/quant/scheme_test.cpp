#include "quant/scheme.h"

#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "core/autograd.h"
#include "core/parallel.h"
#include "models/models.h"
#include "nn/init.h"
#include "nn/optim.h"
#include "nn/state.h"
#include "quant/quantizer.h"
#include "tests/support/message.h"

namespace pare {
namespace {

using quant::parse_scheme, quant::Scheme;
using test::contains, test::message_of;

nn::Layer small(const std::string& name, const std::string& order = {}) {
  models::Options o;
  o.order = order;
  if (name == "nin") o.widths = {8, 8, 8, 8, 8, 8, 8, 8};
  if (name == "resnet20") o.widths = {4, 8, 8};
  if (name == "lenet5") o.image = {28, 28, 1};
  if (name == "nin_gc") o.widths = {16, 16, 16, 32, 32, 32, 64, 64};
  nn::Layer model = models::make(name, o);
  Rng rng(1);
  nn::init(model, rng, models::init_options(name));
  return model;
}

Tensor image(uint64_t seed = 5, int64_t size = 32) {
  Rng rng(seed);
  return Tensor::normal({2, size, size, 3}, rng);
}

TEST_CASE("scheme: the short forms") {
  CHECK_FALSE(parse_scheme("float").active());
  const Scheme b = parse_scheme("wbab:W2A2");
  CHECK(b.weight->name == "binary");
  CHECK(b.activation->name == "binary");
  CHECK(b.keep == std::vector<std::string>{"first", "last"});
  const Scheme t = parse_scheme("wbab:w3a32");
  CHECK(t.weight->name == "ternary");
  CHECK_FALSE(t.activation);
  const Scheme d = parse_scheme("wqaq:W4A8");
  CHECK(d.weight->name == "dorefa");
  CHECK(d.weight->bits == 4);
  CHECK(d.activation->bits == 8);
  CHECK(d.weight->is("form", "micronet"));
  CHECK(d.keep == std::vector<std::string>{"first"});
  CHECK_FALSE(parse_scheme("wqaq:W32A32").active());
  const Scheme l = parse_scheme("lsq:W2A4");
  CHECK(l.weight->name == "lsq");
  CHECK(l.weight->bits == 2);
  CHECK(l.activation->bits == 4);
  CHECK(parse_scheme("pact:W4A4").weight->name == "dorefa");
  CHECK(parse_scheme("pact:W4A4").activation->name == "pact");
  CHECK_FALSE(parse_scheme("iao:W8A32").activation);
}

TEST_CASE("scheme: any mix, and options of both sides") {
  const Scheme s = parse_scheme("W=binary,A=dorefa:4,keep=first+layer3*,prescale=0.5,center=off");
  CHECK(s.weight->name == "binary");
  CHECK(s.activation->bits == 4);
  CHECK(s.keep == std::vector<std::string>{"first", "layer3*"});
  CHECK(s.activation->number("prescale") == 0.5f);
  CHECK(s.weight->is("center", "off"));
  const Scheme t = parse_scheme(
      "A=ternary,W=ternary,ste=poly,place=input,per=layer,gap=0.8,w_threshold=0.5,a_threshold=0.3,"
      "alpha=off,keep=none");
  CHECK(t.activation->is("ste", "poly"));
  CHECK(t.place == quant::Place::input);
  CHECK(t.weight->is("per", "layer"));
  CHECK(t.weight->number("gap") == 0.8f);
  CHECK(t.weight->number("threshold") == 0.5f);
  CHECK(t.activation->number("threshold") == 0.3f);
  CHECK(t.weight->is("alpha", "off"));
  CHECK(t.keep.empty());
  const Scheme x = parse_scheme("wbab:W2A2,xnor=on,in_place=off,clamp=off,ste=triangle");
  CHECK(x.xnor);
  CHECK(x.weight->is("in_place", "off"));
  CHECK(x.weight->is("clamp", "off"));
  CHECK(parse_scheme("wqaq:W4A4,form=paper").weight->is("form", "paper"));
  const Scheme u = parse_scheme("uniform:W8A8,observer=percentile,tail=0.01,a_observer=mse");
  CHECK(u.weight->is("observer", "percentile"));
  CHECK(u.weight->is("tail", "0.01"));
  CHECK(u.activation->is("observer", "mse"));
  const Scheme e = parse_scheme("W=lsq:2,A=lsq:2,edges=lsq:8");
  CHECK(e.keep.empty());
  CHECK(e.edge_weight->bits == 8);
  CHECK(e.edge_input->bits == 8);
}

TEST_CASE("scheme: written and read back") {
  for (const char* text :
       {"float", "W=binary,A=binary", "W=binary,A=binary,xnor=on,center=off,ste=poly",
        "W=ternary,A=float,keep=none,per=layer,gap=0.8", "W=float,A=dorefa:2,prescale=0.25",
        "W=dorefa:16,A=ternary,keep=first,place=act,form=micronet,threshold=0.3",
        "W=ternary,A=ternary,w_threshold=0.6,a_threshold=0.3", "W=lsq:4,A=lsq:4,edges=lsq:8",
        "W=uniform:8,A=uniform:8,keep=none,w_observer=percentile,tail=0.01,a_observer=mse",
        "W=iao:8,A=iao:8,scheme=affine,per=tensor,range=average",
        "W=float,A=pact:3,clip=0,observer=mse", "W=lsq+:4,A=lsq+:4,rounding=half-away",
        "W=iao:8,A=iao:8,keep=none,bn=corrected", "W=lsq:4,A=lsq:4,bits=layer1*:8+first:32",
        "W=lsq:4,A=lsq:4,edges=lsq:8,w_bits=a.b:2,a_bits=c:3,place=input",
        "W=float,A=lsq:4,a_bits=conv1:8"}) {
    CHECK(quant::to_string(parse_scheme(text)) == text);
  }
  CHECK(quant::to_string(parse_scheme("wbab:W3A2")) == "W=ternary,A=binary");
  CHECK(quant::to_string(parse_scheme("w=ternary,a=float")) == "W=ternary,A=float");
  CHECK(quant::to_string(parse_scheme("wqaq:W4A4")) ==
        "W=dorefa:4,A=dorefa:4,keep=first,form=micronet");
  CHECK(quant::to_string(parse_scheme("uniform:W8A8,scheme=symmetric")) ==
        "W=uniform:8,A=uniform:8,a_scheme=symmetric");
}

TEST_CASE("scheme: what cannot be understood is refused") {
  for (const char* text : {"",
                           "w2a2",
                           "W2A2",
                           "wbab:W4A2",
                           "wbab:2-2",
                           "wbab:W2",
                           "wqaq:W0A4",
                           "wqaq:W17A4",
                           "lsqq:W4A4",
                           "binary:W2A2",
                           "W=two",
                           "W=dorefa",
                           "W=dorefa:0",
                           "W=dorefa:x",
                           "A=binary,ste=straight",
                           "W=binary,colour=red",
                           "W=binary,gap=0.5",
                           "W=binary,ste=clip",
                           "float,keep=none",
                           "W=ternary,gap=1",
                           "W=ternary,gap=a",
                           "W=binary,keep=",
                           "W=binary,keep=first++last",
                           "W=binary,A=binary,xnor=on,place=act",
                           "W=binary,xnor=on",
                           "W=binary,place=act",
                           "A=lsq:4,per=channel,place=act",
                           "W=lsq:4,edges=pact:8",
                           "W=lsq:4,edges=8",
                           "A=lsq:4,bn=fused",
                           "W=lsq:4,bn=merged",
                           "wbab:W2A2,xnor=on,bn=fused",
                           "W=lsq:4,bits=conv1",
                           "W=lsq:4,bits=:8",
                           "W=lsq:4,bits=",
                           "W=lsq:4,bits=conv1:8++conv2:8",
                           "W=lsq:4,bits=conv1:17",
                           "W=lsq:4,a_bits=conv1:8",
                           "W=binary,bits=conv1:2",
                           "A=lsq:4,a_bits=conv1:8,place=act",
                           "float,bits=conv1:8",
                           "W=binary,W"}) {
    CAPTURE(text);
    CHECK(contains(message_of([&] { parse_scheme(text); }), "quant: "));
  }
  CHECK(contains(message_of([] { parse_scheme("W=binary,gap=0.5"); }), "gap has no effect"));
  CHECK(contains(message_of([] { parse_scheme("W=lsq:4,roundin=half-away"); }),
                 "Did you mean rounding?"));
  CHECK(contains(message_of([] { parse_scheme("W=adaroud:4"); }), "Did you mean adaround?"));
  CHECK(contains(message_of([] { parse_scheme("wbab:W4A2"); }), "2, 3 or 32"));
}

TEST_CASE("scheme: the help names every quantizer, observer and option") {
  const std::string help = quant::scheme_help();
  for (const quant::QuantizerInfo& q : quant::quantizers()) {
    CHECK(contains(help, "  " + q.name));
    if (!q.options || !q.no_weights.empty()) continue;
    for (const quant::Option& o : q.options(quant::Role::weight)) {
      CHECK(contains(help, o.name + "=" + o.usual));
    }
  }
  for (const quant::ObserverInfo& o : quant::observers()) CHECK(contains(help, o.summary));
}

/// Paths of the layers whose socket holds a quantizer.
struct Found {
  std::set<std::string> weights, inputs, acts;
};
Found quantizers(nn::Layer& model) {
  Found f;
  nn::for_each_layer(model, [&](const std::string& path, nn::Layer& layer) {
    if (!layer.as<quant::Quantizer>()) return;
    const size_t dot = path.rfind('.');
    const std::string name = path.substr(dot + 1), owner = path.substr(0, dot);
    (name == "weight_fn" ? f.weights : name == "input_fn" ? f.inputs : f.acts).insert(owner);
  });
  return f;
}

TEST_CASE("apply: binary NIN is micronet's, sign in place of every ReLU but the last") {
  for (const char* name : {"nin", "nin_gc"}) {
    nn::Layer model = small(name);
    const quant::Report report = quant::apply(model, parse_scheme("wbab:W2A2"));
    const Found f = quantizers(model);
    CHECK(f.weights.size() == 7);
    CHECK(f.weights.count("model.0.conv") == 0);
    CHECK(f.weights.count("model.10.conv") == 0);
    CHECK(f.inputs.empty());
    CHECK(f.acts.size() == 8);
    CHECK(f.acts.count("model.10") == 0);
    CHECK(report.rows.size() == 9 + 8);
  }
}

TEST_CASE("apply: in every block order all activations but the last are replaced") {
  for (const std::string order : {"cbap", "cbpa", "acbp", "bacp"}) {
    CAPTURE(order);
    const size_t count = order[0] == 'c' ? 8 : 7;  // else the first block has none
    nn::Layer model = small("nin", order);
    quant::apply(model, parse_scheme("wbab:W2A3"));
    const Found f = quantizers(model);
    CHECK(f.acts.size() == count);
    CHECK(f.acts.count("model.10") == 0);
    CHECK(model(image()).shape() == Shape{2, 10});
  }
}

TEST_CASE("apply: DoReFa sits at the inputs and leaves ReLUs alone") {
  nn::Layer model = small("nin");
  quant::apply(model, parse_scheme("wqaq:W4A4"));
  const Found f = quantizers(model);
  CHECK(f.weights.size() == 8);
  CHECK(f.weights == f.inputs);
  CHECK(f.weights.count("model.0.conv") == 0);
  CHECK(f.weights.count("model.10.conv") == 1);
  CHECK(f.acts.empty());
  CHECK(quant::activations(model).size() == 9);
}

TEST_CASE(
    "apply: a residual network is binarized at its inputs, without ReLUs, and is no constant") {
  nn::Layer model = small("resnet20");
  quant::apply(model, parse_scheme("wbab:W2A2"));
  const Found f = quantizers(model);
  CHECK(f.weights.size() == 20);  // 18 convolutions in blocks, two projections
  CHECK(f.weights == f.inputs);
  CHECK(f.weights.count("conv1") == 0);
  CHECK(f.weights.count("linear") == 0);
  CHECK(quant::activations(model).empty());
  // Behind a ReLU every sign would be +1, and the image would not matter.
  CHECK_FALSE(model(image(1)) == model(image(2)));
}

/// One training step of a small model under a scheme.
void check_step(const std::string& name, const std::string& text) {
  CAPTURE(name);
  CAPTURE(text);
  nn::Layer model = small(name);
  quant::apply(model, parse_scheme(text));
  Rng rng(3);
  const Tensor x = name == "lenet5" ? Tensor::normal({2, 28, 28, 1}, rng) : image();
  cross_entropy(model(x), Tensor::of({1, 2})).backward();
  for (const nn::NamedTensor& p : nn::parameters(model)) {
    CAPTURE(p.name);
    REQUIRE(p.tensor.grad());
    for (const float g : p.tensor.grad().span()) REQUIRE(std::isfinite(g));
  }
}

TEST_CASE("apply: every model takes every kind of scheme, and its gradients are finite") {
  set_num_threads(1);  // the work is small: threads would only wait for each other
  for (const char* name : {"nin_gc", "resnet20", "lenet5"}) {
    for (const char* text :
         {"wbab:W2A2", "wbab:W3A3", "wqaq:W1A1", "wqaq:W32A8", "W=binary,A=dorefa:4",
          "W=ternary,A=binary,gap=0.8,keep=none", "wbab:W2A2,xnor=on", "wbab:W2A2,place=input"}) {
      check_step(name, text);
    }
  }
  set_num_threads(0);
}

TEST_CASE("apply: which layers stay float is up to keep") {
  const auto kept_weights = [](const std::string& keep) {
    nn::Layer model = small("resnet20");
    quant::apply(model, parse_scheme("W=binary,keep=" + keep));
    return 22 - quantizers(model).weights.size();
  };
  CHECK(kept_weights("none") == 0);
  CHECK(kept_weights("first") == 1);
  CHECK(kept_weights("first+last") == 2);
  CHECK(kept_weights("first+last+*shortcut*") == 4);
  CHECK(kept_weights("layer1.0.conv1") == 1);
  CHECK(kept_weights("layer1.*") == 6);
  nn::Layer model = small("resnet20");
  const std::string message =
      message_of([&] { quant::apply(model, parse_scheme("W=binary,keep=layer9*")); });
  CHECK(contains(message, "layer9*"));
  CHECK(quantizers(model).weights.empty());  // found before anything was changed
}

TEST_CASE("apply: in place of nonlinearities, edges still quantize the images") {
  nn::Layer model = small("nin");
  quant::apply(model, parse_scheme("wbab:W2A2,edges=uniform:8,place=act"));
  for (const quant::LayerInfo& info : quant::layers(model)) {
    CAPTURE(info.path);
    const auto* input = info.conv->input_fn.as<quant::Quantizer>();
    CHECK(static_cast<bool>(input) == info.first());
    if (input) CHECK(input->bits() == 8);
  }
}

TEST_CASE("apply: some layers have bits of their own") {
  nn::Layer model = small("resnet20");
  quant::apply(model, parse_scheme("W=uniform:4,A=uniform:4,edges=uniform:8,"
                                   "w_bits=layer*:3+layer1.0*:2+layer2.0.conv1:32+last:5,"
                                   "a_bits=layer3*:6"));
  const auto bits = [&](const std::string& path) {
    int w = 32, a = 32;
    for (const quant::LayerInfo& info : quant::layers(model)) {
      if (info.path != path) continue;
      const nn::Layer& weight_fn = info.conv ? info.conv->weight_fn : info.linear->weight_fn;
      const nn::Layer& input_fn = info.conv ? info.conv->input_fn : info.linear->input_fn;
      if (const auto* q = weight_fn.as<quant::Quantizer>()) w = q->bits();
      if (const auto* q = input_fn.as<quant::Quantizer>()) a = q->bits();
    }
    return std::pair(w, a);
  };
  CHECK(bits("conv1") == std::pair(8, 8));
  CHECK(bits("layer1.0.conv2") == std::pair(2, 4));  // of names that fit, the last one holds
  CHECK(bits("layer1.1.conv2") == std::pair(3, 4));
  CHECK(bits("layer2.0.conv1") == std::pair(32, 4));
  CHECK(bits("layer3.0.conv1") == std::pair(3, 6));
  CHECK(bits("linear") == std::pair(5, 8));
  CHECK(contains(message_of([&] { quant::apply(model, parse_scheme("W=lsq:4,bits=conv9:8")); }),
                 "conv9 names no layer"));
}

TEST_CASE("apply: place=act needs a nonlinearity between layers") {
  nn::Layer model =
      nn::Sequential({nn::Conv2d({.in = 3, .out = 4}), nn::Conv2d({.in = 4, .out = 4})});
  CHECK(contains(
      message_of([&] { quant::apply(model, parse_scheme("A=binary,place=act,keep=none")); }),
      "place=input"));
  nn::Layer nin = small("nin");
  quant::apply(nin, parse_scheme("A=dorefa:2,place=act"));
  CHECK(quantizers(nin).acts.size() == 8);
  CHECK(quantizers(nin).inputs.empty());
}

TEST_CASE("apply: sizes are the ones published for nin_gc") {
  // MB = 1e6 bytes, biases float32, batch norm folded, no scales: ALGORITHMS.md 4.1.
  const auto bytes = [](const std::string& scheme) {
    nn::Layer model = models::make("nin_gc");
    int64_t bits = 0, biases = 0;
    for (const auto& row : quant::apply(model, parse_scheme(scheme)).rows) bits += row.bits;
    for (const quant::LayerInfo& info : quant::layers(model)) biases += info.conv->bias.numel();
    return bits / 8 + 4 * biases;
  };
  CHECK(bytes("W=binary,alpha=off") == 203816);
  CHECK(bytes("W=ternary,alpha=off") == 272424);
  CHECK(bytes("float") == 4 * 582666);
}

TEST_CASE("apply: training gives the same bits with 1, 2 and 5 threads") {
  for (const char* text : {"wbab:W2A2", "wbab:W3A2", "wqaq:W4A4", "wbab:W2A2,xnor=on", "lsq:W4A4",
                           "lsq+:W4A4", "pact:W3A3", "iao:W8A8"}) {
    CAPTURE(text);
    const auto train = [&](int threads) {
      set_num_threads(threads);
      nn::Layer model = small("nin_gc");
      quant::apply(model, parse_scheme(text));
      const auto optimizer = nn::adam(nn::param_groups(model, 0), {.lr = 0.01f});
      for (uint64_t step = 0; step < 2; ++step) {
        cross_entropy(model(image(step, 16)), Tensor::of({1, 2})).backward();
        optimizer->step();
        optimizer->zero_grad();
      }
      set_num_threads(0);
      return nn::state_dict(model);
    };
    const auto one = train(1);
    for (const int threads : {2, 5}) {
      for (const auto& entry : train(threads)) {
        CHECK_MESSAGE(entry.second == one.at(entry.first), entry.first);
      }
    }
  }
}

}  // namespace
}  // namespace pare
