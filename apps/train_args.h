#pragma once
// The options of a training run, common to every program that trains.

#include <memory>
#include <string>

#include "apps/augment_args.h"
#include "apps/cli.h"
#include "apps/compute.h"
#include "apps/data.h"
#include "apps/distill_args.h"
#include "apps/model.h"
#include "apps/sparse_args.h"
#include "core/communicator.h"
#include "nn/optim.h"

namespace pare {

struct TrainArgs {
  ModelArgs model;
  DataArgs data;
  AugmentArgs augment;

  std::string recipe;
  int64_t epochs = 160, batch_size = 128, steps = 0, seed = 1, save_every = 0;
  std::string optimizer = "sgd", schedule = "cosine";
  float lr = 0.1f, wd = 1e-4f, momentum = 0.9f;
  float label_smoothing = 0, clip_grad = 0, ema = 0;
  int64_t calib = 256;
  float quant_lr = 1, quant_wd = 1e-4f;
  bool nesterov = false, no_decay_norm = false, sync_bn = false;
  SparseArgs sparse;

  DistillArgs distill;  // its fields are `pare distill`'s

  ComputeArgs compute;
  std::string init, refine, out;
  bool resume = false, force = false, quiet = false, json = false;

  std::string quant_schedule;  // stages with quantizers of their own: apps/train_stages.h
  std::string again;           // of a part of something larger: the command that continues that

  Communicator* group = &no_group();  // processes that train together

  // For programs with flags for it.
  bool calibrate_only = false;  // no training: quantize, test and save
  bool freeze_quant = false;    // ranges and batch norm statistics stay as they are

  void fields(cli::Fields& f, bool with_quant = true);
  /// Combinations that no single flag can check.
  void check(const cli::Given& given) const;
  void check_stages() const;

  /// Fills in what --recipe says, or what goes with the data set, where no flag was given.
  void apply_recipe(const cli::Given& given);
  /// `beside`: what is trained along without being part of the network; may be null.
  std::unique_ptr<nn::Optimizer> make_optimizer(nn::Layer& net, nn::Layer* beside) const;
  /// This process's part of them.
  std::unique_ptr<BatchSource> train_batches(
      std::shared_ptr<const datasets::ImageSet> images) const;
};

/// The recipe that wbab and wqaq start from (micronet's): Adam on NIN_GC, five steps of a tenth
/// over 300 epochs.
TrainArgs experiment_defaults();

/// What a resumed run takes over from the config of the run, and what may change.
const cli::Exceptions& resume_exceptions();

}  // namespace pare
