// Several processes, here threads, train like one.

#include "nn/data_parallel.h"

#include <doctest/doctest.h>

#include "core/ops.h"
#include "nn/init.h"
#include "nn/layers.h"
#include "nn/state.h"
#include "nn/train.h"
#include "tests/support/close.h"
#include "tests/support/message.h"
#include "tests/support/thread_group.h"

using namespace pare;
using namespace pare::test;

namespace {

constexpr int64_t kImages = 7, kClasses = 3;

nn::Layer make_net(bool norm, float dropout = 0) {
  std::vector<nn::Layer> layers;
  layers.emplace_back(nn::Conv2d({.in = 2, .out = 6, .pad = 1}));
  if (norm) layers.emplace_back(nn::BatchNorm2d(6));
  layers.emplace_back(nn::ReLU());
  if (dropout > 0) layers.emplace_back(nn::Dropout(dropout));
  layers.emplace_back(nn::Conv2d({.in = 6, .out = 5, .stride = 2, .pad = 1}));
  layers.emplace_back(nn::GlobalAvgPool2d());
  layers.emplace_back(nn::Flatten());
  layers.emplace_back(nn::Linear({.in = 5, .out = kClasses}));
  nn::Layer net(nn::Sequential(std::move(layers)));
  Rng rng(3);
  nn::init(net, rng);
  return net;
}

Batch make_batch(uint64_t seed = 9) {
  Rng rng(seed);
  Batch b{Tensor::normal({kImages, 6, 6, 2}, rng), Tensor::zeros({kImages})};
  for (float& y : b.y.span()) y = static_cast<float>(rng.below(kClasses));
  return b;
}

Batch part_of(const Batch& b, const Communicator& g) {
  const int64_t begin = part_begin(b.x.dim(0), g.rank(), g.size());
  const int64_t end = part_begin(b.x.dim(0), g.rank() + 1, g.size());
  return {slice(b.x, 0, begin, end), slice(b.y, 0, begin, end)};
}

std::vector<Tensor> gradients(const nn::Layer& net) {
  std::vector<Tensor> all;
  for (const nn::NamedTensor& p : nn::parameters(net)) all.push_back(p.tensor.grad());
  return all;
}

/// Every batch has kImages, a process its part of them.
struct Parts final : BatchSource {
  Parts(int64_t n, const Communicator& g, bool cut) : count(n), group(g), parts(cut) {}
  int64_t samples() const override { return count * kImages; }
  int64_t batches() const override { return count; }
  int64_t classes() const override { return kClasses; }
  Shape image_shape() const override { return {6, 6, 2}; }
  void start(int64_t e, int64_t first) override { epoch = e, next_index = first; }
  std::optional<Batch> next() override {
    if (next_index == count) return {};
    const Batch b = make_batch(static_cast<uint64_t>(100 * epoch + next_index++));
    return parts ? part_of(b, group) : b;
  }

  int64_t count;
  const Communicator& group;
  bool parts;
  int64_t epoch = 0, next_index = 0;
};

struct Rows final : nn::Progress {
  void on_epoch(const nn::EpochRow& row) override { rows.push_back(row); }
  std::vector<nn::EpochRow> rows;
};

/// Two epochs of five batches, tested on three.
std::vector<nn::EpochRow> train(nn::Layer& net, Communicator& group,
                                const std::function<bool()>& stop = {}) {
  Parts train_set(5, group, true), test_set(3, group, false);
  const auto optimizer = nn::sgd(nn::param_groups(net, 1e-3f), {.lr = 0.05f});
  Rows rows;
  nn::TrainOptions o;
  o.epochs = 2, o.clip_grad = 1, o.ema = 0.9f, o.stop = stop, o.group = &group;
  nn::Trainer trainer(net, *optimizer, train_set, test_set, o, &rows);
  trainer.run();
  return rows.rows;
}

}  // namespace

TEST_CASE("summed gradients are those of the whole batch, in any number of buckets") {
  const Batch batch = make_batch();
  nn::Layer whole = make_net(false);
  cross_entropy(whole(batch.x), batch.y).backward();
  const std::vector<Tensor> want = gradients(whole);
  for (const int n : {2, 3}) {
    for (const int64_t bytes : {int64_t{1}, int64_t{256}, nn::GradientSum::kBucketBytes}) {
      run_group(n, [&](ThreadGroup& group) {
        nn::Layer net = make_net(false);
        nn::GradientSum sum(group, nn::param_groups(net, 0), bytes);
        CHECK((sum.buckets() == 1) == (bytes > 256));
        const Batch mine = part_of(batch, group);
        sum.backward(cross_entropy(net(mine.x), mine.y), mine.x.dim(0));
        const std::vector<Tensor> got = gradients(net);
        for (size_t i = 0; i < want.size(); ++i) {
          CHECK(close(got[i], want[i], {.absolute = 1e-6, .relative = 1e-5}));
        }
      });
    }
  }
}

TEST_CASE(
    "a gradient that only some processes have is summed over those, one that none has is not") {
  run_group(2, [](ThreadGroup& group) {
    Tensor both = Tensor::ones({2}).requires_grad_(), one = Tensor::ones({2}).requires_grad_(),
           none = Tensor::ones({2}).requires_grad_();
    nn::GradientSum sums(group, {{.params = {{"both", both}, {"one", one}, {"none", none}}}});
    sums.backward(group.first() ? sum(both) : sum(2.0f * both + one), 4);
    CHECK(both.grad() == Tensor::full({2}, 1.5f));
    CHECK(one.grad() == Tensor::full({2}, 0.5f));
    CHECK_FALSE(none.grad());
  });
}

TEST_CASE("synchronized batch norm is that of the whole batch, in both passes") {
  Rng rng(4);
  const Tensor x = Tensor::normal({kImages, 3, 3, 4}, rng, 2.0f, 3.0f);
  const Tensor seed = Tensor::normal({kImages, 3, 3, 4}, rng);
  const auto norm = [](Communicator* group) {
    nn::BatchNorm2d bn(4);
    bn.group = group;
    for (int64_t c = 0; c < 4; ++c) bn.weight.data()[c] = 0.5f + static_cast<float>(c);
    return bn;
  };
  nn::BatchNorm2d whole = norm(nullptr);
  Tensor in = x.clone().requires_grad_();
  const Tensor y = relu(whole.forward(in));
  y.backward(seed);
  y.data(), in.grad().data();  // computed before several threads read them
  run_group(3, [&](ThreadGroup& group) {
    const int64_t begin = part_begin(kImages, group.rank(), 3);
    const int64_t end = part_begin(kImages, group.rank() + 1, 3);
    const auto part = [&](const Tensor& t) { return slice(t.detach(), 0, begin, end); };
    nn::Layer layer(norm(nullptr));
    CHECK(nn::synchronize_batch_norm(layer, group) == 1);
    auto& bn = *layer.as<nn::BatchNorm2d>();
    Tensor mine = part(x).clone().requires_grad_();
    const Tensor out = relu(layer(mine));
    CHECK(close(out, part(y), {.absolute = 1e-5}));
    out.backward(part(seed));
    CHECK(close(mine.grad(), part(in.grad()), {.absolute = 1e-5}));
    CHECK(close(bn.running_mean, whole.running_mean, {.absolute = 1e-6}));
    CHECK(close(bn.running_var, whole.running_var, {.absolute = 1e-5}));
    Tensor dgamma = bn.weight.grad();
    group.start_sum(dgamma.span());
    group.finish_sums();
    CHECK(close(dgamma, whole.weight.grad(), {.absolute = 1e-4}));
  });
}

TEST_CASE("a training by several processes is that of one, with synchronized batch norm too") {
  for (const bool norm : {false, true}) {
    CAPTURE(norm);
    nn::Layer alone = make_net(norm);
    const std::vector<nn::EpochRow> want = train(alone, no_group());
    REQUIRE(want.size() == 2);
    for (const int n : {2, 3}) {
      run_group(n, [&](ThreadGroup& group) {
        nn::Layer net = make_net(norm);
        if (!group.first()) nn::parameters(net)[0].tensor.fill_(5);  // the first one's count
        nn::synchronize_batch_norm(net, group);
        const std::vector<nn::EpochRow> rows = train(net, group);
        for (const auto& item : nn::state_dict(net)) {
          CHECK(close(item.second, nn::state_dict(alone).at(item.first), {.absolute = 1e-5}));
        }
        REQUIRE(rows.size() == (group.first() ? 2 : 0));
        for (size_t i = 0; i < rows.size(); ++i) {
          CHECK(rows[i].train.samples == want[i].train.samples);
          CHECK(rows[i].train.loss() == doctest::Approx(want[i].train.loss()).epsilon(1e-5));
          CHECK(rows[i].test.samples == 3 * kImages);
          CHECK(rows[i].test.loss() == doctest::Approx(want[i].test.loss()).epsilon(1e-5));
        }
      });
    }
  }
}

TEST_CASE("without synchronization running statistics are the mean over the images, and agree") {
  const Batch batch = make_batch();
  run_group(2, [&](ThreadGroup& group) {
    nn::Layer net = make_net(true);
    const auto optimizer = nn::sgd(nn::param_groups(net, 0), {});
    nn::DataParallel parallel(group, net, nullptr, *optimizer);
    parallel.begin();
    const Batch mine = part_of(batch, group);
    nn::Score score;
    score.add(net(mine.x), mine.y, 2);
    auto& bn = *net.as<nn::Sequential>()->layers[1].as<nn::BatchNorm2d>();
    std::vector<double> want(6);
    for (size_t c = 0; c < 6; ++c) {
      want[c] = static_cast<double>(mine.x.dim(0)) * double{bn.running_mean.span()[c]};
    }
    group.sum(want);
    bool stop = group.rank() == 1;
    CHECK(parallel.finish(score, stop).samples == kImages);
    CHECK(stop);
    for (size_t c = 0; c < 6; ++c) {
      CHECK(bn.running_mean.span()[c] == static_cast<float>(want[c] / kImages));
    }
    parallel.check_equal();
  });
}

TEST_CASE("processes stop after the same step, whoever is asked") {
  run_group(2, [](ThreadGroup& group) {
    nn::Layer net = make_net(false);
    Parts train_set(5, group, true), test_set(3, group, false);
    const auto optimizer = nn::sgd(nn::param_groups(net, 0), {});
    nn::TrainOptions o;
    int asked = 0;
    o.stop = [&] { return group.rank() == 1 && ++asked == 3; };
    o.group = &group;
    nn::Trainer trainer(net, *optimizer, train_set, test_set, o);
    const nn::TrainResult r = trainer.run();
    CHECK(r.stop == nn::TrainResult::Stop::interrupted);
    CHECK(r.steps == 3);
  });
}

TEST_CASE("processes draw dropout masks of their own, and different weights are noticed") {
  std::vector<uint32_t> draws(2);
  run_group(2, [&](ThreadGroup& group) {
    nn::Layer net = make_net(false, 0.5f);
    const auto optimizer = nn::sgd(nn::param_groups(net, 0), {});
    nn::DataParallel parallel(group, net, nullptr, *optimizer);
    parallel.begin();
    nn::for_each_rng(net, [&](const std::string&, Rng& rng) {
      draws[static_cast<size_t>(group.rank())] = rng.next();
    });
    parallel.check_equal();
    if (!group.first()) nn::parameters(net)[2].tensor.data()[0] += 1e-6f;
    CHECK(contains(message_of([&] { parallel.check_equal(); }), "not the same any more"));
  });
  CHECK(draws[0] != draws[1]);
}
