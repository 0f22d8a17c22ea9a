// The library example of README.md, compiled and compared with the text there.
#include <doctest/doctest.h>

#include "tests/apps/run.h"

// README begins
#include <cstdio>

#include "datasets/datasets.h"
#include "models/models.h"
#include "nn/train.h"
#include "quant/scheme.h"

using namespace pare;

void train_binary_net() {
  nn::Layer model = models::make("nin");
  Rng rng(1);
  nn::init(model, rng, models::init_options("nin"));
  quant::apply(model, quant::parse_scheme("W=binary,A=binary"));

  const datasets::Normalize normalize = datasets::normalize_preset("synthetic");
  const auto train = datasets::loader(datasets::load({.split = datasets::Split::train}),
                                      {.shuffle = true, .normalize = normalize});
  const auto test =
      datasets::loader(datasets::load({.split = datasets::Split::test}), {.normalize = normalize});

  const auto optimizer = nn::adam(nn::param_groups(model, 0.0f), {.lr = 0.01f});
  nn::Trainer trainer(model, *optimizer, *train, *test, {.epochs = 3});
  std::printf("%.2f %% top-1\n", trainer.run().best_top1);
}
// README ends

namespace pare::test {
namespace {

TEST_CASE("the example in README.md is the one compiled here") {
  const std::string self = slurp("tests/apps/readme_test.cpp"), readme = slurp("README.md");
  const std::string first = "// README begins\n", last = "// README ends";
  const size_t begin = self.find(first) + first.size();
  const std::string code = self.substr(begin, self.find(last, begin) - begin);
  CHECK(code.size() > 500);
  CHECK(readme.find("```cpp\n" + code + "```") != std::string::npos);
  (void)train_binary_net;  // compiled is enough: running it takes minutes
}

}  // namespace
}  // namespace pare::test
