#pragma once
// Mixup and CutMix: two images of a batch become two others. Private to datasets.

#include "core/batch.h"
#include "core/rng.h"
#include "datasets/datasets.h"

namespace pare::datasets {

/// Mixes image i with image N - 1 - i, all by one share l ~ Beta(a, a), in place.
///   mixup   x_i = l x_i + (1 - l) x_j
///   cutmix  a rectangle of x_i, of (1 - l) of the area before it is cut at the border, is x_j's;
///           l becomes what is left of x_i
/// y [N] class indices becomes [N, classes]: l at the class of i, 1 - l at that of j.
void mix(Batch& batch, const Augment& augment, int64_t classes, Rng& rng);

/// One draw from Beta(a, a).
float draw_beta(float a, Rng& rng);

}  // namespace pare::datasets
