#include "prune/sensitivity.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <ostream>

#include "core/autograd.h"
#include "core/ops.h"
#include "nn/metrics.h"
#include "nn/text.h"
#include "prune/activations.h"
#include "prune/apply.h"

namespace pare::prune {

namespace {

nn::Score measure(nn::Layer& model, const Subject& s) {
  const nn::EvalMode eval(model);
  const NoGrad guard;
  nn::Score score;
  for_batches(*s.images, s.count, [&](const Batch& batch) {
    const Tensor logits = model(batch.x);
    score.add(logits, batch.y, double{cross_entropy(logits, batch.y).item()});
  });
  return score;
}

/// The positions in a group that stay if the lowest `removed` scores go, ascending.
std::vector<int64_t> best_of(const std::vector<int>& units, const Scores& scores, int64_t removed) {
  std::vector<int64_t> order(units.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  const auto score_at = [&](int64_t i) {
    return scores.of[static_cast<size_t>(units[static_cast<size_t>(i)])];
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return score_at(a) > score_at(b); });
  order.resize(order.size() - static_cast<size_t>(removed));
  std::sort(order.begin(), order.end());
  return order;
}

void check(const Subject& s, const SensitivityOptions& o) {
  PARE_CHECK(s.images && s.count > 0, "prune: sensitivity is measured on images");
  PARE_CHECK(!o.shares.empty() && std::is_sorted(o.shares.begin(), o.shares.end()),
             "prune: shares must be given, and ascend");
  for (double share : o.shares) {
    PARE_CHECK(share > 0 && share < 1, "prune: shares must be above 0 and below 1, got ", share);
  }
}

}  // namespace

Sensitivity sensitivity(const CriterionInfo& criterion, const Subject& s,
                        const SensitivityOptions& o) {
  check(s, o);
  const Scores scores = score(criterion, s);
  const nn::Score whole = measure(s.model, s);
  Sensitivity result{.method = criterion.name, .loss = whole.loss(), .top1 = whole.top1()};
  result.images = whole.samples;
  std::vector<int> groups;
  for (int g = 0; g < s.structure.groups(); ++g) {
    const bool may = !s.structure.name(g).empty() && s.structure.group(g).kept_because.empty();
    if (may && scores.judged(g)) groups.push_back(g);
  }
  const Tensor example = Tensor::zeros(s.structure.graph[s.structure.graph.input].shape);
  const auto steps = static_cast<int64_t>(groups.size() * o.shares.size());
  int64_t done = 0;
  for (int g : groups) {
    const std::vector<int>& units = s.structure.group(g).units;
    const auto channels = static_cast<int64_t>(units.size());
    Sensitivity::Layer layer{.name = s.structure.name(g), .channels = channels};
    for (double share : o.shares) {
      if (o.progress) o.progress(done, steps, layer.name);
      ++done;
      const auto removed = std::min<int64_t>(
          channels - 1, static_cast<int64_t>(static_cast<double>(channels) * share + 1e-9));
      Plan::Layer part{.name = layer.name, .channels = channels};
      part.keep = best_of(units, scores, removed);
      nn::Layer model = s.model;
      silence({.method = "", .layers = {part}}, model, example);
      const nn::Score left = measure(model, s);
      layer.points.push_back({share, channels - removed, left.loss(), left.top1()});
    }
    result.layers.push_back(std::move(layer));
  }
  return result;
}

std::ostream& operator<<(std::ostream& out, const Sensitivity& s) {
  if (s.layers.empty()) return out << "no layer may lose channels\n";
  std::vector<std::vector<std::string>> rows{{"layer", "channels"}};
  for (const Sensitivity::Point& p : s.layers.front().points) {
    rows[0].push_back(fmt::format("-{:g} %", 100 * p.share));
  }
  for (const Sensitivity::Layer& l : s.layers) {
    rows.push_back({l.name, std::to_string(l.channels)});
    for (const Sensitivity::Point& p : l.points) {
      rows.back().push_back(fmt::format("{:+.4f}", p.loss - s.loss));
    }
  }
  return out << nn::columns(rows);
}

std::string to_csv(const Sensitivity& s) {
  std::string text = "layer,channels,share,kept,loss,top1\n";
  for (const Sensitivity::Layer& l : s.layers) {
    for (const Sensitivity::Point& p : l.points) {
      text += fmt::format("{},{},{:g},{},{:.6g},{:.4g}\n", l.name, l.channels, p.share, p.kept,
                          p.loss, p.top1);
    }
  }
  return text;
}

}  // namespace pare::prune
