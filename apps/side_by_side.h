#pragma once
// A model before and after a rewrite, on the same images.

#include "apps/console.h"
#include "apps/json.h"
#include "core/batch.h"
#include "nn/describe.h"
#include "nn/metrics.h"

namespace pare {

/// One of two models under comparison.
struct Side {
  nn::Layer& model;
  nn::Score score = {};
  double seconds = 0;

  Tensor run(const Batch& batch);
  double speed() const { return static_cast<double>(score.samples) / seconds; }
};

/// How far the outputs of both are apart.
struct Gap {
  double difference = 0, largest = 0;  // of a logit; the largest one itself
  int64_t same_class = 0;

  void add(const Tensor& before, const Tensor& after);
};

/// Both models on every batch, in turns and each first half of the time, so that a busy machine
/// slows both.
Gap compare(Side& before, Side& after, BatchSource& batches, Console& console);

/// Rows "what, before, after": parameters, multiply-accumulates, bytes, accuracy, speed.
std::vector<std::vector<std::string>> comparison(const Side& before, const Side& after,
                                                 const nn::Summary& was, const nn::Summary& is);
Json side_json(const Side& side, const nn::Summary& summary);

}  // namespace pare
