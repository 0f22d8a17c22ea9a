#include "nn/state.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "nn/init.h"
#include "nn/layers.h"
#include "nn/optim.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::nn;
using test::contains;
using test::message_of;

namespace {

Layer net(uint64_t seed, int64_t width = 4) {
  Layer model = Sequential({Conv2d({.in = 3, .out = width, .kernel = {3, 2}}), BatchNorm2d(width),
                            ConvTranspose2d({.in = width, .out = 5, .kernel = {2, 3}}), Flatten(),
                            Linear({.in = 7, .out = 2, .bias = false})});
  Rng rng(seed);
  init(model, rng, {.zero_bias = false});
  for (NamedTensor& b : buffers(model)) b.tensor.uniform_(rng, 0.5f, 1.5f);
  return model;
}

bool equal(const Layer& a, const Layer& b) {
  const auto sa = state_dict(a), sb = state_dict(b);
  return std::equal(sa.begin(), sa.end(), sb.begin(), sb.end());
}

struct TemporaryFile {
  TemporaryFile() : path("/tmp/pare_state_test_" + std::to_string(getpid()) + ".safetensors") {}
  ~TemporaryFile() { std::remove(path.c_str()); }
  std::string path;
};

size_t count_lines(const std::string& text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace

TEST_CASE("a state dict shares values, loading copies them") {
  Layer a = net(1), b = net(2);
  CHECK_FALSE(equal(a, b));
  load_state_dict(b, state_dict(a));
  CHECK(equal(a, b));
  state_dict(b).at("0.bias").fill_(5);
  CHECK(state_dict(b).at("0.bias") == Tensor::full({4}, 5));
  CHECK_FALSE(equal(a, b));
  CHECK(state_dict(a).count("4.bias") == 0);
}

TEST_CASE("weights survive a file, bit by bit, in the layout of other programs") {
  const TemporaryFile file;
  Layer a = net(1), b = net(2);
  save_weights(file.path, a, {{"epoch", "7"}});
  load_weights(file.path, b);
  CHECK(equal(a, b));

  const safetensors::File read = safetensors::read(file.path);
  CHECK(read.metadata.at("epoch") == "7");
  CHECK(read.at("0.weight").shape == std::vector<int64_t>{4, 3, 3, 2});  // OIHW
  CHECK(read.at("2.weight").shape == std::vector<int64_t>{4, 5, 2, 3});  // IOHW
  CHECK(read.at("4.weight").shape == std::vector<int64_t>{2, 7});
  const Tensor w = state_dict(a).at("0.weight"), stored = read.at("0.weight").tensor();
  CHECK(stored.at({3, 1, 2, 0}) == w.at({3, 2, 0, 1}));
}

TEST_CASE("files of PyTorch: counters ignored, the prefix of DataParallel stripped") {
  Layer a = net(1), b = net(2);
  safetensors::File file;
  put_weights(file, a, "module.");
  const std::vector<int64_t> count{100};
  file.entries["module.1.num_batches_tracked"] = safetensors::Entry::of(count, {});
  get_weights(file, b, "x.pt");
  CHECK(equal(a, b));

  // A mixture is no DataParallel file.
  file.entries["4.weight"] = file.at("module.4.weight");
  CHECK(contains(message_of([&] { get_weights(file, b, "x.pt"); }),
                 "missing     0.bias\n              0.weight"));
}

TEST_CASE("a full checkpoint loads as weights; prefixes select") {
  Layer a = net(1), b = net(2);
  safetensors::File file;
  put_weights(file, a);
  sgd(param_groups(a, 0), {})->save(file, "optim.");
  Ema average(a, 0.9f);
  average.save(file, "ema.");
  file.entries["train.epoch"] = safetensors::Entry::of(Tensor::scalar(3));
  get_weights(file, b, "last.safetensors");
  CHECK(equal(a, b));

  Layer c = net(3);
  get_weights(file, c, "last.safetensors", "ema.");  // averages are weights too
  CHECK(equal(a, c));

  safetensors::File prefixed;
  put_weights(prefixed, a, "teacher.");
  Layer d = net(4);
  get_weights(prefixed, d, "x", "teacher.");
  CHECK(equal(a, d));
}

TEST_CASE("one error lists every missing, unexpected and mis-shaped key; nothing is changed") {
  Layer a = net(1), b = net(2);
  const Layer before = b;
  safetensors::File file;
  put_weights(file, a);
  file.entries.erase("1.weight");
  file.entries.erase("0.bias");
  file.entries["fc.bias"] = safetensors::Entry::of(Tensor::zeros({10}));
  file.entries["4.weight"] = safetensors::Entry::of(Tensor::zeros({2, 8}));
  file.entries["0.weight"] = safetensors::Entry::of(Tensor::zeros({4, 3, 5, 5}));
  const std::string error = message_of([&] { get_weights(file, b, "best.safetensors"); });
  CHECK(contains(error,
                 "best.safetensors: does not fit the model: 2 missing, 1 unexpected, 2 of "
                 "another shape"));
  CHECK(contains(error, "missing     0.bias\n              1.weight"));
  CHECK(contains(error, "unexpected  fc.bias [10]"));
  CHECK(contains(error, "shape       0.weight: found [4, 3, 5, 5], expected [4, 3, 3, 2]"));
  CHECK(contains(error, "4.weight: found [2, 8], expected [2, 7]"));
  CHECK(contains(error, "hint"));
  CHECK(equal(b, before));

  auto state = state_dict(a);
  state.erase("1.bias");
  CHECK(contains(message_of([&] { load_state_dict(b, state); }), "missing     1.bias"));
  CHECK(equal(b, before));
}

TEST_CASE("a checkpoint of another model gives a short message") {
  std::vector<Layer> many;
  for (int i = 0; i < 100; ++i) many.push_back(Linear({.in = 1, .out = 1}));
  const Layer other = Sequential(std::move(many));
  safetensors::File file;
  put_weights(file, other, "block.");
  Layer model = net(1);
  const std::string error = message_of([&] { get_weights(file, model, "x"); });
  CHECK(contains(error, "200 unexpected"));
  CHECK(contains(error, "... and 190 more"));
  CHECK(count_lines(error) < 25);
}

TEST_CASE("a single number without dimensions fits a parameter of one value") {
  Layer model = Sequential({LayerNorm(1)});
  safetensors::File file;
  put_weights(file, model);
  file.entries["0.weight"].shape = {};
  file.entries["0.weight"] = {safetensors::Dtype::f32, {}, file.at("0.weight").bytes};
  CHECK(message_of([&] { get_weights(file, model, "x"); }).empty());
}

TEST_CASE("a missing or damaged file says which") {
  Layer model = net(1);
  CHECK(contains(message_of([&] { load_weights("/nowhere/x.safetensors", model); }),
                 "/nowhere/x.safetensors"));
}
