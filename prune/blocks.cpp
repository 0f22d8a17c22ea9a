#include "prune/blocks.h"

#include <algorithm>
#include <map>
#include <set>

#include "core/autograd.h"
#include "core/ops.h"
#include "prune/activations.h"

namespace pare::prune {

namespace {

using nn::Graph;

bool within(const std::string& path, const std::string& block) {
  return path == block || path.rfind(block + ".", 0) == 0;
}

/// What passes the border of a module.
struct Border {
  std::set<int> in, out;  // nodes outside that are read inside, and inside that are read outside
  bool has_weights = false;
};

Border border_of(const Structure& s, const std::string& block) {
  Border b;
  for (int i = 0; i < s.graph.size(); ++i) {
    const Graph::Node& n = s.graph[i];
    if (n.is_tensor() || i == s.graph.input || !within(n.path, block)) continue;
    b.has_weights = b.has_weights || n.op == "conv2d" || n.op == "linear";
    for (int from : n.inputs) {
      const bool value = from != Graph::kNone && !s.graph[from].is_tensor();
      if (value && !within(s.graph[from].path, block)) b.in.insert(from);
    }
    const bool read = std::any_of(n.users.begin(), n.users.end(),
                                  [&](int u) { return !within(s.graph[u].path, block); });
    if (read || i == s.graph.output) b.out.insert(i);
  }
  return b;
}

bool is_removable(const Structure& s, const std::string& block) {
  const Border b = border_of(s, block);
  if (!b.has_weights || b.in.size() != 1 || b.out.size() != 1) return false;
  const int in = *b.in.begin(), out = *b.out.begin();
  return s.graph[in].shape == s.graph[out].shape &&
         s.channels.of[static_cast<size_t>(in)] == s.channels.of[static_cast<size_t>(out)];
}

double loss_of(nn::Layer& model, BatchSource& images, int64_t count) {
  const nn::EvalMode eval(model);
  const NoGrad guard;
  double sum = 0;
  int64_t seen = 0;
  for_batches(images, count, [&](const Batch& batch) {
    const auto n = batch.x.dim(0);
    sum += double{cross_entropy(model(batch.x), batch.y).item()} * static_cast<double>(n);
    seen += n;
  });
  return sum / static_cast<double>(std::max<int64_t>(seen, 1));
}

nn::Layer& layer_at(nn::Layer& model, const std::string& path) {
  nn::Layer* found = nullptr;
  nn::for_each_layer(model, [&](const std::string& p, nn::Layer& layer) {
    if (p == path) found = &layer;
  });
  PARE_CHECK(found, "prune: the model has no layer ", path);
  return *found;
}

/// The best of these blocks to remove.
RemovedBlock best(nn::Layer& model, const std::vector<std::string>& blocks, BatchSource& images,
                  int64_t count) {
  RemovedBlock lowest;
  for (const std::string& path : blocks) {
    nn::Layer& place = layer_at(model, path);
    nn::Layer block = std::move(place);
    place = {};
    const double loss = loss_of(model, images, count);
    place = std::move(block);
    if (lowest.path.empty() || loss < lowest.loss) lowest = {path, loss};
  }
  return lowest;
}

}  // namespace

std::vector<std::string> removable_blocks(nn::Layer& model, const Tensor& example) {
  const Structure s(model, example);
  std::vector<std::string> blocks;
  nn::for_each_layer(model, [&](const std::string& path, nn::Layer&) {
    if (path.empty() || !is_removable(s, path)) return;
    // Parents come first: what holds a smaller block gives way to it.
    std::erase_if(blocks, [&](const std::string& outer) { return within(path, outer); });
    blocks.push_back(path);
  });
  return blocks;
}

std::vector<RemovedBlock> remove_blocks(nn::Layer& model, const Tensor& example,
                                        BatchSource& images, const BlockOptions& o) {
  PARE_CHECK(o.count >= 1 && o.images >= 1,
             "prune: the numbers of blocks and images must be positive, got ", o.count, " and ",
             o.images);
  const size_t there = removable_blocks(model, example).size();
  PARE_CHECK(static_cast<int64_t>(there) >= o.count, "prune: the model has ", there,
             " blocks that can be left out, asked for ", o.count,
             hint("blocks whose result is added to their unchanged input can"));
  std::vector<RemovedBlock> removed;
  for (int64_t i = 0; i < o.count; ++i) {
    removed.push_back(best(model, removable_blocks(model, example), images, o.images));
    layer_at(model, removed.back().path) = {};
  }
  return removed;
}

}  // namespace pare::prune
