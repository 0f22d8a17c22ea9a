#include <doctest/doctest.h>

#include <algorithm>

#include "core/ops.h"
#include "models/models.h"
#include "nn/layers.h"
#include "nn/state.h"
#include "tests/support/message.h"

using namespace pare;
using models::make;
using models::Options;
using test::contains;

namespace {

const std::vector<int64_t> kNarrowNin{6, 5, 4, 6, 6, 6, 6, 7};

nn::Layer ready(const std::string& name, const Options& options, uint64_t seed = 1) {
  nn::Layer model = make(name, options);
  Rng rng(seed);
  nn::init(model, rng, models::init_options(name));
  return model;
}

Tensor images(int64_t n, const Shape& s, uint64_t seed = 2) {
  Rng rng(seed);
  return Tensor::normal({n, s[0], s[1], s[2]}, rng);
}

}  // namespace

TEST_CASE("nin: the orders are what they say") {
  const Tensor x = images(2, {16, 16, 3});
  Options o{.image = {16, 16, 3}, .widths = kNarrowNin};
  const auto with_order = [&](const char* order) {
    o.order = order;
    return ready("nin", o);
  };
  nn::Layer cbap = with_order("cbap"), cbpa = with_order("cbpa"), acbp = with_order("acbp");
  const auto child = [](nn::Layer& model, const std::string& path) {
    nn::Layer* found = nullptr;
    nn::for_each_layer(model, [&](const std::string& p, nn::Layer& l) {
      if (p == path) found = &l;
    });
    return found;
  };
  for (nn::Layer* m : {&cbap, &cbpa, &acbp}) nn::set_training(*m, false);
  // The same weights in every order but bacp, whose batch norms have other sizes. max(relu(x)) is
  // relu(max(x)): moving the activation behind the pool changes gradients, not values.
  nn::load_state_dict(cbpa, nn::state_dict(cbap));
  CHECK(cbpa(x) == cbap(x));
  CHECK_FALSE(child(cbpa, "model.2.act"));
  CHECK(child(cbpa, "model.3.act"));
  CHECK(child(cbpa, "model.1.act"));

  // acbp ends without ReLU: its logits may be negative, those of cbap never.
  nn::load_state_dict(acbp, nn::state_dict(cbap));
  CHECK_FALSE(child(acbp, "model.0.act"));
  const Tensor free = acbp(x), clipped = cbap(x);
  float least = 0, least_clipped = 0;
  for (int64_t i = 0; i < free.numel(); ++i) {
    least = std::min(least, free.data()[i]);
    least_clipped = std::min(least_clipped, clipped.data()[i]);
  }
  CHECK(least < 0);
  CHECK(least_clipped == 0);

  nn::Layer bacp = with_order("bacp");
  const auto state = nn::state_dict(bacp);
  CHECK(state.at("model.0.bn.weight").shape() == Shape{6});  // behind the convolution
  CHECK(state.at("model.1.bn.weight").shape() == Shape{6});  // in front of it
  CHECK(state.at("model.10.bn.weight").shape() == Shape{7});
  CHECK_FALSE(child(bacp, "model.0.act"));
  CHECK(child(bacp, "model.10.act"));
  CHECK(bacp(x).shape() == Shape{2, 10});
}

TEST_CASE("nin: each block in each order, recomputed by hand") {
  const Options base{.classes = 3, .image = {8, 8, 3}, .widths = {2, 2, 2, 2, 2, 2, 2, 2}};
  const Tensor x = images(2, base.image);
  for (const std::string order : {"cbap", "cbpa", "acbp", "bacp"}) {
    CAPTURE(order);
    Options o = base;
    o.order = order;
    nn::Layer model = ready("nin", o, 4);
    nn::set_training(model, false);
    Rng rng(8);
    auto state = nn::state_dict(model);
    for (auto& [name, t] : state) {
      if (contains(name, "running_mean")) t.uniform_(rng, -0.5f, 0.5f);
      if (contains(name, "running_var")) t.uniform_(rng, 0.5f, 2.0f);
    }
    const std::string& letters = order;
    Tensor h = x;
    for (int block = 0, entry = 0; block < 9; ++block, ++entry) {
      const std::string at = str("model.", entry, ".");
      const auto conv = [&](const Tensor& t) {
        const Tensor& w = state.at(at + "conv.weight");
        const int kernel = static_cast<int>(w.dim(1));
        return conv2d(t, w, state.at(at + "conv.bias"), {.pad = kernel / 2});
      };
      const auto bn = [&](const Tensor& t) {
        return batch_norm(t, state.at(at + "bn.weight"), state.at(at + "bn.bias"),
                          state.at(at + "bn.running_mean"), state.at(at + "bn.running_var"),
                          {.train = false});
      };
      const bool pool = block == 2 || block == 5;
      if (letters == "bacp") {
        h = block == 0 ? relu(bn(conv(h))) : conv(relu(bn(h)));
        if (block > 0 && block < 8) h = relu(h);
      } else if (letters == "acbp") {
        h = bn(conv(block == 0 ? h : relu(h)));
      } else {
        h = bn(conv(h));
        if (letters == "cbap" || !pool) h = relu(h);
      }
      if (!pool) continue;
      h = max_pool2d(h, {.kernel = 3, .stride = 2, .pad = 1});
      if (letters == "cbpa") h = relu(h);
      ++entry;
    }
    const Tensor want = flatten(global_avg_pool2d(h)), got = model(x);
    REQUIRE(got.shape() == want.shape());
    for (int64_t i = 0; i < got.numel(); ++i) {
      CHECK(got.data()[i] == doctest::Approx(want.data()[i]).epsilon(1e-5));
    }
  }
}

TEST_CASE("nin_gc shuffles by the groups of the convolution before") {
  nn::Layer model = make("nin_gc");
  std::vector<std::string> found;
  nn::for_each_layer(model, [&](const std::string& path, nn::Layer& layer) {
    if (layer.as<nn::ChannelShuffle>()) found.push_back(path + " " + layer->describe());
  });
  CHECK(found == std::vector<std::string>{
                     "model.2.shuffle ChannelShuffle(2)", "model.4.shuffle ChannelShuffle(2)",
                     "model.5.shuffle ChannelShuffle(16)", "model.6.shuffle ChannelShuffle(4)",
                     "model.8.shuffle ChannelShuffle(4)", "model.9.shuffle ChannelShuffle(32)"});
}

TEST_CASE("an activation can be replaced in every block") {
  nn::Layer model = ready("nin", {.image = {16, 16, 3}, .widths = kNarrowNin});
  const Tensor x = images(2, {16, 16, 3});
  const Tensor before = model(x);
  int replaced = 0;
  nn::for_each_layer(model, [&](const std::string& path, nn::Layer& layer) {
    if (path.ends_with(".act") && path != "model.10.act") {
      layer = nn::Activation({.kind = Pointwise::Kind::sign});
      ++replaced;
    }
  });
  CHECK(replaced == 8);
  CHECK_FALSE(model(x) == before);
}
