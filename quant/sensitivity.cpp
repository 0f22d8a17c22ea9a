#include "quant/sensitivity.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/autograd.h"
#include "core/ops.h"
#include "nn/describe.h"
#include "nn/metrics.h"
#include "nn/text.h"
#include "quant/calibrate.h"

namespace pare::quant {

namespace {

void check_side(const std::optional<QuantizerSpec>& side) {
  if (!side) return;
  PARE_CHECK(find_quantizer(side->name).max_bits > 0, "sensitivity: ", side->name,
             " has no bits to choose", hint("say uniform:W8A8, lsq:W8A8 or the like"));
}

void check(const Scheme& s, const std::vector<Batch>& batches, const SensitivityOptions& o) {
  PARE_CHECK(s.active(), "sensitivity: this scheme quantizes nothing");
  check_side(s.weight);
  check_side(s.activation);
  PARE_CHECK(s.bn == BnPlace::apart && s.place != Place::act,
             "sensitivity: bn and place=act change more than one layer",
             hint("measure a folded model, with bn=apart and place=input"));
  PARE_CHECK(!s.edge_weight && !s.edge_input && s.weight_bits.empty() && s.input_bits.empty(),
             "sensitivity: every layer is tried with all bits", hint("leave out edges and bits"));
  PARE_CHECK(!batches.empty(), "sensitivity: no images");
  PARE_CHECK(!o.bits.empty(), "sensitivity: no bits to try");
  PARE_CHECK(o.probes >= 0, "sensitivity: probes must not be negative, got ", o.probes);
}

nn::Score score(const nn::Layer& model, const std::vector<Batch>& batches) {
  const NoGrad guard;
  nn::Score s;
  for (const Batch& b : batches) {
    const Tensor z = model(b.x);
    s.add(z, b.y, cross_entropy(z, b.y).item());
  }
  return s;
}

/// The scheme with these bits in every layer that it quantizes.
Scheme with_bits(Scheme s, int bits) {
  for (auto* side : {&s.weight, &s.activation}) {
    if (!*side) continue;
    (*side)->bits = bits;
    *side = checked(**side);
  }
  return s;
}

double squared_distance(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    const double d = double{a.data()[i]} - b.data()[i];
    sum += d * d;
  }
  return sum;
}

/// Turned on while it lives.
class On {
 public:
  explicit On(Quantizer& q) : q_(q) { q_.mode = Quantizer::Mode::quantize; }
  ~On() { q_.mode = Quantizer::Mode::off; }
  On(const On&) = delete;
  On& operator=(const On&) = delete;

 private:
  Quantizer& q_;
};

/// Measures with one number of bits after the other.
class Meter {
 public:
  Meter(const nn::Layer& model, const Scheme& scheme, const std::vector<Batch>& batches,
        const SensitivityProgress& progress)
      : model_(model), scheme_(scheme), batches_(batches), progress_(progress) {
    for (const Batch& b : batches) images_.push_back(b.x);
  }

  /// The float model, and what there is to measure.
  Sensitivity start(const SensitivityOptions& o) {
    nn::Layer copy = model_;
    const nn::EvalMode eval(copy);
    Sensitivity s{.scheme = to_string(scheme_), .probes = scheme_.weight ? o.probes : 0};
    const nn::Score base = score(copy, batches_);
    s.loss = base.loss(), s.top1 = base.top1(), s.images = base.samples;
    const Shape& x = images_[0].shape();
    const nn::Summary summary = nn::summarize(copy, {x[1], x[2], x[3]});
    std::map<std::string, int64_t> macs;
    for (const nn::LayerRow& row : summary.rows) macs[row.path] = row.macs;
    s.other_size = 8 * summary.bytes_fp32, s.other_macs = summary.macs;
    nn::Layer quantized = model_;
    apply(quantized, with_bits(scheme_, o.bits[0]));
    for (const LayerInfo& info : layers(quantized)) {
      if (!sockets(info).weight && !sockets(info).input) continue;
      const int64_t n = info.weight().numel();
      s.layers.push_back({.path = info.path, .weights = n, .macs = macs[info.path]});
      s.other_macs -= macs[info.path];
      if (sockets(info).weight) s.other_size -= 32 * n;
    }
    PARE_CHECK(!s.layers.empty(), "sensitivity: the scheme leaves every layer float");
    const auto sides = int64_t{scheme_.weight.has_value()} + scheme_.activation.has_value();
    steps_ = sides * static_cast<int64_t>(s.layers.size() * o.bits.size()) + s.probes;
    return s;
  }

  void measure(Sensitivity& s, int bits) {
    nn::Layer model = model_;
    apply(model, with_bits(scheme_, bits));
    calibrate(model, images_);
    set_mode(model, Quantizer::Mode::off);
    const nn::EvalMode eval(model);
    size_t at = 0;
    for (const LayerInfo& info : layers(model)) {
      const Sockets q = sockets(info);
      if (!q.weight && !q.input) continue;
      Sensitivity::Layer& layer = s.layers[at++];
      if (q.weight) {
        const On on(*q.weight);
        const Tensor& w = info.weight();
        const NoGrad guard;
        layer.weight.push_back({.bits = bits,
                                .loss = score(model, batches_).loss() - s.loss,
                                .noise = squared_distance(q.weight->forward(w), w),
                                .size = q.weight->stored_bits(w)});
        step(str(info.path, ", ", bits, " bit weights"));
      }
      if (q.input) {
        const On on(*q.input);
        layer.input.push_back({.bits = bits, .loss = score(model, batches_).loss() - s.loss});
        step(str(info.path, ", ", bits, " bit inputs"));
      }
    }
  }

  void trace(Sensitivity& s, const SensitivityOptions& o) {
    std::vector<std::string> paths;
    for (const Sensitivity::Layer& l : s.layers) paths.push_back(l.path);
    const auto traces =
        hessian_traces(model_, paths, batches_, o.probes, o.seed,
                       [&](int64_t probe) { step(str("probe ", probe, " of ", o.probes)); });
    for (size_t i = 0; i < traces.size(); ++i) s.layers[i].trace = traces[i];
  }

 private:
  struct Sockets {
    Quantizer *weight, *input;
  };
  static Sockets sockets(const LayerInfo& info) {
    const nn::Layer& w = info.conv ? info.conv->weight_fn : info.linear->weight_fn;
    const nn::Layer& x = info.conv ? info.conv->input_fn : info.linear->input_fn;
    return {w.as<Quantizer>(), x.as<Quantizer>()};
  }
  void step(const std::string& what) {
    ++done_;
    if (progress_) progress_({what, done_, steps_});
  }

  const nn::Layer& model_;
  const Scheme& scheme_;
  const std::vector<Batch>& batches_;
  const SensitivityProgress& progress_;
  std::vector<Tensor> images_;
  int64_t done_ = 0, steps_ = 0;
};

}  // namespace

Sensitivity sensitivity(const nn::Layer& model, const Scheme& scheme,
                        const std::vector<Batch>& batches, const SensitivityOptions& options,
                        const SensitivityProgress& progress) {
  check(scheme, batches, options);
  std::vector<int> bits = options.bits;
  std::sort(bits.begin(), bits.end());
  bits.erase(std::unique(bits.begin(), bits.end()), bits.end());
  Meter meter(model, scheme, batches, progress);
  SensitivityOptions o = options;
  o.bits = bits;
  Sensitivity s = meter.start(o);
  for (const int b : bits) meter.measure(s, b);
  if (s.probes > 0) meter.trace(s, o);
  return s;
}

std::ostream& operator<<(std::ostream& out, const Sensitivity& s) {
  std::vector<std::vector<std::string>> lines{{"layer", "weights", "MACs", "trace / weight"}};
  for (const auto side : {&Sensitivity::Layer::weight, &Sensitivity::Layer::input}) {
    const char* name = side == &Sensitivity::Layer::weight ? "W" : "A";
    for (const Sensitivity::Point& p : s.layers[0].*side) lines[0].push_back(str(name, p.bits));
  }
  for (const Sensitivity::Layer& l : s.layers) {
    lines.push_back({l.path, std::to_string(l.weights), std::to_string(l.macs),
                     fmt::format("{:.3g}", l.trace / static_cast<double>(l.weights))});
    for (const auto* points : {&l.weight, &l.input}) {
      for (const Sensitivity::Point& p : *points) {
        lines.back().push_back(fmt::format("{:+.4f}", p.loss));
      }
    }
  }
  return out << nn::columns(lines);
}

}  // namespace pare::quant
