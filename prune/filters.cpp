#include "prune/filters.h"

namespace pare::prune {

namespace {

using Axis = nn::Channels::Axis;

/// Transposed weights [in, kh, kw, out/groups]: filter i of group g is column i of the rows of g.
Tensor gather(const Tensor& w, const Axis& a) {
  const int64_t size = w.dim(a.axis), rows = w.numel() / size / a.groups;
  Tensor y = Tensor::uninit({size * a.groups, rows});
  for (int64_t f = 0; f < y.dim(0); ++f) {
    const int64_t group = f / size, column = f % size;
    for (int64_t r = 0; r < rows; ++r) {
      y.data()[f * rows + r] = w.data()[(group * rows + r) * size + column];
    }
  }
  return y;
}

}  // namespace

std::vector<Filters> filters(const Structure& s) {
  std::vector<Filters> all;
  for (const Axis& a : s.channels.axes) {
    const nn::Graph::Node& n = s.graph[a.tensor];
    const bool in_socket = n.name.find("weight_fn.") != std::string::npos;
    if (a.role != nn::Channels::Role::out || in_socket) continue;
    const Tensor& w = n.tensor;
    all.push_back({&a, a.axis == 0 ? w.view({w.dim(0), w.numel() / w.dim(0)}) : gather(w, a)});
  }
  return all;
}

Scores score_filters(const Structure& structure,
                     const std::function<double(std::span<const float>)>& score) {
  ScoreMean mean(structure);
  for (const Filters& f : filters(structure)) {
    const auto length = static_cast<size_t>(f.rows.dim(1));
    for (size_t i = 0; i < f.axis->units.size(); ++i) {
      mean.add(f.axis->units[i], score(f.rows.span().subspan(i * length, length)));
    }
  }
  return mean.scores("no filters make its channels");
}

}  // namespace pare::prune
