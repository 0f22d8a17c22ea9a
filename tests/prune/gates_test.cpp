#include "prune/gates.h"

#include <doctest/doctest.h>

#include <cmath>

#include "nn/layer_changes.h"
#include "prune/l0.h"
#include "prune/resrep.h"
#include "tests/prune/cases.h"
#include "tests/support/close.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::prune;
using namespace pare::test;

namespace {

PruneCase chain() {
  return odd_case("chain",
                  nn::Sequential({conv(3, 6), nn::BatchNorm2d(6), nn::ReLU(), conv(6, 4),
                                  nn::BatchNorm2d(4), nn::ReLU(), conv(4, 2), nn::BatchNorm2d(2)}));
}

template <class G>
std::vector<G*> gates_of(const nn::Layer& model) {
  std::vector<G*> all;
  for (Gate* g : gates(model)) all.push_back(dynamic_cast<G*>(g));
  return all;
}

Tensor train_output(nn::Layer& model, const Tensor& x) {
  nn::set_training(model, true);
  return model(x);
}

}  // namespace

TEST_CASE("gates stand behind convolutions whose channels are their own") {
  const auto norms = [](PruneCase c) {
    std::vector<std::string> paths;
    for (const GatePlace& p : gate_places(Structure(c.model, c.images))) {
      paths.push_back(p.conv + " " + p.norm);
    }
    return paths;
  };
  CHECK(norms(chain()) == std::vector<std::string>{"0 1", "3 4"});  // not the output
  const auto resnet = norms(library_case("resnet20", {.widths = {4, 8, 16}}));
  CHECK(resnet.size() == 9);  // the first convolution of each block
  CHECK(resnet[0] == "layer1.0.conv1 layer1.0.bn1");
  CHECK(norms(library_case("nin_gc", {.widths = {32, 32, 32, 64, 64, 64, 64, 64}})).size() == 1);
  PruneCase lenet = library_case("lenet5", {.image = {28, 28, 1}});
  CHECK(contains(message_of([&] { add_gates(lenet.model, lenet.images, "l0", Rng(1)); }),
                 "no gate can stand in this model"));
  PruneCase c = chain();
  CHECK(contains(message_of([&] { add_gates(c.model, c.images, "l1", Rng(1)); }),
                 "no gates called 'l1'"));
  add_gates(c.model, c.images, "l0", Rng(1));
  CHECK(contains(message_of([&] { add_gates(c.model, c.images, "l0", Rng(1)); }),
                 "has gates already"));
  PruneCase plain = chain();
  CHECK(contains(message_of([&] { merge_gates(plain.model, plain.images); }), "no gates to merge"));
}

TEST_CASE("gates: what merging leaves computes the same, channel for channel") {
  for (const char* kind : {"l0", "resrep"}) {
    const std::string name = kind;
    CAPTURE(name);
    for (PruneCase c : {chain(), library_case("resnet20", {.widths = {4, 8, 16}}),
                        library_case("vgg16_bn", {.widths = std::vector<int64_t>(13, 6)})}) {
      CAPTURE(c.name);
      nn::Layer original = c.model;
      add_gates(c.model, c.images, kind, Rng(1));
      CHECK(nn::layer_changes(original, c.model).empty());
      Rng rng(7);
      for (Gate* g : gates(c.model)) {
        if (auto* l0 = dynamic_cast<L0Gate*>(g)) {
          l0->log_alpha.copy_(Tensor::uniform(l0->log_alpha.shape(), rng, -4.0f, 4.0f));
          l0->log_alpha.data()[0] = 3;
        } else {
          auto* k = dynamic_cast<Compactor*>(g);
          k->weight.copy_(Tensor::uniform(k->weight.shape(), rng, -0.5f, 0.5f));
          for (int64_t i : {1, 2}) {  // forgotten to the end
            k->mask.data()[i] = 0;
            for (int64_t j = 0; j < k->channels(); ++j) {
              k->weight.data()[i * k->channels() + j] = 0;
            }
          }
        }
      }
      const Tensor want = output(c.model, c.images);
      nn::Layer merged = c.model;
      const Plan plan = merge_gates(merged, c.images);
      CHECK(gates(merged).empty());
      CHECK(plan.kept() < plan.channels());
      CHECK(close(output(merged, c.images), want, {.relative = 1e-4}));
      nn::Layer small = apply(plan, merged, c.images);
      CHECK(close(output(small, c.images), want, {.relative = 1e-4}));
      for (const auto& [path, change] : nn::layer_changes(original, small)) {
        CHECK_FALSE(change.removed);
      }
    }
  }
}

TEST_CASE("l0: the gate and its chance to be open") {
  L0Gate gate(nn::BatchNorm2d(4), 9);
  gate.log_alpha.copy_(Tensor::of({-4.0f, 0.0f, 1.0f, 4.0f}));
  const auto sigmoid_of = [](double v) { return 1 / (1 + std::exp(-v)); };
  const Tensor z = gate.gate(), p = gate.alive();
  CHECK(z.data()[0] == 0);
  CHECK(z.data()[1] == doctest::Approx(0.5));
  CHECK(z.data()[2] == doctest::Approx(sigmoid_of(1) * 1.2 - 0.1));
  CHECK(z.data()[3] == 1);
  CHECK(gate.open() == std::vector<bool>{false, true, true, true});
  CHECK(p.data()[1] == doctest::Approx(sigmoid_of(2.0 / 3 * std::log(11.0))));
  // What it says it does: the share of samples that are not zero, and which are one.
  Rng rng(3);
  gate.rng = rng;
  gate.training = true;
  const nn::Layer unit = nn::BatchNorm2d(4);
  int open = 0;
  double sum = 0;
  for (int i = 0; i < 400; ++i) {
    const Tensor y = gate.forward(Tensor::of({1, 1, 1, 1, -1, -1, -1, -1}).reshape({2, 1, 1, 4}));
    open += y.data()[1] != 0;
    sum += std::fabs(y.data()[1]);
  }
  CHECK(open / 400.0 == doctest::Approx(p.data()[1]).epsilon(0.05));
  CHECK(sum / 400 == doctest::Approx(0.5).epsilon(0.15));
}

TEST_CASE("l0: the penalty is the expected share of weights, and closes gates") {
  PruneCase c = chain();
  add_gates(c.model, c.images, "l0", Rng(1));
  const auto all = gates_of<L0Gate>(c.model);
  REQUIRE(all.size() == 2);
  CHECK(all[0]->filter == 27);
  CHECK(all[1]->filter == 54);
  all[0]->log_alpha.fill_(-30);
  all[1]->log_alpha.fill_(30);
  const Tensor penalty = l0_penalty(0.5f)(c.model);
  CHECK(penalty.item() == doctest::Approx(0.5 * (54 * 4) / (27 * 6 + 54 * 4.0)));
  all[1]->log_alpha.fill_(0);
  l0_penalty(0.5f)(c.model).backward();
  for (float g : all[1]->log_alpha.grad().span()) CHECK(g > 0);
  CHECK(contains(message_of([] { l0_penalty(1)(chain().model); }), "no L0 gates"));
}

TEST_CASE("l0: training draws, with the same bits for the same generator") {
  PruneCase a = chain(), b = chain();
  add_gates(a.model, a.images, "l0", Rng(1));
  add_gates(b.model, b.images, "l0", Rng(1));
  const Tensor first = train_output(a.model, a.images);
  CHECK(first == train_output(b.model, b.images));
  CHECK_FALSE(first == train_output(a.model, a.images));
  const auto all = gates_of<L0Gate>(a.model);
  CHECK_FALSE(all[0]->rng.key() == all[1]->rng.key());
}

TEST_CASE("resrep: a fresh compactor changes nothing") {
  PruneCase c = chain();
  const Tensor want = output(c.model, c.images);
  add_gates(c.model, c.images, "resrep", Rng(1));
  CHECK(output(c.model, c.images) == want);
}

TEST_CASE("gates are trained without weight decay, compactors with momentum 0.99") {
  for (const std::string kind : {"resrep", "l0"}) {
    CAPTURE(kind);
    PruneCase c = chain();
    const size_t before = nn::parameters(c.model).size();
    add_gates(c.model, c.images, kind, Rng(1));
    std::vector<nn::ParamGroup> groups = nn::param_groups(c.model, 0.1f);
    const size_t usual = groups.size();
    separate_gates(groups);
    REQUIRE(groups.size() == usual + 1);
    CHECK(groups.back().params.size() == nn::parameters(c.model).size() - before);
    CHECK(groups.back().weight_decay == 0);
    CHECK(groups.back().momentum.has_value() == (kind == "resrep"));
    if (kind == "resrep") CHECK(*groups.back().momentum == 0.99f);
    for (size_t i = 0; i < usual; ++i) CHECK(!groups[i].momentum);
  }
}

TEST_CASE("resrep: gradients of chosen rows are reset, and all rows are pulled to zero") {
  PruneCase c = chain();
  Structure s(c.model, c.images);
  add_gates(c.model, c.images, "resrep", Rng(1));
  ResRep resrep(c.model, std::move(s),
                {.target = 0.5, .lambda = 0.1, .from = 0.2, .until = 0.6, .min_channels = 2});
  const auto all = gates_of<Compactor>(c.model);
  for (Compactor* k : all) {
    for (int64_t i = 0; i < k->channels(); ++i) {  // norms 1, 2, 3, ...
      k->weight.data()[i * k->channels() + i] = static_cast<float>(i + 1);
    }
  }
  const auto closed = [&](double progress) {
    for (Compactor* k : all) k->weight.set_grad(Tensor::ones(k->weight.shape()));
    resrep.reset_gradients(progress);
    int64_t count = 0;
    for (Compactor* k : all) {
      for (float m : k->mask.span()) count += m == 0;
    }
    return count;
  };
  CHECK(closed(0.1) == 0);
  for (int64_t j = 0; j < 6; ++j) {  // before: the gradient and 0.1 k / |k|
    CHECK(all[0]->weight.grad().data()[j] == (j == 0 ? 1.1f : 1.0f));
  }
  const int64_t half = closed(0.4), full = closed(0.6);
  CHECK(half > 0);
  CHECK(full > half);
  CHECK(closed(1.0) == full);
  CHECK(all[0]->mask.data()[0] == 0);
  CHECK(all[0]->mask.data()[5] == 1);
  CHECK(all[0]->weight.grad().data()[0] == 0.1f);
  CHECK(all[0]->weight.grad().data()[1] == 0);
  CHECK(all[0]->weight.grad().data()[5 * 6] == 1);
  int64_t left = 0;
  for (float m : all[1]->mask.span()) left += m != 0;
  CHECK(left >= 2);
  nn::Layer merged = c.model;
  const Plan plan = merge_gates(merged, c.images);
  CHECK(plan.after.macs <= 0.5 * plan.before.macs);
}

TEST_CASE("resrep: a row of zeros has no direction, and stays zero") {
  PruneCase c = chain();
  Structure s(c.model, c.images);
  add_gates(c.model, c.images, "resrep", Rng(1));
  Compactor* k = gates_of<Compactor>(c.model)[0];
  for (int64_t j = 0; j < 6; ++j) k->weight.data()[j] = 0;
  k->weight.set_grad(Tensor::zeros(k->weight.shape()));
  ResRep resrep(c.model, std::move(s), {.target = 0.9});
  resrep.reset_gradients(1);
  for (int64_t j = 0; j < 6; ++j) CHECK(k->weight.grad().data()[j] == 0);
}
