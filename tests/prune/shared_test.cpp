#include "prune/shared.h"

#include <doctest/doctest.h>

#include <set>

#include "core/ops.h"
#include "nn/optim.h"
#include "nn/state.h"
#include "prune/sparsity.h"
#include "tests/prune/cases.h"

namespace pare::test {
namespace {

/// Different values of a tensor that are not zero.
std::set<float> values_of(const Tensor& t) {
  std::set<float> values(t.span().begin(), t.span().end());
  values.erase(0);
  return values;
}

TEST_CASE("shared weights: a value's gradient is the sum of those of its weights") {
  nn::Layer layer = nn::Linear({.in = 3, .out = 2, .bias = false});
  Tensor& w = layer.as<nn::Linear>()->weight;
  w.copy_(Tensor::of({1.0f, 1.2f, 0.0f, -2.0f, 1.1f, -2.2f}).reshape({2, 3}));
  prune::SharedWeights shared(layer, {.linear_bits = 1});
  // Two values: the means of the positive and of the negative ones.
  const std::vector<float> want{1.1f, 1.1f, 0, -2.1f, 1.1f, -2.1f};
  for (size_t i = 0; i < want.size(); ++i) CHECK(w.data()[i] == doctest::Approx(want[i]));
  w.set_grad(Tensor::of({1, 2, 100, 4, 8, 16}).reshape({2, 3}));
  shared.sum_gradients();
  const Tensor grad = w.grad();
  const std::vector<float> sums{11, 11, 0, 20, 11, 20};
  for (size_t i = 0; i < sums.size(); ++i) CHECK(grad.data()[i] == sums[i]);
}

TEST_CASE("shared weights stay shared and zeros zero, whatever trains them") {
  for (const bool with_adam : {false, true}) {
    CAPTURE(with_adam);
    PruneCase c = library_case("resnet20", {.widths = {4, 8, 16}, .shortcut = "A"});
    prune::Sparsifier(c.model, {.target = 0.5, .until = 0}).update(1);
    const prune::PackOptions options{.conv_bits = 3, .linear_bits = 2};
    prune::SharedWeights shared(c.model, options);
    const auto before = [&] {
      std::map<std::string, std::vector<float>> all;
      for (const auto& [name, bits] : prune::coded_weights(c.model, options)) {
        const Tensor t = nn::state_dict(c.model).at(name);
        all[name] = {t.span().begin(), t.span().end()};
      }
      return all;
    }();
    const std::vector<nn::ParamGroup> groups = nn::param_groups(c.model, 1e-4f);
    const auto optimizer = with_adam
                               ? nn::adam(groups, {.lr = 1e-3f})
                               : nn::sgd(groups, {.lr = 1e-4f, .momentum = 0.9f, .nesterov = true});
    const Tensor labels = Tensor::of({1, 2});
    for (int step = 0; step < 5; ++step) {
      optimizer->zero_grad();
      cross_entropy(c.model(c.images), labels).backward();
      shared.sum_gradients();
      optimizer->step();
    }
    std::map<std::string, Tensor> state = nn::state_dict(c.model);
    for (const auto& entry : before) {
      const std::string& name = entry.first;
      const std::vector<float>& was = entry.second;
      CAPTURE(name);
      const Tensor now = state.at(name);
      const size_t most = name.starts_with("linear") ? 4 : 8;
      CHECK(values_of(now).size() <= most);
      bool moved = false;
      for (size_t i = 0; i < was.size(); ++i) {
        CHECK((now.data()[i] == 0) == (was[i] == 0));
        moved = moved || now.data()[i] != was[i];
      }
      CHECK(moved);
    }
    // Packing finds them as they are.
    std::map<std::string, std::vector<float>> trained;
    for (auto& [name, t] : state) trained[name] = {t.span().begin(), t.span().end()};
    prune::pack(c.model, options);
    for (auto& [name, t] : state) {
      CHECK(std::equal(t.span().begin(), t.span().end(), trained[name].begin()));
    }
  }
}

}  // namespace
}  // namespace pare::test
