#include "nn/trace_channels.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "nn/text.h"
#include "nn/trace_rules.h"

namespace pare::nn {

using Role = Channels::Role;

namespace {

/// Whether a tensor of shape `s` is broadcast to `whole`, axis by axis, or is a single number.
bool stretches(const Shape& s, const Shape& whole) {
  if (s.numel() <= 1) return true;
  if (s.dims() != whole.dims()) return false;
  for (int i = 0; i < s.dims(); ++i) {
    if (s.dim(i) != 1 && s.dim(i) != whole.dim(i)) return false;
  }
  return true;
}

}  // namespace

ChannelFlow::ChannelFlow(const Graph& graph)
    : graph_(graph), static_(graph.nodes.size(), true), lists_(graph.nodes.size()) {
  static_[static_cast<size_t>(graph.input)] = false;
  for (int i = 0; i < graph.size(); ++i) {
    for (int from : graph[i].inputs) {
      if (from != Graph::kNone && !is_static(from)) static_[static_cast<size_t>(i)] = false;
    }
  }
  const Shape& shape = graph[graph.input].shape;
  for (int i = 0; i < graph.size(); ++i) {
    if (is_static(i)) continue;
    lists_[static_cast<size_t>(i)] = i == graph.input
                                         ? make_kept(shape.dim(-1), "channels of the input")
                                         : channel_rule(graph[i])(*this, i);
  }
  if (!is_static(graph.output)) keep(of(graph.output), "channels of the output");
}

ChannelList ChannelFlow::make(int64_t count) {
  ChannelList list;
  list.ids.resize(static_cast<size_t>(count));
  std::iota(list.ids.begin(), list.ids.end(), static_cast<int>(parent_.size()));
  parent_.insert(parent_.end(), list.ids.begin(), list.ids.end());
  return list;
}

ChannelList ChannelFlow::make_kept(int64_t count, const std::string& because) {
  ChannelList list = make(count);
  keep(list, because);
  return list;
}

void ChannelFlow::keep(const ChannelList& list, const std::string& because) {
  for (int id : list.ids) kept_.push_back({id, because});
}

int ChannelFlow::find(int id) {
  int& up = parent_[static_cast<size_t>(id)];
  if (up != id) up = find(up);
  return up;
}

void ChannelFlow::tie(const ChannelList& a, const ChannelList& b) {
  PARE_DCHECK(a.size() == b.size(), "channels: ", a.size(), " tied to ", b.size());
  for (size_t i = 0; i < a.ids.size(); ++i) {
    const int p = find(a.ids[i]), q = find(b.ids[i]);
    parent_[static_cast<size_t>(std::max(p, q))] = std::min(p, q);
  }
}

void ChannelFlow::blocks(int node, const ChannelList& list, int64_t count) {
  if (count > 1) cuts_.push_back({node, list, count});
}

std::vector<int> ChannelFlow::tensors_behind(int value) const {
  std::set<int> seen, tensors;
  std::vector<int> open{value};
  while (!open.empty()) {
    const int i = open.back();
    open.pop_back();
    if (i == Graph::kNone || !seen.insert(i).second) continue;
    if (graph_[i].is_tensor()) tensors.insert(i);
    open.insert(open.end(), graph_[i].inputs.begin(), graph_[i].inputs.end());
    open.insert(open.end(), graph_[i].state.begin(), graph_[i].state.end());
  }
  return {tensors.begin(), tensors.end()};
}

void ChannelFlow::hold(const Hold& h, const ChannelList& list, int user) {
  const Shape& whole = graph_[h.value].shape;
  for (int t : tensors_behind(h.value)) {
    const Shape& s = graph_[t].shape;
    const bool same_axis = s.dims() == whole.dims() && s.dim(h.axis) == whole.dim(h.axis);
    // One scale per filter, as quantizers have them.
    const bool per_filter = s.dims() == 1 && h.role != Role::in && s.numel() == list.size();
    if (same_axis && s == whole) {
      hold_tensor(t, h.axis, h, list, user);
    } else if (same_axis && s.numel() > 1) {
      hold_tensor(t, h.axis, {h.value, h.axis, Role::each, h.groups}, list, user);
    } else if (per_filter && whole.dims() > 1) {
      hold_tensor(t, 0, {h.value, 0, Role::each}, list, user);
    } else if (h.role != Role::in && !stretches(s, whole)) {
      keep(list, "depends on " + graph_[t].name + " " + s.str());
    }
  }
}

void ChannelFlow::hold_tensor(int tensor, int axis, const Hold& h, const ChannelList& list,
                              int user) {
  const Graph::Node& t = graph_[tensor];
  if (t.op == Graph::kConstant) return keep(list, "depends on the constant " + t.name);
  const auto [it, added] = axis_at_.try_emplace({tensor, axis}, axes_.size());
  if (added) {
    axes_.push_back({{.tensor = tensor, .axis = axis, .role = h.role, .groups = h.groups}, list});
    axes_.back().axis.users.push_back(user);
    return;
  }
  AxisList& known = axes_[it->second];  // a tensor used twice
  std::vector<int>& users = known.axis.users;
  if (std::find(users.begin(), users.end(), user) == users.end()) users.push_back(user);
  if (known.list.size() == list.size() && known.axis.groups == h.groups) {
    tie(known.list, list);
  } else {
    for (const ChannelList& each : {known.list, list}) {
      keep(each, t.name + " is used in two ways");
    }
  }
}

ChannelList ChannelFlow::unknown(int i, const std::string& because) {
  for (int from : node(i).inputs) {
    if (from == Graph::kNone) continue;
    if (!is_static(from)) {
      keep(of(from), because);
      continue;
    }
    for (int t : tensors_behind(from)) frozen_.emplace(t, because);
  }
  const Shape& shape = node(i).shape;
  return make_kept(shape.dims() > 0 ? shape.dim(-1) : 1, because);
}

Channels ChannelFlow::finish() {
  Channels out;
  for (const AxisList& a : axes_) {
    if (const auto it = frozen_.find(a.axis.tensor); it != frozen_.end()) keep(a.list, it->second);
  }
  number_units(out);
  for (AxisList& a : axes_) {
    a.axis.units = units_of(a.list);
    out.axes.push_back(std::move(a.axis));
  }
  group_units(out);
  for (const Cut& c : cuts_) {
    const std::vector<int> units = units_of(c.list);
    const auto length = static_cast<int64_t>(units.size()) / c.count;
    Channels::Blocks b{.node = c.node};
    for (auto at = units.begin(); at != units.end(); at += length) {
      b.units.emplace_back(at, at + length);
    }
    const bool any =
        std::any_of(units.begin(), units.end(), [&](int u) { return out.removable(u); });
    if (any) out.blocks.push_back(std::move(b));
  }
  for (const ChannelList& list : lists_) out.of.push_back(units_of(list));
  return out;
}

void ChannelFlow::number_units(Channels& out) {
  unit_.assign(parent_.size(), -1);
  for (size_t id = 0; id < parent_.size(); ++id) {
    // The root is the smallest of its set, so it has its number already.
    const auto root = static_cast<size_t>(find(static_cast<int>(id)));
    unit_[id] = root == id ? out.units++ : unit_[root];
  }
}

std::vector<int> ChannelFlow::units_of(const ChannelList& list) {
  std::vector<int> units;
  for (int id : list.ids) units.push_back(unit_[static_cast<size_t>(id)]);
  return units;
}

void ChannelFlow::group_units(Channels& out) {
  const auto count = static_cast<size_t>(out.units);
  std::vector<std::set<int>> makers(count);  // axes
  std::vector<std::string> because(count);
  for (size_t a = 0; a < out.axes.size(); ++a) {
    if (out.axes[a].role != Role::out) continue;
    for (int unit : out.axes[a].units)
      makers[static_cast<size_t>(unit)].insert(static_cast<int>(a));
  }
  for (const Kept& k : kept_) {
    std::string& reason = because[static_cast<size_t>(unit_[static_cast<size_t>(k.id)])];
    if (reason.empty()) reason = k.because;
  }
  std::map<std::pair<std::set<int>, std::string>, int> known;
  for (size_t unit = 0; unit < count; ++unit) {
    const auto [it, added] =
        known.try_emplace({makers[unit], because[unit]}, static_cast<int>(out.groups.size()));
    if (added) {
      Channels::Group group{.kept_because = because[unit]};
      std::set<int> nodes;
      for (int a : makers[unit]) {
        const std::vector<int>& users = out.axes[static_cast<size_t>(a)].users;
        nodes.insert(users.begin(), users.end());
      }
      group.makers.assign(nodes.begin(), nodes.end());
      out.groups.push_back(std::move(group));
    }
    out.groups[static_cast<size_t>(it->second)].units.push_back(static_cast<int>(unit));
    out.group_of.push_back(it->second);
  }
}

bool Channels::removable(int unit) const {
  const int group = group_of[static_cast<size_t>(unit)];
  return groups[static_cast<size_t>(group)].kept_because.empty();
}

Channels channels(const Graph& graph) { return ChannelFlow(graph).finish(); }

namespace {

/// The nodes that use an axis of this role with units of the group, but for those in `but`.
std::set<int> users(const Channels& c, size_t group, Role role, const std::set<int>& but = {}) {
  std::set<int> nodes;
  for (const Channels::Axis& a : c.axes) {
    const bool here = std::any_of(a.units.begin(), a.units.end(), [&](int u) {
      return c.group_of[static_cast<size_t>(u)] == static_cast<int>(group);
    });
    if (a.role == role && here) nodes.insert(a.users.begin(), a.users.end());
  }
  for (int i : but) nodes.erase(i);
  return nodes;
}

/// "conv1, layer1.0.conv2, layer1.1.conv2 and 4 more"
std::string names(const Graph& graph, const std::set<int>& nodes) {
  constexpr size_t kShown = 3;
  std::string text;
  for (size_t shown = 0; int i : nodes) {
    if (shown++ == kShown) return str(text, " and ", nodes.size() - kShown, " more");
    text += (text.empty() ? "" : ", ") + graph[i].name;
  }
  return text.empty() ? "-" : text;
}

}  // namespace

std::string table(const Graph& graph, const Channels& c) {
  std::vector<std::vector<std::string>> rows{
      {"channels", "made by", "also in", "read by", "removable"}};
  for (size_t g = 0; g < c.groups.size(); ++g) {
    const Channels::Group& group = c.groups[g];
    const std::set<int> makers = users(c, g, Role::out);
    rows.push_back({std::to_string(group.units.size()), names(graph, makers),
                    names(graph, users(c, g, Role::each, makers)),
                    names(graph, users(c, g, Role::in)),
                    group.kept_because.empty() ? "yes" : "no: " + group.kept_because});
  }
  std::string text = columns(rows);
  std::set<std::string> said;
  for (const Channels::Blocks& b : c.blocks) {
    const std::string line = str(graph[b.node].name, ": ", b.units.size(), " blocks of ",
                                 b.units[0].size(), " channels, equally many stay in each\n");
    if (said.insert(line).second) text += line;
  }
  return text;
}

}  // namespace pare::nn
