#include "prune/sensitivity.h"

#include <doctest/doctest.h>

#include "core/ops.h"
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

}  // namespace

TEST_CASE("sensitivity: the loss without the channels that score lowest, layer by layer") {
  PruneCase c = library_case("lenet5", {.image = {28, 28, 1}});
  Images source = images_for(c);
  const Structure s(c.model, c.images);
  Rng rng(1);
  const CriterionInfo& l1 = find_criterion("l1");
  int64_t told = 0;
  const Sensitivity found =
      sensitivity(l1, {c.model, s, rng, &source, 2},
                  {.shares = {0.25, 0.5, 0.99},
                   .progress = [&](int64_t done, int64_t steps, const std::string&) {
                     CHECK(done == told++);
                     CHECK(steps == 12);
                   }});
  CHECK(told == 12);
  REQUIRE(found.layers.size() == 4);
  const Batch& b = source.list[0];
  CHECK(found.loss == doctest::Approx(cross_entropy(output(c.model, b.x), b.y).item()));
  CHECK(found.layers[1].name == "conv2");
  CHECK(found.layers[1].points[1].kept == 8);
  CHECK(found.layers[1].points[2].kept == 1);  // never none
  // The same as a plan that touches this layer alone.
  const Plan plan = plan_for(c, "l1", {.percent = 0, .layers = {{"*", 0}, {"conv2", 0.5}}});
  nn::Layer silent = c.model;
  silence(plan, silent, c.images);
  CHECK(found.layers[1].points[1].loss ==
        doctest::Approx(cross_entropy(output(silent, b.x), b.y).item()));
  CHECK(contains(str(found), "layer  channels  -25 %"));
  CHECK(contains(to_csv(found), "\nconv2,16,0.5,8,"));
}

TEST_CASE("sensitivity: what makes no sense is refused") {
  PruneCase c = library_case("lenet5", {.image = {28, 28, 1}});
  Images source = images_for(c);
  const Structure s(c.model, c.images);
  Rng rng(1);
  const auto error = [&](const std::vector<double>& shares, int64_t count) {
    return message_of([&] {
      sensitivity(find_criterion("l1"), {c.model, s, rng, &source, count}, {.shares = shares});
    });
  };
  CHECK(contains(error({}, 2), "shares must be given"));
  CHECK(contains(error({0.5, 0.1}, 2), "and ascend"));
  CHECK(contains(error({1.0}, 2), "above 0 and below 1, got 1"));
  CHECK(contains(error({0.5}, 0), "measured on images"));
}
