#include "prune/resrep.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/ops.h"
#include "nn/text.h"

namespace pare::prune {

namespace {

/// A direction for rows that have none.
constexpr double kTiny = 1e-12;

Tensor identity(int64_t channels) {
  Tensor w = Tensor::zeros({channels, 1, 1, channels});
  for (int64_t i = 0; i < channels; ++i) w.data()[i * channels + i] = 1;
  return w;
}

}  // namespace

Compactor::Compactor(nn::Layer batch_norm) : Gate(std::move(batch_norm)) {
  weight = identity(channels()).requires_grad_();
  mask = Tensor::ones({channels()});
}

Tensor Compactor::forward(const Tensor& x) { return conv2d(norm(x), weight); }

std::string Compactor::describe() const { return nn::Description("Compactor").arg(channels()); }

std::vector<bool> Compactor::open() const {
  std::vector<bool> all;
  for (float m : mask.span()) all.push_back(m != 0);
  return all;
}

std::vector<double> Compactor::norms() const {
  const int64_t c = channels();
  std::vector<double> all;
  for (int64_t i = 0; i < c; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < c; ++j) sum += std::pow(double{weight.data()[i * c + j]}, 2);
    all.push_back(std::sqrt(sum));
  }
  return all;
}

void Compactor::merge(nn::Conv2d& conv) {
  nn::BatchNorm2d& bn = batch_norm();
  const int64_t c = channels(), each = conv.weight.numel() / c;
  Tensor merged = Tensor::zeros(conv.weight.shape()), bias = Tensor::zeros({c});
  std::vector<double> row(static_cast<size_t>(each));
  for (int64_t i = 0; i < c; ++i) {
    std::fill(row.begin(), row.end(), 0.0);
    double shift = 0;
    for (int64_t j = 0; j < c && mask.data()[i] != 0; ++j) {
      const double k = weight.data()[i * c + j];
      const double a =
          bn.weight.data()[j] / std::sqrt(double{bn.running_var.data()[j]} + bn.opt.eps);
      const double b = conv.bias ? conv.bias.data()[j] : 0.0;
      shift += k * (a * (b - bn.running_mean.data()[j]) + bn.bias.data()[j]);
      for (int64_t e = 0; e < each; ++e) {
        row[static_cast<size_t>(e)] += k * a * conv.weight.data()[j * each + e];
      }
    }
    std::copy(row.begin(), row.end(), merged.data() + i * each);
    bias.data()[i] = static_cast<float>(shift);
  }
  conv.weight.copy_(merged);
  if (conv.bias) conv.bias.fill_(0);
  // The shift stays with the batch norm, which divides by sqrt(1 - eps + eps).
  bn.weight.fill_(1);
  bn.bias.copy_(bias);
  bn.running_mean.fill_(0);
  bn.running_var.fill_(1 - bn.opt.eps);
}

ResRep::ResRep(nn::Layer& model, Structure structure, const ResRepOptions& options)
    : options_(options),
      structure_(std::move(structure)),
      cost_(structure_),
      all_(cost_(structure_.keep_all()).macs) {
  PARE_CHECK(options_.target > 0 && options_.target <= 1,
             "resrep: the target must be above 0 and at most 1, got ", options_.target);
  std::map<std::string, int> group_at;
  for (const GatePlace& p : gate_places(structure_)) group_at[p.norm] = p.group;
  for (Gate* gate : gates(model)) {
    auto* c = dynamic_cast<Compactor*>(gate);
    if (!c) continue;
    const auto it = group_at.find(c->path);
    PARE_CHECK(it != group_at.end(), "resrep: the compactor at ", c->path, " is of another model");
    compactors_.push_back(c);
    groups_.push_back(it->second);
  }
  PARE_CHECK(!compactors_.empty(), "resrep: the model has no compactors");
}

/// Rows that may go, the smallest first; each compactor keeps its largest ones.
std::vector<ResRep::Row> ResRep::forgettable() const {
  const auto smaller = [](const Row& a, const Row& b) { return a.norm < b.norm; };
  std::vector<Row> rows;
  for (size_t c = 0; c < compactors_.size(); ++c) {
    const std::vector<double> norms = compactors_[c]->norms();
    std::vector<Row> own;
    for (size_t i = 0; i < norms.size(); ++i) own.push_back({norms[i], c, i});
    std::stable_sort(own.begin(), own.end(), smaller);
    own.resize(static_cast<size_t>(
        std::max<int64_t>(0, static_cast<int64_t>(own.size()) - options_.min_channels)));
    rows.insert(rows.end(), own.begin(), own.end());
  }
  std::stable_sort(rows.begin(), rows.end(), smaller);
  return rows;
}

double ResRep::cost_without(const std::vector<Row>& rows, size_t count) const {
  Keep keep = structure_.keep_all();
  for (size_t i = 0; i < count; ++i) {
    const int unit = structure_.group(groups_[rows[i].owner]).units[rows[i].index];
    keep[static_cast<size_t>(unit)] = false;
  }
  return cost_(keep).macs;
}

void ResRep::choose(double progress) {
  const double span = std::max(options_.until - options_.from, kTiny);
  const double done = std::clamp((progress - options_.from) / span, 0.0, 1.0);
  const double goal = all_ * (1 - (1 - options_.target) * done);
  const std::vector<Row> rows = forgettable();
  size_t low = 0, high = rows.size();  // the fewest rows that reach the goal, or all
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (cost_without(rows, middle) <= goal) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  for (Compactor* c : compactors_) c->mask.fill_(1);
  for (size_t i = 0; i < high; ++i) {
    compactors_[rows[i].owner]->mask.data()[rows[i].index] = 0;
  }
}

void ResRep::reset_gradients(double progress) {
  if (progress >= options_.from) choose(progress);
  for (Compactor* c : compactors_) {
    Tensor grad = c->weight.grad();
    if (!grad) continue;
    grad = grad.clone();
    const std::vector<double> norms = c->norms();
    const int64_t width = c->channels();
    for (int64_t at = 0; at < grad.numel(); ++at) {
      const auto row = static_cast<size_t>(at / width);
      const double pull = options_.lambda * c->weight.data()[at] / std::max(norms[row], kTiny);
      grad.data()[at] = grad.data()[at] * c->mask.data()[row] + static_cast<float>(pull);
    }
    c->weight.set_grad(grad);
  }
}

}  // namespace pare::prune
