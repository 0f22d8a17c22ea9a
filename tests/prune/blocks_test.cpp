#include "prune/blocks.h"

#include <doctest/doctest.h>

#include "core/ops.h"
#include "nn/layer_changes.h"
#include "nn/state.h"
#include "tests/prune/cases.h"
#include "tests/prune/images.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::prune;
using namespace pare::test;

namespace {

Images images_for(const PruneCase& c) {
  Tensor y = Tensor::zeros({c.images.dim(0)});
  y.data()[0] = 1;
  return Images({{c.images, y}});
}

double loss(nn::Layer& model, const Batch& b) {
  return cross_entropy(output(model, b.x), b.y).item();
}

}  // namespace

TEST_CASE("blocks: those with the identity as shortcut can be left out") {
  using Paths = std::vector<std::string>;
  PruneCase c = library_case("resnet20", {.widths = {4, 8, 16}});
  CHECK(removable_blocks(c.model, c.images) ==
        Paths{"layer1.0", "layer1.1", "layer1.2", "layer2.1", "layer2.2", "layer3.1", "layer3.2"});
  PruneCase deep = library_case("resnet50", {.widths = {4, 8, 8, 8}});
  CHECK(removable_blocks(deep.model, deep.images).size() == 2 + 3 + 5 + 2);
  for (const char* name : {"nin", "vgg16_bn"}) {
    PruneCase plain = library_case(name, {});
    CHECK(removable_blocks(plain.model, plain.images).empty());
  }
}

TEST_CASE("blocks: the one without which the loss is smallest goes first") {
  PruneCase c = library_case("resnet20", {.widths = {4, 8, 16}});
  Images source = images_for(c);
  const Batch& b = source.list[0];
  std::string best;
  double lowest = 0;
  for (const std::string& path : removable_blocks(c.model, c.images)) {
    nn::Layer without = c.model;
    nn::apply_changes(without, {{path, {.removed = true}}});
    const double l = loss(without, b);
    if (best.empty() || l < lowest) best = path, lowest = l;
  }
  nn::Layer original = c.model;
  const auto removed = remove_blocks(c.model, c.images, source, {.count = 2});
  REQUIRE(removed.size() == 2);
  CHECK(removed[0].path == best);
  CHECK(removed[0].loss == doctest::Approx(lowest));
  CHECK(removed[1].loss == doctest::Approx(loss(c.model, b)));
  CHECK(removable_blocks(c.model, c.images).size() == 5);

  const nn::LayerChanges changes = nn::layer_changes(original, c.model);
  CHECK(changes.size() == 2);
  for (const RemovedBlock& r : removed)
    CHECK(changes.at(r.path) == nn::LayerChange{.removed = true});
  nn::apply_changes(original, changes);
  nn::load_state_dict(original, nn::state_dict(c.model));
  CHECK(output(original, b.x) == output(c.model, b.x));
  // Channels of what is left are pruned as ever.
  const Plan plan = plan_for(c, "l1", {.percent = 0.4});
  nn::Layer small = apply(plan, c.model, c.images);
  CHECK(output(small, b.x).shape() == output(c.model, b.x).shape());
}

TEST_CASE("blocks: more than there are") {
  PruneCase c = library_case("resnet20", {.widths = {4, 8, 16}});
  Images source = images_for(c);
  const auto error = [&](const BlockOptions& o) {
    return message_of([&] { remove_blocks(c.model, c.images, source, o); });
  };
  CHECK(contains(error({.count = 8}), "has 7 blocks that can be left out, asked for 8"));
  CHECK(contains(error({.count = 0}), "must be positive"));
  CHECK(contains(error({.images = 0}), "must be positive"));
}
