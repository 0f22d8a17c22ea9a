#pragma once
// What a model computes on images, channel by channel.

#include <functional>
#include <set>
#include <string>

#include "prune/criterion.h"

namespace pare::prune {

/// Calls f(batch) until `count` images were seen; the last batch is cut to fit.
void for_batches(BatchSource& images, int64_t count, const std::function<void(const Batch&)>& f);

/// y [N, ..., C], the result of one of the ops, and the units of its C channels.
using SeeActivation = std::function<void(const Tensor& y, const std::vector<int>& units)>;
/// For every batch of the subject's images, and every op of these names.
void for_each_activation(const Subject& subject, const std::set<std::string>& ops,
                         const SeeActivation& see);

}  // namespace pare::prune
