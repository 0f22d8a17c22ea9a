#include "prune/apply.h"

#include <algorithm>
#include <map>

#include "core/autograd.h"
#include "nn/state.h"
#include "prune/cells.h"
#include "prune/resize.h"

namespace pare::prune {

namespace {

using nn::Channels;
using Axis = Channels::Axis;
using Index = std::vector<int64_t>;

/// Units of the small model -> those of the big one.
std::vector<int> match_units(const Structure& big, const Structure& small, const Keep& keep) {
  std::map<std::string, std::vector<int>> free;
  const std::vector<std::string> in_big = cells(big), in_small = cells(small);
  for (size_t u = in_big.size(); u-- > 0;) {
    if (keep[u]) free[in_big[u]].push_back(static_cast<int>(u));  // the lowest comes out first
  }
  std::vector<int> to_big;
  for (const std::string& cell : in_small) {
    std::vector<int>& left = free[cell];
    PARE_CHECK(!left.empty(), "prune: the plan does not fit the groups of the convolutions",
               hint("equally many channels must stay in each group, behind shuffles too"));
    to_big.push_back(left.back());
    left.pop_back();
  }
  return to_big;
}

/// By index of the small axis: the index of the big one that holds the same unit, the n-th time if
/// this is its n-th.
Index match_axis(const std::vector<int>& big, const std::vector<int>& small,
                 const std::vector<int>& to_big) {
  std::map<int, Index> places;
  for (size_t i = big.size(); i-- > 0;) places[big[i]].push_back(static_cast<int64_t>(i));
  Index from;
  for (int u : small) {
    Index& left = places.at(to_big[static_cast<size_t>(u)]);
    PARE_CHECK(!left.empty(), "prune: a channel is used once more than before");
    from.push_back(left.back());
    left.pop_back();
  }
  return from;
}

Index kept_indices(const std::vector<int>& units, const Keep& keep) {
  Index from;
  for (size_t i = 0; i < units.size(); ++i) {
    if (keep[static_cast<size_t>(units[i])]) from.push_back(static_cast<int64_t>(i));
  }
  return from;
}

/// Where the numbers of a smaller tensor are in the big one.
class Cut {
 public:
  struct AxisMap {
    int axis, groups;
    Index from;
  };
  Cut(const Tensor& big, Tensor small, std::string name)
      : big_(big), small_(std::move(small)), name_(std::move(name)) {}
  void add(AxisMap map) { maps_.push_back(std::move(map)); }

  void copy() {
    const Shape& s = small_.shape();
    for (int64_t at = 0; at < s.numel(); ++at) small_.data()[at] = big_.data()[source(at)];
  }

 private:
  int64_t source(int64_t at) const {
    const Shape &s = small_.shape(), &b = big_.shape();
    int64_t rest = at, offset = 0, stride = 1;
    const int64_t row = at / (s.numel() / s.dim(0));
    for (int d = s.dims() - 1; d >= 0; --d) {
      offset += index(d, rest % s.dim(d), row) * stride;
      rest /= s.dim(d);
      stride *= b.dim(d);
    }
    return offset;
  }

  int64_t index(int dim, int64_t i, int64_t row) const {
    for (const AxisMap& m : maps_) {
      if (m.axis != dim) continue;
      if (m.groups == 1) return m.from[static_cast<size_t>(i)];
      const int64_t group = row / (small_.dim(0) / m.groups);
      const int64_t there = m.from[static_cast<size_t>(group * small_.dim(dim) + i)];
      PARE_CHECK(there / big_.dim(dim) == group, "prune: ", name_,
                 ": a channel would move to another group");
      return there % big_.dim(dim);
    }
    return i;
  }

  const Tensor& big_;
  Tensor small_;
  std::string name_;
  std::vector<AxisMap> maps_;
};

/// Fills the small model, axis by axis: from[a] says where the indices of axis a come from.
void fill(const Structure& big, const std::vector<Index>& from, nn::Layer& small) {
  std::map<std::string, Tensor> own = nn::state_dict(small);
  std::map<std::string, Cut> cuts;
  for (size_t a = 0; a < from.size(); ++a) {
    const Axis& axis = big.channels.axes[a];
    const nn::Graph::Node& t = big.graph[axis.tensor];
    auto it = cuts.find(t.name);
    if (it == cuts.end()) it = cuts.emplace(t.name, Cut(t.tensor, own.at(t.name), t.name)).first;
    it->second.add({axis.axis, axis.groups, from[a]});
  }
  for (auto& [name, cut] : cuts) cut.copy();
}

/// Without blocks channels keep their order; with them, the small model's graph says where each
/// one belongs.
std::vector<Index> sources(const Structure& big, const Keep& keep, nn::Layer& small,
                           const Tensor& example) {
  std::vector<Index> from;
  if (big.channels.blocks.empty()) {
    for (const Axis& a : big.channels.axes) from.push_back(kept_indices(a.units, keep));
    return from;
  }
  const Structure now(small, example);
  PARE_CHECK(now.channels.axes.size() == big.channels.axes.size(),
             "prune: the plan changes what the model computes");
  const std::vector<int> to_big = match_units(big, now, keep);
  for (size_t a = 0; a < big.channels.axes.size(); ++a) {
    from.push_back(match_axis(big.channels.axes[a].units, now.channels.axes[a].units, to_big));
  }
  return from;
}

}  // namespace

nn::Layer apply(const Plan& plan, const nn::Layer& model, const Tensor& example) {
  nn::Layer traced = model;
  const Structure big(traced, example);
  const Keep keep = keep_of(plan, big);
  nn::Layer small = resized(traced, big, keep);
  fill(big, sources(big, keep, small, example), small);
  try {
    const nn::EvalMode eval(small);
    const NoGrad guard;
    small(example).data();
  } catch (const Error& e) {
    throw Error(str("prune: the pruned model does not run: ", e.what(),
                    hint("is a number of channels written in the model's code?")),
                "apply");
  }
  return small;
}

void silence(const Plan& plan, nn::Layer& model, const Tensor& example) {
  const Structure s(model, example);
  const Keep keep = keep_of(plan, s);
  for (const Axis& a : s.channels.axes) {
    if (a.role == Channels::Role::in) continue;
    const nn::Graph::Node& n = s.graph[a.tensor];
    const std::string variance = "running_var";
    if (n.op == nn::Graph::kBuffer && n.name.ends_with(variance)) continue;
    Tensor t = n.tensor;
    const int64_t size = t.dim(a.axis), rows = t.dim(0) / a.groups;
    int64_t inner = 1;
    for (int d = a.axis + 1; d < t.dims(); ++d) inner *= t.dim(d);
    for (int64_t at = 0; at < t.numel(); ++at) {
      const int64_t group = a.groups == 1 ? 0 : at / (t.numel() / t.dim(0)) / rows;
      const auto index = static_cast<size_t>(group * size + at / inner % size);
      if (!keep[static_cast<size_t>(a.units[index])]) t.data()[at] = 0;
    }
  }
}

}  // namespace pare::prune
