#pragma once
// Training that makes channels small before they are removed: terms added to the loss.

#include "nn/train.h"

namespace pare::prune {

/// s * sum of |gamma| over all batch norms.  Network slimming, Liu et al. 2017, arXiv:1708.06519
nn::Penalty bn_l1(float s);

/// s * sum over the filters of all convolutions and linear layers of  sqrt(weights) |w|_2, so that
/// whole filters become zero.  Group lasso, Yuan & Lin 2006; Wen et al. 2016, arXiv:1608.03665
nn::Penalty group_lasso(float s);

}  // namespace pare::prune
