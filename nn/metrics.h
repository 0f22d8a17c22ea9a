#pragma once
// What a classifier gets right.

#include <functional>

#include "core/batch.h"
#include "nn/module.h"

namespace pare::nn {

/// How many classes a row of logits prefers to class `y`: 0 is a top-1 hit. Equal logits rank in
/// class order; a NaN ranks before every number, so a broken network scores nothing.
int64_t rank_of(std::span<const float> logits, int64_t y);

/// A running score over batches, summed in double and in order.
struct Score {
  int64_t samples = 0, hits1 = 0, hits5 = 0;
  double loss_sum = 0;

  /// logits [N, classes], target [N] class indices or [N, classes] probabilities (the likeliest
  /// counts), loss the batch's mean.
  void add(const Tensor& logits, const Tensor& target, double batch_loss);

  Score& operator+=(const Score& other);

  double loss() const { return samples > 0 ? loss_sum / static_cast<double>(samples) : 0.0; }
  double top1() const { return percent(hits1); }  // percent
  double top5() const { return percent(hits5); }

 private:
  double percent(int64_t hits) const {
    return samples > 0 ? 100.0 * static_cast<double>(hits) / static_cast<double>(samples) : 0.0;
  }
};

/// One pass over the rest of the epoch that `source` was started at, in eval mode and unrecorded;
/// the loss is plain cross-entropy. `watch` sees the score after every batch and stops the pass by
/// returning false. The model returns to the mode it was in.
Score evaluate(Layer& model, BatchSource& source,
               const std::function<bool(const Score&)>& watch = {});

}  // namespace pare::nn
