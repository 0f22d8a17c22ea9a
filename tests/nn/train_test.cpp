#include "nn/train.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "core/ops.h"
#include "nn/diagnose.h"
#include "nn/init.h"
#include "nn/layers.h"
#include "nn/state.h"

namespace pare {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kClasses = 3, kSize = 6, kBatch = 8;

/// Noisy images whose class is the channel that is brightest; batch (epoch, i) is a pure function
/// of both.
struct Blobs final : BatchSource {
  explicit Blobs(int64_t batches, uint64_t seed = 5) : count(batches), rng(seed) {}
  int64_t samples() const override { return count * kBatch; }
  int64_t batches() const override { return count; }
  int64_t classes() const override { return kClasses; }
  Shape image_shape() const override { return {kSize, kSize, kClasses}; }
  void start(int64_t e, int64_t first) override { epoch = e, index = first; }

  std::optional<Batch> next() override {
    if (index >= count) return {};
    Rng draw = rng.split(static_cast<uint64_t>(epoch * 1000 + index));
    Batch b{Tensor::normal({kBatch, kSize, kSize, kClasses}, draw), Tensor::zeros({kBatch})};
    for (int64_t i = 0; i < kBatch; ++i) {
      const int64_t y = draw.below(kClasses);
      b.y.data()[i] = static_cast<float>(y);
      float* image = b.x.data() + i * kSize * kSize * kClasses;
      for (int64_t p = 0; p < kSize * kSize; ++p) image[p * kClasses + y] += 1.0f;
    }
    if (poison == epoch * count + index) b.x.data()[3] = std::numeric_limits<float>::quiet_NaN();
    ++index;
    return b;
  }

  int64_t count;
  Rng rng;
  int64_t epoch = 0, index = 0;
  int64_t poison = -1;  // this batch, counted over epochs, holds a NaN
};

nn::Layer small_net(float dropout = 0.2f) {
  nn::Sequential net;
  net.layers = {nn::Conv2d({.in = kClasses, .out = 8, .pad = 1, .bias = false}),
                nn::BatchNorm2d(8),
                nn::ReLU(),
                nn::Dropout(dropout),
                nn::GlobalAvgPool2d(),
                nn::Flatten(),
                nn::Linear({.in = 8, .out = kClasses})};
  nn::Layer layer(std::move(net));
  Rng rng(11);
  nn::init(layer, rng);
  return layer;
}

struct Setup {
  nn::Layer model = small_net();
  std::unique_ptr<nn::Optimizer> optimizer =
      nn::adam(nn::param_groups(model, 1e-4f), {.lr = 0.02f});
  Blobs train{7}, test{3, 6};
};

nn::TrainOptions options(const std::string& dir = {}) {
  nn::TrainOptions o;
  o.epochs = 3;
  o.schedule = nn::cosine(0.02f);
  o.dir = dir;
  return o;
}

/// A fresh folder below the system's temporary one, removed at the end.
struct TempDir {
  TempDir() {
    static int count = 0;
    path = (fs::temp_directory_path() / str("pare_train_test_", ::getpid(), "_", count++)).string();
    fs::create_directories(path);
  }
  ~TempDir() { fs::remove_all(path); }
  std::string path;
};

struct Rows final : nn::Progress {
  void on_epoch(const nn::EpochRow& row) override { rows.push_back(row); }
  std::vector<nn::EpochRow> rows;
};

void check_equal_entries(const std::string& a, const std::string& b) {
  const auto fa = safetensors::read(a), fb = safetensors::read(b);
  REQUIRE(fa.entries.size() == fb.entries.size());
  for (const auto& item : fa.entries) {  // clang 14: a lambda, as CAPTURE makes, takes no binding
    const std::string& name = item.first;
    const safetensors::Entry& entry = item.second;
    CAPTURE(name);
    REQUIRE(fb.has(name));
    CHECK(entry.shape == fb.at(name).shape);
    CHECK(entry.bytes == fb.at(name).bytes);
  }
}

TEST_CASE("rank: ties go to the lower class, NaN beats everything") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(nn::rank_of(std::vector{1.0f, 3.0f, 2.0f}, 1) == 0);
  CHECK(nn::rank_of(std::vector{1.0f, 3.0f, 2.0f}, 0) == 2);
  CHECK(nn::rank_of(std::vector{0.0f, 0.0f, 0.0f}, 0) == 0);
  CHECK(nn::rank_of(std::vector{0.0f, 0.0f, 0.0f}, 2) == 2);
  CHECK(nn::rank_of(std::vector{nan, 3.0f, 2.0f}, 1) == 1);
  CHECK(nn::rank_of(std::vector{nan, nan, nan}, 0) == 2);
  CHECK_THROWS_AS(nn::rank_of(std::vector{1.0f}, 1), Error);
}

TEST_CASE("score: hits, loss and percentages") {
  nn::Score s;
  CHECK(s.top1() == 0);
  // Seven classes, descending logits: class c has rank c.
  const Tensor logits = Tensor::of({7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1}).view({2, 7});
  s.add(logits, Tensor::of({0, 4}), 0.5);
  s.add(logits, Tensor::of({5, 6}), 1.5);
  CHECK(s.samples == 4);
  CHECK(s.top1() == 25);
  CHECK(s.top5() == 50);
  CHECK(s.loss() == 1.0);
  nn::Score soft;
  soft.add(Tensor::of({0, 1}).view({1, 2}), Tensor::of({0.1f, 0.9f}).view({1, 2}), 0);
  CHECK(soft.hits1 == 1);
}

TEST_CASE("evaluate: eval mode, unrecorded, the mode before is restored") {
  Setup s;
  const Tensor before = nn::buffers(s.model)[0].tensor.clone();
  s.test.start(0, 0);
  const nn::Score a = nn::evaluate(s.model, s.test);
  CHECK(a.samples == s.test.samples());
  CHECK(s.model->training);
  CHECK(nn::buffers(s.model)[0].tensor == before);  // running mean untouched
  s.test.start(0, 0);
  CHECK(nn::evaluate(s.model, s.test, [](const nn::Score&) { return false; }).samples == kBatch);
}

TEST_CASE("training learns and reports every epoch") {
  Setup s;
  Rows rows;
  nn::TrainOptions o = options();
  o.epochs = 6;
  const nn::TrainResult r = nn::Trainer(s.model, *s.optimizer, s.train, s.test, o, &rows).run();
  CHECK(r.stop == nn::TrainResult::Stop::finished);
  CHECK(r.epochs == 6);
  CHECK(r.steps == 42);
  CHECK(r.last.top1() > 80);
  REQUIRE(rows.rows.size() == 6);
  CHECK(rows.rows[0].epoch == 1);
  CHECK(rows.rows[5].step == 42);
  CHECK(rows.rows[5].train.samples == s.train.samples());
  CHECK(rows.rows[5].train.loss() < rows.rows[0].train.loss());
  CHECK(rows.rows[5].lr < rows.rows[0].lr);
  double best = 0;
  for (const auto& row : rows.rows) best = std::max(best, row.test.top1());
  CHECK(r.best_top1 == best);
}

/// Trains to the end in sessions of so many steps each, every one with a new model and optimizer.
void train_in_pieces(const nn::TrainOptions& wanted, int64_t steps_each) {
  for (int64_t limit = steps_each;; limit += steps_each) {
    Setup s;
    nn::TrainOptions o = wanted;
    o.max_steps = limit;
    nn::Trainer trainer(s.model, *s.optimizer, s.train, s.test, o);
    if (limit > steps_each) trainer.resume(o.dir + "/last.safetensors");
    if (trainer.run().stop == nn::TrainResult::Stop::finished) return;
  }
}

TEST_CASE("a resumed run gives the bits of an uninterrupted one") {
  for (const float ema : {0.0f, 0.9f}) {
    TempDir whole;
    Setup s;
    nn::TrainOptions o = options(whole.path);
    o.ema = ema;
    o.clip_grad = 1.0f;
    nn::Trainer(s.model, *s.optimizer, s.train, s.test, o).run();
    for (const int64_t steps : {3, 7, 10}) {  // in mid-epoch, at its end, both
      CAPTURE(ema);
      CAPTURE(steps);
      TempDir pieces;
      o.dir = pieces.path;
      train_in_pieces(o, steps);
      check_equal_entries(whole.path + "/last.safetensors", pieces.path + "/last.safetensors");
      check_equal_entries(whole.path + "/best.safetensors", pieces.path + "/best.safetensors");
    }
  }
}

TEST_CASE("the stop flag saves in mid-epoch and in the evaluation, and the run goes on exactly") {
  TempDir whole, stopped;
  Setup a;
  nn::Trainer(a.model, *a.optimizer, a.train, a.test, options(whole.path)).run();

  for (int64_t calls = 2;; calls += 4) {  // ever later; past the last call the run finishes
    fs::remove(stopped.path + "/last.safetensors");
    Setup b;
    nn::TrainOptions o = options(stopped.path);
    int64_t asked = 0;
    o.stop = [&] { return ++asked > calls; };
    const nn::TrainResult first = nn::Trainer(b.model, *b.optimizer, b.train, b.test, o).run();
    if (first.stop == nn::TrainResult::Stop::finished) break;
    CHECK(first.stop == nn::TrainResult::Stop::interrupted);

    Setup c;
    o.stop = {};
    Rows rows;
    nn::Trainer again(c.model, *c.optimizer, c.train, c.test, o, &rows);
    again.resume(stopped.path + "/last.safetensors");
    const int64_t complete = again.state().epoch;
    CHECK(again.run().steps == 21);
    CHECK(rows.rows.size() == static_cast<size_t>(3 - complete));
    CHECK(rows.rows[0].train.samples == a.train.samples());  // of the whole epoch, not of the rest
    check_equal_entries(whole.path + "/last.safetensors", stopped.path + "/last.safetensors");
  }
}

TEST_CASE("max_steps counts from the start and marks a partial epoch") {
  TempDir dir;
  Setup s;
  Rows rows;
  nn::TrainOptions o = options(dir.path);
  o.max_steps = 9;
  const nn::TrainResult r = nn::Trainer(s.model, *s.optimizer, s.train, s.test, o, &rows).run();
  CHECK(r.stop == nn::TrainResult::Stop::max_steps);
  CHECK(r.steps == 9);
  REQUIRE(rows.rows.size() == 2);
  CHECK_FALSE(rows.rows[0].partial);
  CHECK(rows.rows[1].partial);
  CHECK(rows.rows[1].train.samples == 2 * kBatch);

  Setup t;
  o.max_steps = 2;
  o.dir = dir.path + "/short";
  fs::create_directories(o.dir);
  const nn::TrainResult brief = nn::Trainer(t.model, *t.optimizer, t.train, t.test, o).run();
  CHECK(brief.best_top1 == brief.last.top1());  // the only evaluation there is
  CHECK(fs::exists(o.dir + "/best.safetensors"));
}

TEST_CASE("save_every writes last.safetensors within an epoch") {
  TempDir dir;
  Setup s;
  nn::TrainOptions o = options(dir.path);
  o.save_every = 2;
  s.train.poison = 5;  // dies at step 6; steps 2 and 4 were saved
  CHECK_THROWS_AS(nn::Trainer(s.model, *s.optimizer, s.train, s.test, o).run(), Error);
  Setup t;
  nn::Trainer again(t.model, *t.optimizer, t.train, t.test, options(dir.path));
  again.resume(dir.path + "/last.safetensors");
  CHECK(again.state().step == 4);
}

TEST_CASE("resume refuses another data set and a file without a run") {
  TempDir dir;
  Setup s;
  nn::Trainer(s.model, *s.optimizer, s.train, s.test, options(dir.path)).run();
  Setup t;
  Blobs shorter(5);
  nn::Trainer other(t.model, *t.optimizer, shorter, t.test, options(dir.path));
  CHECK_THROWS_WITH_AS(other.resume(dir.path + "/last.safetensors"),
                       doctest::Contains("7 batches an epoch"), Error);
  CHECK_THROWS_WITH_AS(other.resume(dir.path + "/best.safetensors"),
                       doctest::Contains("weights only"), Error);
}

TEST_CASE("a checkpoint is a weight file once the training entries are left out") {
  TempDir dir;
  Setup s;
  nn::TrainOptions o = options(dir.path);
  o.metadata["model"] = "small";
  o.ema = 0.5f;
  nn::Trainer(s.model, *s.optimizer, s.train, s.test, o).run();
  const safetensors::File file = safetensors::read(dir.path + "/last.safetensors");
  CHECK(file.metadata.at("model") == "small");
  CHECK(file.has("optim.m.0.weight"));
  nn::Layer other = small_net();
  nn::get_weights(nn::weights_only(file), other, "last");
  CHECK(nn::parameters(other)[0].tensor == nn::parameters(s.model)[0].tensor);
}

TEST_CASE("with EMA the averaged weights are tested and saved as best") {
  TempDir dir;
  Setup s;
  nn::TrainOptions o = options(dir.path);
  o.epochs = 1;
  o.ema = 0.99f;
  nn::Trainer(s.model, *s.optimizer, s.train, s.test, o).run();
  nn::Layer averaged = small_net();
  nn::load_weights(dir.path + "/best.safetensors", averaged);
  CHECK_FALSE(nn::parameters(averaged)[0].tensor == nn::parameters(s.model)[0].tensor);
}

TEST_CASE("penalties and the loss meet in the gradient") {
  Setup s;
  nn::TrainOptions o = options();
  o.epochs = 1;
  o.max_steps = 1;
  o.schedule = nn::constant(0.1f);
  o.loss = [](const Tensor& logits, const Batch&) { return mul(sum(logits), 0.0f); };
  o.penalties.push_back([](const nn::Layer& m) { return sum(nn::parameters(m)[0].tensor); });
  const Tensor before = nn::parameters(s.model)[0].tensor.clone();
  const auto sgd = nn::sgd(nn::param_groups(s.model, 0), {.lr = 0.1f, .momentum = 0});
  nn::Trainer(s.model, *sgd, s.train, s.test, o).run();
  // d(sum w)/dw = 1, so every weight of the first layer moved by -lr.
  const Tensor moved = before - nn::parameters(s.model)[0].tensor;
  for (float m : moved.span()) CHECK(m == doctest::Approx(0.1f).epsilon(1e-5));
}

TEST_CASE("label smoothing reaches the loss") {
  const Batch b{Tensor::zeros({1, 1}), Tensor::of({0})};
  const Tensor z = Tensor::of({2, 0}).view({1, 2});
  const double log_sum = std::log(std::exp(2.0) + 1);
  CHECK(nn::cross_entropy_loss()(z, b).item() == doctest::Approx(log_sum - 2));
  // 0.9 + 0.1 / 2 on the first class, 0.1 / 2 on the second
  CHECK(nn::cross_entropy_loss(0.1f)(z, b).item() == doctest::Approx(log_sum - 0.95 * 2));
}

TEST_CASE("a non-finite loss names the first bad tensor") {
  Setup s;
  s.train.poison = 8;  // epoch 2, batch 2
  nn::Trainer t(s.model, *s.optimizer, s.train, s.test, options());
  CHECK_THROWS_WITH_AS(t.run(), doctest::Contains("epoch 2, batch 2 (step 9)"), Error);

  Setup u;
  nn::parameters(u.model)[1].tensor.data()[2] = std::numeric_limits<float>::infinity();
  const Batch batch = *u.train.next();
  const std::string found = nn::find_non_finite(u.model, batch);
  CHECK(found.find("output of 1 [8, 6, 6, 8]") != std::string::npos);
  CHECK(found.find("1.weight [8]: 1 of 8 values") != std::string::npos);
  CHECK(nn::find_non_finite(Setup().model, batch).empty());
}

TEST_CASE("the search names a gradient when everything before it is finite") {
  Setup s;
  const Batch batch = *s.train.next();
  Tensor w = nn::parameters(s.model)[0].tensor;
  Tensor g = Tensor::zeros(w.shape());
  g.data()[0] = std::numeric_limits<float>::quiet_NaN();
  w.set_grad(g);
  CHECK(nn::find_non_finite(s.model, batch).find("gradient of 0.weight") != std::string::npos);
}

}  // namespace
}  // namespace pare
