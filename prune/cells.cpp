#include "prune/cells.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "prune/resize.h"

namespace pare::prune {

using nn::Channels;

std::vector<std::string> cells(const Structure& s) {
  std::vector<std::string> of(static_cast<size_t>(s.channels.units));
  // Groups are numbered by their units, which a smaller model has in another order: their makers
  // tell them apart in both.
  for (const Channels::Axis& a : s.channels.axes) {
    if (a.role != Channels::Role::out) continue;
    const std::string maker = str(s.graph[a.tensor].name, ":", a.axis, " ");
    for (int u : std::set<int>(a.units.begin(), a.units.end())) of[static_cast<size_t>(u)] += maker;
  }
  for (size_t u = 0; u < of.size(); ++u) {
    of[u] += s.group(s.group_of(static_cast<int>(u))).kept_because;
  }
  for (size_t b = 0; b < s.channels.blocks.size(); ++b) {
    const Channels::Blocks& blocks = s.channels.blocks[b];
    for (size_t i = 0; i < blocks.units.size(); ++i) {
      for (int u : blocks.units[i]) of[static_cast<size_t>(u)] += str(" ", b, "/", i);
    }
  }
  return of;
}

std::map<std::string, int64_t> cell_sizes(const nn::Layer& model, const Tensor& example,
                                          const Structure& s, const Keep& keep) {
  nn::Layer small = resized(model, s, keep);
  std::map<std::string, int64_t> sizes;
  for (const std::string& cell : cells(Structure(small, example))) ++sizes[cell];
  return sizes;
}

namespace {

/// Blocks of the channels that a convolution reads, not of those it makes.
bool is_read(const Structure& s, const Channels::Blocks& b) {
  if (s.graph[b.node].op == "channel_shuffle") return false;
  std::vector<int> all;
  for (const std::vector<int>& block : b.units) all.insert(all.end(), block.begin(), block.end());
  return all != s.channels.of[static_cast<size_t>(b.node)];
}

}  // namespace

std::vector<BlockRule> block_rules(const Structure& s) {
  std::vector<BlockRule> rules(static_cast<size_t>(s.groups()));
  for (const Channels::Blocks& b : s.channels.blocks) {
    std::set<int> units, groups;
    size_t count = 0;
    for (const std::vector<int>& block : b.units) {
      units.insert(block.begin(), block.end());
      count += block.size();
    }
    for (int u : units) groups.insert(s.group_of(u));
    const bool alone = groups.size() == 1 && units.size() == count &&
                       s.group(*groups.begin()).units.size() == count;
    const auto size = static_cast<int64_t>(b.units.size());
    for (int g : groups) {
      BlockRule& rule = rules[static_cast<size_t>(g)];
      if (!alone) {
        rule.obstacle = "shares the groups of " + s.graph[b.node].name + " with other layers";
      }
      rule.multiple = std::lcm(rule.multiple, size);
      // With one channel in each group it would be a depthwise convolution, which is another thing.
      rule.least = std::max(rule.least, is_read(s, b) ? 2 * size : size);
    }
  }
  return rules;
}

}  // namespace pare::prune
