#include "nn/train.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/ops.h"
#include "nn/diagnose.h"
#include "nn/state.h"

namespace pare::nn {

namespace {

using Stop = TrainResult::Stop;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double rate(int64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0.0;
}

/// The averaged weights are in the model while this lives.
class Averaged {
 public:
  explicit Averaged(Ema* ema) : ema_(ema) {
    if (ema_) ema_->swap();
  }
  ~Averaged() {
    if (ema_) ema_->swap();
  }
  Averaged(const Averaged&) = delete;
  Averaged& operator=(const Averaged&) = delete;

 private:
  Ema* ema_;
};

}  // namespace

Loss cross_entropy_loss(float label_smoothing) {
  return [label_smoothing](const Tensor& logits, const Batch& batch) {
    return cross_entropy(logits, batch.y, label_smoothing);
  };
}

Trainer::Trainer(Layer& model, Optimizer& optimizer, BatchSource& train, BatchSource& test,
                 TrainOptions options, Progress* progress)
    : model_(model),
      optimizer_(optimizer),
      train_(train),
      test_(test),
      options_(std::move(options)),
      group_(options_.group ? *options_.group : no_group()),
      parallel_(group_, model, options_.beside, optimizer),
      progress_(group_.first() ? progress : nullptr) {
  PARE_CHECK(model_, "train: the model is empty");
  PARE_CHECK(options_.epochs >= 0, "train: epochs must be >= 0, got ", options_.epochs);
  PARE_CHECK(train_.batches() > 0, "train: the training set has no batch: ", train_.samples(),
             " images");
  PARE_CHECK(test_.batches() > 0, "train: the test set has no batch: ", test_.samples(), " images");
  if (options_.ema > 0) ema_ = std::make_unique<Ema>(model_, options_.ema);
  state_.batches = train_.batches();
  assign_paths(model_);
}

void Trainer::resume(const std::string& checkpoint) {
  state_ = load_checkpoint(checkpoint, model_, optimizer_, ema_.get(), options_.beside);
  PARE_CHECK(state_.batches == train_.batches(), checkpoint, ": was trained with ", state_.batches,
             " batches an epoch, the training set has ", train_.batches(),
             hint("resume with the same data set, limit and batch size"));
}

TrainResult Trainer::run() {
  began_ = Clock::now();
  first_step_ = state_.step;
  set_training(model_, true);
  parallel_.begin();
  const TrainResult r = run_epochs();
  group_.meet();  // what the first one saved is there
  return r;
}

TrainResult Trainer::run_epochs() {
  while (state_.epoch < options_.epochs) {
    const Stop stop = train_epoch();
    if (stop != Stop::finished) save_last();
    if (stop == Stop::max_steps && state_.batch > 0) test_epoch(true);
    if (stop != Stop::finished) return result(stop);
    if (!test_epoch(false)) {
      save_last();
      return result(Stop::interrupted);
    }
  }
  return result(Stop::finished);
}

/// finished: every batch of the epoch is done.
Stop Trainer::train_epoch() {
  const auto start = Clock::now();
  const double before = state_.epoch_seconds;
  train_.start(state_.epoch, state_.batch);
  while (state_.batch < state_.batches) {
    if (should_stop()) return Stop::interrupted;
    if (options_.max_steps > 0 && state_.step >= options_.max_steps) return Stop::max_steps;
    const std::optional<Batch> batch = train_.next();
    PARE_CHECK(batch, "train: the data ended at batch ", state_.batch, " of ", state_.batches);
    step(*batch);
    state_.epoch_seconds = before + seconds_since(start);
    report(Moment::Phase::train, state_.train, state_.epoch_seconds);
    if (options_.save_every > 0 && state_.step % options_.save_every == 0) save_last();
  }
  return Stop::finished;
}

/// In a group all must stop after the same step: what they were told after the last one counts.
bool Trainer::should_stop() const {
  return group_.alone() ? options_.stop && options_.stop() : asked_to_stop_;
}

void Trainer::step(const Batch& batch) {
  if (options_.schedule) {
    optimizer_.set_lr(options_.schedule(epochs_done(), static_cast<double>(options_.epochs)));
  }
  const Tensor logits = model_(batch.x);
  const Tensor loss = objective(logits, batch);
  const float value = loss.item();
  if (!std::isfinite(value)) fail_non_finite(str("the loss is ", value), batch);
  parallel_.backward(loss, batch.x.dim(0));
  if (options_.clip_grad > 0) {
    const float norm = clip_grad_norm(optimizer_.groups(), options_.clip_grad);
    if (!std::isfinite(norm)) fail_non_finite(str("the gradient norm is ", norm), batch);
  }
  const auto epochs = static_cast<double>(options_.epochs);
  if (options_.before_step) options_.before_step(epochs_done() / epochs);
  optimizer_.step();
  optimizer_.zero_grad();
  ++state_.batch;
  ++state_.step;
  Score score;
  score.add(logits, batch.y, value);
  if (!group_.alone()) asked_to_stop_ = options_.stop && options_.stop();
  state_.train += parallel_.finish(score, asked_to_stop_);
  if (options_.after_step) options_.after_step(epochs_done() / epochs);
  if (ema_) ema_->update();
}

double Trainer::epochs_done() const {
  return static_cast<double>(state_.epoch) +
         static_cast<double>(state_.batch) / static_cast<double>(state_.batches);
}

Tensor Trainer::objective(const Tensor& logits, const Batch& batch) const {
  Tensor loss = options_.loss(logits, batch);
  for (const Penalty& penalty : options_.penalties) loss = loss + penalty(model_);
  return loss;
}

void Trainer::fail_non_finite(const std::string& what, const Batch& batch) const {
  const std::string found = find_non_finite(model_, batch);
  throw Error(str("train: ", what, " at epoch ", state_.epoch + 1, ", batch ", state_.batch + 1,
                  " (step ", state_.step + 1, "), expected a finite number",
                  found.empty() ? "\n  every layer output, weight and gradient is finite" : found,
                  hint("lower the learning rate, warm it up, or clip the gradients")),
              "train");
}

/// Evaluates and ends the epoch (a partial one goes on later). False: interrupted, the epoch still
/// needs it.
bool Trainer::test_epoch(bool partial) {
  const auto start = Clock::now();
  EpochRow row{.epoch = state_.epoch + 1, .step = state_.step, .train = state_.train};
  row.partial = partial;
  row.test = evaluate_averaged(partial, &row.best);
  if (row.test.samples < test_.samples()) return false;
  row.lr = optimizer_.lr();
  row.seconds = state_.epoch_seconds + seconds_since(start);
  row.images_per_second = rate(state_.train.samples, state_.epoch_seconds);
  state_.test = row.test;
  parallel_.check_equal();
  if (progress_) progress_->on_epoch(row);
  if (partial) return true;
  ++state_.epoch;
  state_.batch = 0;
  state_.train = {};
  state_.epoch_seconds = 0;
  save_last();
  return true;
}

/// A partial epoch becomes the best one only if there is no other, and only on disk: resumed, the
/// run must be the uninterrupted one.
Score Trainer::evaluate_averaged(bool partial, bool* best) {
  const Averaged averaged(ema_.get());
  const auto start = Clock::now();
  const int64_t first = part_begin(test_.batches(), group_.rank(), group_.size());
  int64_t left = part_begin(test_.batches(), group_.rank() + 1, group_.size()) - first;
  Score test;
  if (left > 0) {
    test_.start(0, first);
    test = evaluate(model_, test_, [&](const Score& score) {
      report(Moment::Phase::test, score, seconds_since(start));
      return --left > 0 && !(options_.stop && options_.stop());
    });
  }
  test = sum_over(group_, test);
  if (test.samples < test_.samples()) return test;
  *best = partial ? state_.best_epoch < 0 : test.top1() > state_.best_top1;
  if (*best) save_best(test);
  if (*best && !partial) {
    state_.best_top1 = test.top1();
    state_.best_epoch = state_.epoch;
  }
  return test;
}

void Trainer::report(Moment::Phase phase, const Score& score, double phase_seconds) const {
  if (!progress_) return;
  const bool training = phase == Moment::Phase::train;
  Moment m{.phase = phase, .epoch = state_.epoch + 1, .epochs = options_.epochs, .score = score};
  m.batches = training ? state_.batches : test_.batches();
  const int64_t seen = score.samples * (training ? 1 : group_.size());
  m.batch = training ? state_.batch : std::min(m.batches, m.batches * seen / test_.samples());
  m.lr = optimizer_.lr();
  m.images_per_second = rate(seen, phase_seconds);
  m.seconds_left = seconds_left();
  progress_->on_batch(m);
}

double Trainer::seconds_left() const {
  int64_t end = options_.epochs * state_.batches;
  if (options_.max_steps > 0) end = std::min(end, options_.max_steps);
  const auto left = static_cast<double>(std::max<int64_t>(0, end - state_.step));
  const auto done = static_cast<double>(std::max<int64_t>(1, state_.step - first_step_));
  return seconds_since(began_) * left / done;
}

double Trainer::session_seconds() const { return state_.seconds + seconds_since(began_); }

void Trainer::save_last() const {
  if (options_.dir.empty() || !group_.first()) return;
  TrainState now = state_;
  now.seconds = session_seconds();
  save_checkpoint(options_.dir + "/last.safetensors", model_, optimizer_, ema_.get(), now,
                  options_.metadata, options_.beside);
}

void Trainer::save_best(const Score& test) const {
  if (options_.dir.empty() || !group_.first()) return;
  Metadata metadata = options_.metadata;
  metadata["epoch"] = std::to_string(state_.epoch + 1);
  metadata["test_top1"] = std::to_string(test.top1());
  save_weights(options_.dir + "/best.safetensors", model_, metadata);
}

TrainResult Trainer::result(Stop stop) const {
  TrainResult r{.stop = stop, .epochs = state_.epoch, .steps = state_.step};
  r.last = state_.test;
  r.seconds = session_seconds();
  const bool complete = state_.best_epoch >= 0;
  r.best_epoch = complete ? state_.best_epoch + 1 : state_.test.samples > 0 ? state_.epoch + 1 : 0;
  r.best_top1 = complete ? state_.best_top1 : state_.test.top1();
  return r;
}

}  // namespace pare::nn
