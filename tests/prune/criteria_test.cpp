#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "prune/cost.h"
#include "prune/criterion.h"
#include "tests/prune/cases.h"
#include "tests/prune/images.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::prune;
using namespace pare::test;

namespace {

Images images(int64_t batches = 2, int64_t n = 3) {
  Rng rng(4);
  std::vector<Batch> all;
  for (int64_t i = 0; i < batches; ++i) {
    Tensor y = Tensor::zeros({n});
    for (int64_t k = 0; k < n; ++k) y.data()[k] = static_cast<float>(rng.below(2));
    all.push_back({Tensor::normal({n, 8, 8, 3}, rng), y});
  }
  return Images(std::move(all));
}

struct Scored {
  Structure structure;
  Scores scores;

  std::vector<double> of(const std::string& name) const {
    std::vector<double> list;
    for (int u : structure.group(structure.find(name)).units) {
      list.push_back(scores.of[static_cast<size_t>(u)]);
    }
    return list;
  }
  std::string why_not(const std::string& name) const {
    const auto it = scores.unjudged.find(structure.find(name));
    return it == scores.unjudged.end() ? "" : it->second;
  }
};

Scored scored(const std::string& name, nn::Layer& model, BatchSource* source = nullptr,
              int64_t count = 100) {
  Structure s(model, Tensor::ones({1, 8, 8, 3}));
  Rng rng(9);
  Scores scores = score(find_criterion(name), {model, s, rng, source, count});
  return {std::move(s), std::move(scores)};
}

nn::Layer classifier() {
  nn::Layer net =
      nn::Sequential({conv(3, 4), nn::BatchNorm2d(4), nn::ReLU(), conv(4, 5), nn::BatchNorm2d(5),
                      nn::ReLU(), nn::GlobalAvgPool2d(), nn::Flatten(), nn::Linear({5, 2})});
  nn::assign_paths(net);
  randomize(net);
  return net;
}

nn::Layer& step(nn::Layer& net, size_t i) { return net.as<nn::Sequential>()->layers[i]; }

double loss_without(const nn::Layer& model, size_t bn, int channel, float scale,
                    const Batch& batch) {
  nn::Layer net = model;
  for (Tensor* t :
       {&step(net, bn).as<nn::BatchNorm2d>()->weight, &step(net, bn).as<nn::BatchNorm2d>()->bias}) {
    t->data()[channel] *= scale;
  }
  return cross_entropy(output(net, batch.x), batch.y).item();
}

}  // namespace

TEST_CASE("criteria: by name") {
  const std::vector<std::string> known = criterion_names();
  CHECK(std::is_sorted(known.begin(), known.end()));
  for (const char* name : {"slimming", "l1", "l2", "fpgm", "apoz", "hrank", "taylor", "fisher",
                           "fisher_memory", "random"}) {
    CHECK(find_criterion(name).name == name);
    CHECK_FALSE(find_criterion(name).summary.empty());
  }
  const std::string message = message_of([] { find_criterion("sliming"); });
  CHECK(contains(message, "no criterion 'sliming'. Did you mean slimming?"));
  CHECK(contains(message, "apoz, fisher, "));
  CHECK(contains(message_of([] { add_criterion(find_criterion("l1")); }), "called l1 already"));
  CHECK(contains(message_of([] { add_criterion({.name = "x", .summary = ""}); }), "needs a name"));
}

TEST_CASE("slimming: magnitudes of gamma") {
  nn::Layer net = classifier();
  step(net, 1).as<nn::BatchNorm2d>()->weight.copy_(Tensor::of({0.5f, -2.0f, 0.0f, 1.0f}));
  const Scored s = scored("slimming", net);
  CHECK(s.of("0") == std::vector<double>{0.5, 2, 0, 1});
  CHECK(s.why_not("8") == "it has no batch norm with a scale");
}

TEST_CASE("slimming: the mean over the norms of tied layers") {
  nn::Layer net = OddNet({{"a", conv(3, 2)},
                          {"b", conv(3, 2)},
                          {"na", nn::BatchNorm2d(2)},
                          {"nb", nn::BatchNorm2d(2)},
                          {"c", conv(2, 2)}},
                         [](const Parts& p, const Tensor& x) {
                           const Tensor a = p["na"](p["a"](x));
                           return p["c"](a + p["nb"](p["b"](x)));
                         });
  auto& parts = dynamic_cast<OddNet&>(*net).parts.list;
  parts[2].second.as<nn::BatchNorm2d>()->weight.copy_(Tensor::of({1.0f, -3.0f}));
  parts[3].second.as<nn::BatchNorm2d>()->weight.copy_(Tensor::of({0.5f, 0.0f}));
  CHECK(scored("slimming", net).of("a") == std::vector<double>{0.75, 1.5});
}

TEST_CASE("l1, l2, fpgm: norms of filters and distances between them") {
  nn::Layer net =
      nn::Sequential({nn::Conv2d({.in = 3, .out = 3, .kernel = 1, .bias = false}), conv(3, 2)});
  step(net, 0).as<nn::Conv2d>()->weight.copy_(
      Tensor::of({3, -4, 0, 0, 0, 0, 3, 4, 0}).reshape({3, 1, 1, 3}));
  CHECK(scored("l1", net).of("0") == std::vector<double>{7, 0, 7});
  CHECK(scored("l2", net).of("0") == std::vector<double>{5, 0, 5});
  CHECK(scored("fpgm", net).of("0") == std::vector<double>{5 + 8, 5 + 5, 8 + 5});
}

TEST_CASE("fpgm: only filters of one group are compared") {
  nn::Layer net = nn::Sequential(
      {conv(3, 4), nn::Conv2d({.in = 4, .out = 4, .kernel = 1, .groups = 2, .bias = false}),
       conv(4, 2)});
  step(net, 1).as<nn::Conv2d>()->weight.copy_(
      Tensor::of({1, 0, 1, 1, 90, 0, 90, 2}).reshape({4, 1, 1, 2}));
  CHECK(scored("fpgm", net).of("1") == std::vector<double>{1, 1, 2, 2});
}

TEST_CASE("l1: transposed convolutions, filter by filter") {
  nn::Layer net = nn::Sequential(
      {conv(3, 4), nn::ConvTranspose2d({.in = 4, .out = 4, .kernel = 1, .groups = 2}), conv(4, 2)});
  // [in, 1, 1, out / groups]: rows 0 and 1 belong to outputs 0 and 1, rows 2 and 3 to 2 and 3.
  step(net, 1).as<nn::ConvTranspose2d>()->weight.copy_(
      Tensor::of({1, 2, 3, 4, 5, 6, 7, 8}).reshape({4, 1, 1, 2}));
  CHECK(scored("l1", net).of("1") == std::vector<double>{4, 6, 12, 14});
}

TEST_CASE("apoz: the share of what ReLU lets through") {
  nn::Layer net = classifier();
  auto* norm = step(net, 1).as<nn::BatchNorm2d>();
  norm->weight.fill_(0);  // the output of a channel is its beta
  norm->bias.copy_(Tensor::of({1.0f, 0.0f, -1.0f, 2.0f}));
  Images source = images();
  CHECK(scored("apoz", net, &source).of("0") == std::vector<double>{1, 0, 0, 1});

  norm->weight.fill_(1);
  const Scored s = scored("apoz", net, &source);
  double seen = 0, alive = 0;
  for (const Batch& b : source.list) {
    const Tensor y = relu(output(step(net, 1), output(step(net, 0), b.x)));
    for (int64_t i = 0; i < y.numel(); i += 4) ++seen, alive += y.data()[i] != 0;
  }
  CHECK(s.of("0")[0] == doctest::Approx(alive / seen));
}

TEST_CASE("apoz and hrank: layers without activations are not judged") {
  nn::Layer net = nn::Sequential({conv(3, 4), conv(4, 2), nn::GlobalAvgPool2d(), nn::Flatten()});
  Images source = images();
  CHECK(scored("apoz", net, &source).why_not("0") == "no ReLU follows it");
  CHECK(contains(scored("hrank", net, &source).why_not("0"), "no feature maps"));
}

TEST_CASE("hrank: the rank of feature maps") {
  // Channel 0: all zeros. Channel 1: constant. Channel 2: the image itself, of full rank. Channel
  // 3: an outer product.
  nn::Layer net = nn::Sequential({nn::Conv2d({.in = 3, .out = 4, .kernel = 1}), nn::ReLU(),
                                  conv(4, 2), nn::GlobalAvgPool2d(), nn::Flatten()});
  auto* c = step(net, 0).as<nn::Conv2d>();
  c->weight.copy_(Tensor::of({0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0}).reshape({4, 1, 1, 3}));
  c->bias.copy_(Tensor::of({-1.0f, 1.0f, 0.0f, 0.0f}));
  Images source = images(1, 2);
  Rng rng(1);
  Tensor& x = source.list[0].x;
  x = Tensor::uniform({2, 8, 8, 3}, rng, 0.1f, 1.0f);
  for (int64_t n = 0; n < 2; ++n) {
    for (int64_t i = 0; i < 64; ++i) {
      x.data()[(n * 64 + i) * 3 + 1] = static_cast<float>((1 + i / 8) * (2 + i % 8));
    }
  }
  CHECK(scored("hrank", net, &source).of("0") == std::vector<double>{0, 1, 8, 1});
}

TEST_CASE("taylor: the first-order change of the loss, image by image") {
  nn::Layer net = classifier();
  Images source = images(2, 1);
  const Scored s = scored("taylor", net, &source);
  for (int channel : {0, 3}) {
    CAPTURE(channel);
    double mean = 0;
    for (const Batch& b : source.list) {
      // What is behind the ReLU scales with gamma and beta: g = -dL/dscale.
      const float step_size = 1e-2f;
      const double up = loss_without(net, 1, channel, 1 + step_size, b);
      const double down = loss_without(net, 1, channel, 1 - step_size, b);
      mean += std::fabs((up - down) / (2 * step_size)) / 2;
    }
    CHECK(s.of("0")[static_cast<size_t>(channel)] == doctest::Approx(mean).epsilon(0.02));
  }
  CHECK(s.why_not("8") == "no layer reads it");
}

TEST_CASE("fisher: squares of what all readers say together, for what is saved") {
  // Two layers read the same channels with opposite weights: together nothing changes.
  nn::Layer net = OddNet({{"a", conv(3, 4)},
                          {"b", nn::Conv2d({.in = 4, .out = 2, .kernel = 1, .bias = false})},
                          {"c", nn::Conv2d({.in = 4, .out = 2, .kernel = 1, .bias = false})}},
                         [](const Parts& p, const Tensor& x) {
                           const Tensor h = relu(p["a"](x));
                           return flatten(mean(p["b"](h) + p["c"](h), {1, 2}));
                         });
  randomize(net);
  auto& parts = dynamic_cast<OddNet&>(*net).parts.list;
  Tensor &wb = parts[1].second.as<nn::Conv2d>()->weight,
         &wc = parts[2].second.as<nn::Conv2d>()->weight;
  wc.copy_(wb * -1.0f);
  for (int i : {0, 4}) wc.data()[i] = wb.data()[i];  // channel 0 counts twice
  Images source = images(2, 3);
  const Scored fisher = scored("fisher", net, &source), taylor = scored("taylor", net, &source);
  CHECK(fisher.of("a")[0] > 0);
  for (size_t i : {1, 2, 3}) {
    CHECK(fisher.of("a")[i] < 1e-9 * fisher.of("a")[0]);
    CHECK(taylor.of("a")[i] < 1e-5 * taylor.of("a")[0]);
  }
  // A channel costs 64 positions of 27 + 2 + 2 multiplications; 64 numbers of conv a.
  const Scored memory = scored("fisher_memory", net, &source);
  CHECK(memory.of("a")[0] == doctest::Approx(fisher.of("a")[0] * (27 + 2 + 2)));
}

TEST_CASE("criteria that look at images see as many as they are told, in any batches") {
  nn::Layer net = classifier();
  Images together = images(1, 6);
  const Batch& all = together.list[0];
  std::vector<Batch> parts;
  for (int64_t at : {0, 2, 4}) {
    parts.push_back({slice(all.x, 0, at, at + 2), slice(all.y, 0, at, at + 2)});
  }
  Images apart(parts);
  for (const char* name : {"apoz", "hrank", "taylor", "fisher"}) {
    const std::string criterion = name;
    CAPTURE(criterion);
    const std::vector<double> some = scored(name, net, &together, 3).of("3");
    const std::vector<double> same = scored(name, net, &apart, 3).of("3");
    const std::vector<double> more = scored(name, net, &apart, 6).of("3");
    for (size_t i = 0; i < some.size(); ++i) {
      CHECK(some[i] == doctest::Approx(same[i]).epsilon(1e-5));
    }
    if (criterion != "hrank") CHECK_FALSE(more == same);
  }
  CHECK(contains(message_of([&] { scored("taylor", net); }), "taylor needs images"));
  CHECK(contains(message_of([&] { scored("taylor", net, &apart, 0); }), "at least one image"));
}

TEST_CASE("criteria: the same scores with any number of threads, and the model stays") {
  nn::Layer net = classifier();
  Images source = images();
  const Tensor before = output(net, source.list[0].x).clone();
  for (const std::string& name : criterion_names()) {
    CAPTURE(name);
    set_num_threads(1);
    const std::vector<double> one = scored(name, net, &source).scores.of;
    set_num_threads(4);
    CHECK(scored(name, net, &source).scores.of == one);
    set_num_threads(0);
  }
  CHECK(output(net, source.list[0].x) == before);
  for (const nn::NamedTensor& p : nn::parameters(net)) {
    CHECK(p.tensor.requires_grad());
    CHECK_FALSE(p.tensor.grad());
  }
  CHECK(net->training);
}

TEST_CASE("criteria: weights that are not finite are found") {
  nn::Layer net = classifier();
  step(net, 0).as<nn::Conv2d>()->weight.data()[0] = std::nanf("");
  CHECK(contains(message_of([&] { scored("l1", net); }), "l1: a channel of 0 has the score nan"));
}
