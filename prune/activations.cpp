#include "prune/activations.h"

#include <algorithm>

#include "core/ops.h"

namespace pare::prune {

void for_batches(BatchSource& images, int64_t count, const std::function<void(const Batch&)>& f) {
  images.start(0);
  for (int64_t left = count; left > 0;) {
    std::optional<Batch> batch = images.next();
    if (!batch) return;
    const int64_t here = std::min(left, batch->x.dim(0));
    if (here < batch->x.dim(0)) {
      batch->x = slice(batch->x, 0, 0, here);
      batch->y = slice(batch->y, 0, 0, here);
    }
    f(*batch);
    left -= here;
  }
}

void for_each_activation(const Subject& s, const std::set<std::string>& ops,
                         const SeeActivation& see) {
  for_batches(*s.images, s.count, [&](const Batch& batch) {
    const nn::TracedValues run = nn::trace_values(s.model, batch.x);
    PARE_CHECK(run.graph.size() == s.structure.graph.size(),
               "prune: the model computes something else on other images");
    for (int i = 0; i < run.graph.size(); ++i) {
      const Tensor& y = run.values[static_cast<size_t>(i)];
      const std::vector<int>& units = s.structure.channels.of[static_cast<size_t>(i)];
      const bool by_channel = y.dims() > 0 && static_cast<int64_t>(units.size()) == y.dim(-1);
      if (ops.count(run.graph[i].op) > 0 && by_channel) see(y, units);
    }
  });
}

}  // namespace pare::prune
