#include "prune/latency.h"

#include <algorithm>
#include <chrono>

#include "core/autograd.h"
#include "core/ops.h"

namespace pare::prune {

namespace {

using nn::Graph;

/// Half of the channels, in whole groups.
int64_t half(int64_t channels, int64_t groups) {
  return std::max(groups, channels / 2 / groups * groups);
}

int64_t groups_of(const Graph::Node& n) { return n.op == "linear" ? 1 : n.get<int64_t>("groups"); }

/// One layer with `in` and `out` channels, ready to be run, and its multiply-accumulates.
struct Work {
  std::function<void()> run;
  double macs;
};

Work work_of(const Graph& g, int node, int64_t batch, int64_t in, int64_t out, int64_t groups) {
  const Graph::Node& n = g[node];
  const Shape& given = g[g.input_of(node, 0)].shape;
  std::vector<int64_t> x_shape(given.begin(), given.end());
  x_shape.front() = batch, x_shape.back() = in;
  const Tensor x = Tensor::ones(Shape(x_shape));
  const auto positions = static_cast<double>(n.shape.numel() / n.shape.dim(0) / n.shape.dim(-1));
  const auto n_images = static_cast<double>(batch);
  if (n.op == "linear") {
    const Tensor w = Tensor::ones({out, in});
    return {[x, w] { linear(x, w).data(); }, n_images * positions * static_cast<double>(in * out)};
  }
  const Shape& weight = g[g.input_of(node, 1)].shape;
  const int64_t kh = weight.dim(1), kw = weight.dim(2);
  const auto per_position = static_cast<double>(kh * kw * in * out / groups);
  const int count = static_cast<int>(groups);
  if (n.op == "conv_transpose2d") {
    const Tensor w = Tensor::ones({in, kh, kw, out / groups});
    const ConvTransposeOptions o{.stride = n.get<Hw>("stride"),
                                 .pad = n.get<Hw>("pad"),
                                 .output_pad = n.get<Hw>("output_pad"),
                                 .dilation = n.get<Hw>("dilation"),
                                 .groups = count};
    const auto met = static_cast<double>(x.numel() / in);
    return {[=] { conv_transpose2d(x, w, {}, o).data(); }, met * per_position};
  }
  const Tensor w = Tensor::ones({out, kh, kw, in / groups});
  const ConvOptions o{.stride = n.get<Hw>("stride"),
                      .pad = n.get<Hw>("pad"),
                      .dilation = n.get<Hw>("dilation"),
                      .groups = count};
  return {[=] { conv2d(x, w, {}, o).data(); }, n_images * positions * per_position};
}

double count(const std::vector<int>& units, const Keep& keep) {
  return static_cast<double>(std::count_if(units.begin(), units.end(),
                                           [&](int u) { return keep[static_cast<size_t>(u)]; }));
}

/// Where n lies between half (0) and full (1); below half it is negative.
double place(double n, double half, double full) {
  return full > half ? (n - half) / (full - half) : 1;
}

}  // namespace

double fastest_run(double, const std::function<void()>& run) {
  constexpr int kRuns = 5;
  double best = 0;
  run();  // memory and packed weights are there from now on
  for (int i = 0; i < kRuns; ++i) {
    const auto began = std::chrono::steady_clock::now();
    run();
    const double s =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    best = i == 0 ? s : std::min(best, s);
  }
  return best;
}

LatencyModel::LatencyModel(const Structure& structure, nn::Layer& model, const Tensor& images,
                           const Stopwatch& stopwatch)
    : structure_(structure), cost_(structure) {
  const NoGrad guard;
  const nn::EvalMode eval(model);
  const Graph& g = structure.graph;
  for (int i = 0; i < g.size(); ++i) {
    const std::string& op = g[i].op;
    if (op != "conv2d" && op != "conv_transpose2d" && op != "linear") continue;
    const auto& units = structure.channels.of;
    Layer layer{.node = i,
                .in = units[static_cast<size_t>(g.input_of(i, 0))],
                .out = units[static_cast<size_t>(i)]};
    measure(layer, images.dim(0), stopwatch);
    layers_.push_back(std::move(layer));
  }
  const Keep all = structure.keep_all();
  const Cost cost = cost_(all);
  const double batch = static_cast<double>(images.dim(0));
  const double whole = stopwatch(batch * cost.macs, [&] { model(images).data(); });
  rest_ = std::max(0.0, whole - layers(all));
  activations_ = std::max(cost.activations, 1.0);
}

void LatencyModel::measure(Layer& l, int64_t batch, const Stopwatch& stopwatch) const {
  const Graph::Node& n = structure_.graph[l.node];
  const auto in = static_cast<int64_t>(l.in.size()), out = static_cast<int64_t>(l.out.size());
  const int64_t groups = groups_of(n);
  l.grouped = groups > 1;
  l.depthwise = l.grouped && groups == in;
  // Each group of a depthwise one has its own channels: half of the channels are half of the
  // groups.
  const int64_t unit = l.depthwise ? 1 : groups;
  l.half_in = half(in, unit);
  l.half_out = l.depthwise ? l.half_in * (out / in) : half(out, unit);
  for (int a = 0; a < 2; ++a) {
    for (int b = 0; b < 2; ++b) {
      if (l.grouped && a != b) continue;
      const int64_t i = a ? in : l.half_in, o = b ? out : l.half_out;
      const Work work = work_of(structure_.graph, l.node, batch, i, o, l.depthwise ? i : groups);
      l.t[a][b] = stopwatch(work.macs, work.run);
    }
  }
}

double LatencyModel::seconds(const Layer& l, double in, double out) const {
  const auto full_in = static_cast<double>(l.in.size()),
             full_out = static_cast<double>(l.out.size());
  const auto half_in = static_cast<double>(l.half_in), half_out = static_cast<double>(l.half_out);
  if (l.grouped) {
    const double f = l.depthwise ? place(out, half_out, full_out)
                                 : place(in * out, half_in * half_out, full_in * full_out);
    return std::max(0.0, (1 - f) * l.t[0][0] + f * l.t[1][1]);
  }
  const double i = place(in, half_in, full_in), o = place(out, half_out, full_out);
  return std::max(0.0, (1 - i) * ((1 - o) * l.t[0][0] + o * l.t[0][1]) +
                           i * ((1 - o) * l.t[1][0] + o * l.t[1][1]));
}

double LatencyModel::layers(const Keep& keep) const {
  double sum = 0;
  for (const Layer& l : layers_) sum += seconds(l, count(l.in, keep), count(l.out, keep));
  return sum;
}

double LatencyModel::operator()(const Keep& keep) const {
  return layers(keep) + rest_ * cost_(keep).activations / activations_;
}

}  // namespace pare::prune
