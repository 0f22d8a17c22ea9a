#include "deploy/lower_graph.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "core/error.h"

namespace pare::deploy {

namespace {

using nn::Graph;
using Kind = Node::Kind;

const nn::Coded* coded(const Graph::Node& n) { return dynamic_cast<const nn::Coded*>(n.module); }

/// Reads one trace, node by node.
class Reader {
 public:
  explicit Reader(const nn::TracedValues& traced) : traced_(traced), graph_(traced.graph) {}

  Network run() {
    at_.assign(static_cast<size_t>(graph_.size()), Graph::kNone);
    for (int i = 0; i < graph_.size(); ++i) {
      if (!graph_[i].is_tensor() && !of_weight(i)) at_[static_cast<size_t>(i)] = read(i);
    }
    net_.output = at(graph_.output);
    return std::move(net_);
  }

 private:
  const Tensor& value(int i) const { return traced_.values[static_cast<size_t>(i)]; }
  int at(int i) const { return at_[static_cast<size_t>(i)]; }

  /// Whether a node is computed from parameters alone.
  bool of_weight(int i) {
    const auto [it, added] = of_weight_.emplace(i, false);
    if (!added) return it->second;
    const Graph::Node& n = graph_[i];
    const bool yes =
        n.op != Graph::kInput && std::all_of(n.inputs.begin(), n.inputs.end(), [&](int from) {
          return from == Graph::kNone || graph_[from].is_tensor() || of_weight(from);
        });
    return of_weight_[i] = yes;
  }

  [[noreturn]] void refuse(const Graph::Node& n, const std::string& why) const {
    throw Error(str("lower: ", n.name, " (", n.op, "): ", why), "lower");
  }

  int add(Node node) {
    net_.nodes.push_back(std::move(node));
    return net_.size() - 1;
  }

  Node like(int i, Kind kind) const {
    const Graph::Node& n = graph_[i];
    const Shape& s = n.shape;
    Node node{.name = n.name, .kind = kind};
    if (s.dims() == 4) {
      node.h = static_cast<int32_t>(s.dim(1)), node.w = static_cast<int32_t>(s.dim(2));
    } else if (s.dims() != 2) {
      refuse(n, str("a value of shape ", s, " is no image and no row of features"));
    }
    node.c = static_cast<int32_t>(s.dim(-1));
    for (int from : n.inputs) {
      if (from != Graph::kNone && at(from) != Graph::kNone) node.inputs.push_back(at(from));
    }
    return node;
  }

  int read(int i) {
    const Graph::Node& n = graph_[i];
    if (coded(n)) return quantizer(i);
    if (n.op == Graph::kInput) return add(like(i, Kind::input));
    if (n.op == "conv2d" || n.op == "linear") return conv(i);
    if (n.op == "batch_norm") return batch_norm(i);
    if (n.op == "max_pool2d" || n.op == "avg_pool2d") return pool(i);
    if (n.op == "mean") return mean(i);
    if (n.op == "add" || n.op == "sub" || n.op == "mul" || n.op == "div") return arithmetic(i);
    if (n.op == "reshape") return reshape(i);
    if (n.op == "flatten") return add(like(i, Kind::flatten));
    if (n.op == "concat") return concat(i);
    if (n.op == "channel_shuffle") {
      Node node = like(i, Kind::shuffle);
      node.groups = static_cast<int32_t>(n.get<int64_t>("groups"));
      return add(std::move(node));
    }
    if (n.op == "pad") return pad(i);
    return pointwise(i);
  }

  int quantizer(int i) {
    const Graph::Node& n = graph_[i];
    const int from = graph_.input_of(i, 0);
    // Of several ops in one quantizer the last one gives codes.
    const bool last = std::none_of(n.users.begin(), n.users.end(),
                                   [&](int user) { return graph_[user].module == n.module; });
    if (!last) return at(from);
    Node node = like(i, Kind::quantize);
    node.codes = coded(n)->codes_for({});
    node.levels = n.op == "quantize" || n.op == "relu_quantize";
    return add(std::move(node));
  }

  int conv(int i) {
    const Graph::Node& n = graph_[i];
    Node node = like(i, Kind::conv);
    const int w = graph_.input_of(i, 1), b = graph_.input_of(i, 2);
    if (node.inputs.size() != 1) refuse(n, "its weights are computed from the image");
    node.weight = value(w);
    if (b != Graph::kNone) node.bias = value(b);
    if (const nn::Coded* quantizer = coded(graph_[w])) node.codes = quantizer->codes_for(value(w));
    if (n.op == "conv2d") {
      const Hw stride = n.get<Hw>("stride"), p = n.get<Hw>("pad"), d = n.get<Hw>("dilation");
      node.window = {static_cast<int32_t>(node.weight.dim(1)),
                     static_cast<int32_t>(node.weight.dim(2)),
                     stride.h,
                     stride.w,
                     p.h,
                     p.w,
                     d.h,
                     d.w};
      node.groups = static_cast<int32_t>(n.get<int64_t>("groups"));
    }
    return add(std::move(node));
  }

  int batch_norm(int i) {
    const Graph::Node& n = graph_[i];
    Node node = like(i, Kind::affine);
    const Tensor &mean = value(n.state.at(0)), &var = value(n.state.at(1));
    const int g = graph_.input_of(i, 1), b = graph_.input_of(i, 2);
    const double eps = n.get<float>("eps");
    for (int64_t c = 0; c < node.c; ++c) {  // as core/ops/batch_norm.cpp rounds it
      const auto inv = static_cast<float>(1.0 / std::sqrt(double{var.data()[c]} + eps));
      const float scale = g == Graph::kNone ? inv : value(g).data()[c] * inv;
      node.scale.push_back(scale);
      node.shift.push_back((b == Graph::kNone ? 0.0f : value(b).data()[c]) -
                           mean.data()[c] * scale);
    }
    return add(std::move(node));
  }

  int pool(int i) {
    const Graph::Node& n = graph_[i];
    Node node = like(i, n.op == "max_pool2d" ? Kind::max_pool : Kind::avg_pool);
    const Hw kernel = n.get<Hw>("kernel"), stride = n.get<Hw>("stride"), p = n.get<Hw>("pad");
    node.window = {kernel.h, kernel.w, stride.h, stride.w, p.h, p.w};
    if (node.kind == Kind::avg_pool) {
      node.window.count_pad = n.get<bool>("count_include_pad");
      if (n.get<bool>("ceil_mode") && node.window.count_pad) {
        refuse(n, "ceil_mode with padding that counts is not supported");
      }
    }
    return add(std::move(node));
  }

  int mean(int i) {
    const Graph::Node& n = graph_[i];
    Node node = like(i, Kind::avg_pool);
    const Node& from = net_[node.inputs.at(0)];
    if (node.h != 1 || node.w != 1 || node.c != from.c) refuse(n, "only means over an image");
    node.window = {from.h, from.w};
    return add(std::move(node));
  }

  /// With another value, or with numbers for each channel or all of them.
  int arithmetic(int i) {
    const Graph::Node& n = graph_[i];
    Node node = like(i, Kind::add);
    if (node.inputs.size() == 2) {
      if (n.op == "mul") return gate(std::move(node), n);
      if (n.op != "add" || net_[node.inputs[0]].c != net_[node.inputs[1]].c ||
          net_[node.inputs[0]].h != net_[node.inputs[1]].h) {
        refuse(n, "only sums of two images of the same size, and products with one pixel");
      }
      return add(std::move(node));
    }
    node.kind = Kind::affine;
    const Attribute* number = n.find("value");
    const int left = graph_.input_of(i, 0), right = graph_.input_of(i, 1);
    const int other = number ? Graph::kNone : at(left) == Graph::kNone ? left : right;
    if (other == Graph::kNone && !number) refuse(n, "is not supported");
    if (other == left && !number && n.op != "add" && n.op != "mul") refuse(n, "is not supported");
    const Tensor t = number ? Tensor::full({1}, n.get<float>("value")) : value(other);
    if (t.numel() != 1 && t.numel() != node.c) refuse(n, "numbers are not one for each channel");
    for (int64_t c = 0; c < node.c; ++c) {
      const float v = t.data()[t.numel() == 1 ? 0 : c];
      node.scale.push_back(n.op == "mul" ? v : n.op == "div" ? 1 / v : 1.0f);
      node.shift.push_back(n.op == "add" ? v : n.op == "sub" ? -v : 0.0f);
    }
    return add(std::move(node));
  }

  int gate(Node node, const Graph::Node& n) {
    node.kind = Kind::mul;
    if (net_[node.inputs[1]].h * net_[node.inputs[1]].w != 1) {
      std::swap(node.inputs[0], node.inputs[1]);
    }
    const Node &image = net_[node.inputs[0]], &pixel = net_[node.inputs[1]];
    if (pixel.h * pixel.w != 1 || image.c != pixel.c) refuse(n, "only products with one pixel");
    return add(std::move(node));
  }

  int reshape(int i) {
    const Graph::Node& n = graph_[i];
    Node node = like(i, Kind::flatten);
    const Node& from = net_[node.inputs.at(0)];
    if (from.h != 1 || from.w != 1 || node.h != 1 || node.w != 1 || from.c != node.c) {
      refuse(n, str("only [N, 1, 1, C] to [N, C] and back, got ", graph_[n.inputs[0]].shape, " to ",
                    n.shape));
    }
    return node.inputs[0];
  }

  int concat(int i) {
    if (graph_[i].get<int64_t>("axis") != 3) refuse(graph_[i], "only along channels");
    return add(like(i, Kind::concat));
  }

  int pad(int i) {
    const Graph::Node& n = graph_[i];
    if (n.get<int64_t>("axis") != 3 || n.get<float>("value") != 0) {
      refuse(n, "only zeros, along channels");
    }
    Node node = like(i, Kind::pad);
    node.pad_before = static_cast<int32_t>(n.get<int64_t>("before"));
    return add(std::move(node));
  }

  int pointwise(int i) {
    const Graph::Node& n = graph_[i];
    static const std::map<std::string, runtime::Function> functions = {
        {"leaky_relu", runtime::Function::leaky_relu},
        {"hard_swish", runtime::Function::hard_swish},
        {"silu", runtime::Function::silu},
        {"sigmoid", runtime::Function::sigmoid},
        {"tanh", runtime::Function::tanh}};
    if (n.op == "identity") return at(graph_.input_of(i, 0));
    Node node = like(i, Kind::clamp);
    if (n.op == "relu" || n.op == "relu6") {
      node.lo = 0;
      if (n.op == "relu6") node.hi = 6;
    } else if (n.op == "clamp") {
      node.lo = n.get<float>("lo"), node.hi = n.get<float>("hi");
    } else if (const auto it = functions.find(n.op); it != functions.end()) {
      node.kind = Kind::function;
      node.function = it->second;
      if (n.op == "leaky_relu") node.slope = n.get<float>("slope");
    } else if (n.op == "sign") {  // a nonlinearity of the model itself
      node.kind = Kind::quantize;
      node.codes = nn::Codes{.kind = nn::Codes::Kind::binary, .bits = 1, .lo = -1, .hi = 1};
    } else {
      refuse(n, "the runtime has no such op");
    }
    return add(std::move(node));
  }

  const nn::TracedValues& traced_;
  const Graph& graph_;
  Network net_;
  std::vector<int> at_;  // by node of the graph
  std::map<int, bool> of_weight_;
};

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

std::vector<int> Network::users(int i) const {
  std::vector<int> found;
  for (int j = i + 1; j < size(); ++j) {
    const std::vector<int>& in = (*this)[j].inputs;
    if (std::find(in.begin(), in.end(), i) != in.end()) found.push_back(j);
  }
  return found;
}

Network read_network(const nn::TracedValues& traced) { return Reader(traced).run(); }

void hoist_quantizers(Network& net) {
  while (merge_equal(net) || move_up(net)) {
  }
}

}  // namespace pare::deploy
