#pragma once
// A training run as one safetensors file: the weights under their plain names, so that anything
// that reads weights reads a checkpoint, and beside them
//   optim.*       moments and step count
//   ema.*         averaged weights
//   train.beside.*  what was learned beside the model, such as a distillation's regressors
//   train.state   where the run stands
//   train.rng.*   key and counter of every generator in the model
// Written to a temporary name and renamed.

#include <map>
#include <string>

#include "core/safetensors.h"
#include "nn/metrics.h"
#include "nn/optim.h"

namespace pare::nn {

/// Where a run stands, exactly.
struct TrainState {
  int64_t epoch = 0;         // in training, from 0: as many are complete
  int64_t batch = 0;         // the epoch's next batch; all done: the evaluation is next
  int64_t step = 0;          // optimizer steps since the start
  int64_t best_epoch = -1;   // from 0; -1: none evaluated yet
  double best_top1 = -1;     // percent
  Score train;               // of the epoch so far
  Score test;                // after the last complete epoch
  int64_t batches = 0;       // per epoch of the training set: must be the same on resume
  double seconds = 0;        // spent in all, earlier sessions included
  double epoch_seconds = 0;  // spent training in this epoch
};

using Metadata = std::map<std::string, std::string>;

/// `ema` and `beside` may be null.
void save_checkpoint(const std::string& path, const Layer& model, const Optimizer& optimizer,
                     const Ema* ema, const TrainState& state, const Metadata& metadata,
                     const Layer* beside = nullptr);

/// Everything that save_checkpoint wrote; the model must have the same shape.
TrainState load_checkpoint(const std::string& path, Layer& model, Optimizer& optimizer, Ema* ema,
                           Layer* beside = nullptr);

/// A checkpoint or a plain weight file without what only training needs.
safetensors::File weights_only(safetensors::File file);

}  // namespace pare::nn
