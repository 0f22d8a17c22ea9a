// Quantizers where their codes begin, once each.

#include <algorithm>

#include "deploy/lower_graph.h"

namespace pare::deploy {

namespace {

using Kind = Node::Kind;

bool same_codes(const Node& a, const Node& b) {
  const nn::Codes &x = *a.codes, &y = *b.codes;
  return a.levels == b.levels && x.kind == y.kind && x.lo == y.lo && x.hi == y.hi &&
         x.spacing == y.spacing && x.share == y.share && x.scale == y.scale && x.zero == y.zero &&
         x.rounding == y.rounding && x.shift_first == y.shift_first &&
         x.input_scale == y.input_scale && x.threshold == y.threshold;
}

bool is_quantizer(const Node& n) { return n.kind == Kind::quantize; }

/// Every reader of `from` reads `to` instead.
void redirect(Network& net, int from, int to) {
  for (Node& n : net.nodes) std::replace(n.inputs.begin(), n.inputs.end(), from, to);
  if (net.output == from) net.output = to;
}

bool merge_equal(Network& net) {
  for (int i = 0; i < net.size(); ++i) {
    if (!is_quantizer(net[i]) || (net.users(i).empty() && i != net.output)) continue;
    for (int j = i + 1; j < net.size(); ++j) {
      if (!is_quantizer(net[j]) || net[j].inputs != net[i].inputs) continue;
      if (!same_codes(net[i], net[j]) || (net.users(j).empty() && j != net.output)) continue;
      redirect(net, j, i);
      net[j].inputs.clear();  // nobody reads it, so it is no user of what it read
      return true;
    }
  }
  return false;
}

/// quantize(move(x)) -> move(quantize(x)), the largest of codes being the code of the largest.
bool move_up(Network& net) {
  for (int q = 0; q < net.size(); ++q) {
    if (!is_quantizer(net[q]) || (net.users(q).empty() && q != net.output)) continue;
    const int m = net[q].inputs[0];
    const bool signs = net[q].codes->kind == nn::Codes::Kind::binary;
    if (!net[m].moves() || net.users(m).size() != 1 || m == net.output) continue;
    if (signs && net[m].kind == Kind::pad) continue;  // there is no sign for zero
    const Node& in = net[net[m].inputs[0]];
    if (signs && net[m].kind == Kind::flatten && in.h * in.w != 1) continue;
    // The two change places and numbers, so that inputs still come first.
    Node quantizer = net[q], mover = net[m];
    const Node& source = net[mover.inputs[0]];
    quantizer.inputs = mover.inputs;
    quantizer.h = source.h, quantizer.w = source.w, quantizer.c = source.c;
    mover.inputs = {m};
    net[m] = std::move(quantizer);
    net[q] = std::move(mover);
    return true;
  }
  return false;
}

}  // namespace

void hoist_quantizers(Network& net) {
  while (merge_equal(net) || move_up(net)) {
  }
}

}  // namespace pare::deploy
