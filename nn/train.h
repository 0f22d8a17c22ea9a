#pragma once
// The training loop of every program. Loss, penalties and transforms meet here and nowhere else;
// what a run shows and writes besides checkpoints is up to a Progress.

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/batch.h"
#include "core/communicator.h"
#include "nn/checkpoint.h"
#include "nn/data_parallel.h"
#include "nn/metrics.h"
#include "nn/optim.h"
#include "nn/schedule.h"

namespace pare::nn {

/// Scalar to minimize, from logits and the batch they came from (a teacher wants its images).
using Loss = std::function<Tensor(const Tensor& logits, const Batch& batch)>;
/// Scalar added to the loss, from the weights alone.
using Penalty = std::function<Tensor(const Layer& model)>;

Loss cross_entropy_loss(float label_smoothing = 0.0f);

/// Where a running epoch stands.
struct Moment {
  enum class Phase { train, test };
  Phase phase = Phase::train;
  int64_t epoch = 0, epochs = 0;   // from 1
  int64_t batch = 0, batches = 0;  // of this phase: done, in all
  Score score = {};                // of this phase so far
  float lr = 0;
  double images_per_second = 0;
  double seconds_left = 0;  // of the run, as far as it went until now
};

/// What one epoch came to.
struct EpochRow {
  int64_t epoch = 0, step = 0;  // from 1; optimizer steps since the start
  Score train = {}, test = {};
  float lr = 0;                  // of its last step
  double seconds = 0;            // training and evaluation
  double images_per_second = 0;  // of training
  bool best = false;             // best test top-1 so far
  bool partial = false;          // cut short by max_steps
};

struct Progress {
  virtual ~Progress() = default;
  virtual void on_batch(const Moment&) {}
  /// Called before last.safetensors moves on to the next epoch, so that a resumed run can repeat a
  /// row but not miss one.
  virtual void on_epoch(const EpochRow&) {}
};

struct TrainOptions {
  int64_t epochs = 1;
  int64_t max_steps = 0;   // > 0: stop after so many optimizer steps since the start of the run
  Schedule schedule = {};  // empty: the optimizer's learning rate stays
  Loss loss = cross_entropy_loss();
  std::vector<Penalty> penalties = {};
  float clip_grad = 0;  // > 0: largest joint L2 norm of the gradients
  float ema = 0;  // > 0: decay of averaged weights, which are then evaluated and saved as best
  std::string dir = {};     // of best.safetensors and last.safetensors; empty: nothing is saved
  int64_t save_every = 0;   // > 0: steps between saves of last.safetensors within an epoch
  Metadata metadata = {};   // put into every checkpoint
  Layer* beside = nullptr;  // learned by the loss, not part of the model: kept for a resume
  /// Called between the gradients and the optimizer's step, and after it, with the share of all
  /// epochs that is done: what changes gradients, and what keeps weights in bounds.
  std::function<void(double progress)> before_step = {}, after_step = {};
  std::function<bool()> stop = {};  // asked between batches; true: save and return
  /// Processes that train together, each of which has its part of every training batch and all of
  /// the test set. The first one reports and saves.
  Communicator* group = nullptr;
};

struct TrainResult {
  enum class Stop { finished, max_steps, interrupted };
  Stop stop = Stop::finished;
  int64_t epochs = 0, steps = 0;  // complete epochs, optimizer steps
  int64_t best_epoch = 0;         // from 1; 0: none evaluated
  double best_top1 = 0;           // percent
  Score last = {};                // the last evaluation
  double seconds = 0;             // all sessions together
};

class Trainer {
 public:
  /// All references must outlive the trainer.
  Trainer(Layer& model, Optimizer& optimizer, BatchSource& train, BatchSource& test,
          TrainOptions options, Progress* progress = nullptr);

  /// Continues the run saved in a last.safetensors: the bits that follow are those of an
  /// uninterrupted run.
  void resume(const std::string& checkpoint);
  TrainResult run();
  const TrainState& state() const { return state_; }

 private:
  using Clock = std::chrono::steady_clock;

  TrainResult run_epochs();
  TrainResult::Stop train_epoch();
  bool should_stop() const;
  void step(const Batch& batch);
  /// Epochs done, with the share of the running one.
  double epochs_done() const;
  Tensor objective(const Tensor& logits, const Batch& batch) const;
  [[noreturn]] void fail_non_finite(const std::string& what, const Batch& batch) const;
  bool test_epoch(bool partial);
  Score evaluate_averaged(bool partial, bool* best);
  void report(Moment::Phase phase, const Score& score, double phase_seconds) const;
  double seconds_left() const;
  double session_seconds() const;
  void save_last() const;
  void save_best(const Score& test) const;
  TrainResult result(TrainResult::Stop stop) const;

  Layer& model_;
  Optimizer& optimizer_;
  BatchSource& train_;
  BatchSource& test_;
  TrainOptions options_;
  Communicator& group_;
  DataParallel parallel_;
  Progress* progress_;
  std::unique_ptr<Ema> ema_;
  TrainState state_;
  Clock::time_point began_;
  int64_t first_step_ = 0;      // of this session
  bool asked_to_stop_ = false;  // some process of the group
};

}  // namespace pare::nn
