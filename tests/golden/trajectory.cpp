// trajectory/*: training steps of a small model from given weights: init.*, x [steps, N, C, H, W],
// y [steps, N], loss [steps], final.*, eval_logits (of x[0] in eval mode with the final weights).
//
// The name says how it is quantized: MODEL_fp32_*, MODEL_W{2,3,32}A{2,3,32},
// MODEL_dorefa_w{bits}a{bits}. Metadata: model "nin cfg=[...]", optimizer "sgd" (momentum 0.9: the
// recorded weights say so) or "adam", lr.
//
// What can be asked of such a file. Eight steps of training are chaotic in the last bits: a
// weight's first Adam step is lr sign(g) however small g is; quantized inputs make many sums equal,
// and rounding decides which of them wins a max-pool window; a value beside a threshold takes
// either side. PyTorch itself does not repeat these files within 1e-3 when only its convolution
// algorithm or thread count changes (README.md has the table). So every quantity must agree
// strictly, or as well as our own runs agree with each other when their batch norms and gradients
// are off by what float32 rounding does to them, within a cap:
//   eval_logits   from the file's final weights: forward, quantizers, running statistics
//   losses        1e-3 relative: one of our runs follows the file that closely in every step, or
//                 the unperturbed one stays within kSlack times our runs' distance from each other
//   final.*       distance from the file's weights, in lengths of the way from init.* to final.*

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "tests/golden/golden.h"
#include "tests/golden/runs.h"

namespace pare::golden {

namespace {

// Perturbed runs, if the plain one is not close enough. Without quantized activations little is
// left to chance, and one of some dozens does follow the file; with them none can be expected to.
constexpr size_t kRuns = 64, kRunsQuantized = 12;
constexpr double kSlack = 3;    // times the largest distance between our runs: they are few
constexpr double kLoss = 1e-3;  // relative
// With quantized activations many sums are equal, and may all stand beside one threshold: such an
// event is rare, and our runs are too few to be sure to meet it.
constexpr double kLossQuantized = 3e-3;
constexpr double kLossCap = 0.1;
constexpr Tolerance kLogits{.relative = 1e-4, .absolute = 1e-6};
constexpr double kLogitsCap = 0.05;  // absolute; logits are of order one
constexpr double kWeights = 1e-2;
constexpr double kWeightsCap = 1.25;  // two unrelated ways of equal length end sqrt(2) apart

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/// |a - b| / |b - start| over what is learned: how far apart two runs ended, in lengths of the way.
/// Left out: the bias of a convolution in front of a batch norm, whose gradient is zero but for
/// rounding, which Adam turns into steps of full length; and the running means, which contain it.
/// Neither has an effect in training.
double distance(const State& a, const State& b, const State& start) {
  double apart = 0, way = 0;
  for (const auto& [name, from] : start) {
    if (ends_with(name, "conv.bias") || name.find("running_") != std::string::npos) continue;
    const Tensor &p = a.at(name), &q = b.at(name);
    for (int64_t i = 0; i < from.numel(); ++i) {
      apart += std::pow(double{p.data()[i]} - q.data()[i], 2);
      way += std::pow(double{q.data()[i]} - from.data()[i], 2);
    }
  }
  return std::sqrt(apart / way);
}

double largest_gap(const Tensor& a, const Tensor& b) {
  double largest = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    largest = std::max(largest, std::fabs(double{a.data()[i]} - b.data()[i]));
  }
  return largest;
}

void check_eval(const Golden& g, const quant::Scheme& scheme, Checks& checks) {
  const Tensor plain = eval_logits(g, scheme, 0), want = g.raw("eval_logits");
  double apart = 0;
  for (uint64_t seed = 1; seed <= kRunsQuantized && scheme.active(); ++seed) {
    apart = std::max(apart, largest_gap(eval_logits(g, scheme, seed), plain));
  }
  Tolerance tolerance = kLogits;
  tolerance.absolute = std::max(tolerance.absolute, std::min(kLogitsCap, kSlack * apart));
  checks.close("eval_logits", plain, want, tolerance);
}

/// Relative errors of a run's losses.
std::vector<double> errors(const Run& run, const Tensor& want) {
  std::vector<double> all;
  for (int64_t i = 0; i < want.numel(); ++i) {
    const double loss = want.data()[i];
    all.push_back(std::fabs(run.losses[static_cast<size_t>(i)] - loss) / loss);
  }
  return all;
}

double worst(const std::vector<double>& v) { return *std::max_element(v.begin(), v.end()); }

/// How far the runs are apart at each step, relative; it only grows, as chaos does.
std::vector<double> spread(const std::vector<Run>& runs) {
  std::vector<double> all;
  for (size_t step = 0; step < runs[0].losses.size(); ++step) {
    double lo = runs[0].losses[step], hi = lo;
    for (const Run& r : runs) {
      lo = std::min(lo, r.losses[step]);
      hi = std::max(hi, r.losses[step]);
    }
    all.push_back(std::max(all.empty() ? 0.0 : all.back(), (hi - lo) / lo));
  }
  return all;
}

void check_losses(const std::vector<Run>& runs, const Tensor& want, bool quantized,
                  Checks& checks) {
  const std::vector<double> plain = errors(runs[0], want), apart = spread(runs);
  double best = worst(plain);
  for (const Run& run : runs) best = std::min(best, worst(errors(run, want)));
  checks.note(str("losses: our plain run within ", worst(plain), " of the file's, the closest of ",
                  runs.size(), " runs within ", best, ", our runs ", apart.back(), " apart"));
  if (best <= kLoss) return checks.at_most("losses", best, kLoss);
  for (size_t step = 0; step < plain.size(); ++step) {
    const double bound =
        std::min(kLossCap, std::max(quantized ? kLossQuantized : kLoss, kSlack * apart[step]));
    checks.at_most(str("loss ", step + 1), plain[step], bound);
  }
}

void check_weights(const std::vector<Run>& runs, const State& start, const State& end,
                   Checks& checks) {
  double apart = 0, best = distance(runs[0].state, end, start);
  for (const Run& run : runs) {
    apart = std::max(apart, distance(run.state, runs[0].state, start));
    best = std::min(best, distance(run.state, end, start));
  }
  checks.note(str("final weights: ", best, " of the way beside the file's, our runs up to ", apart,
                  " apart"));
  checks.at_most("final weights", best, std::max(kWeights, std::min(kWeightsCap, kSlack * apart)));
}

}  // namespace

void check_trajectory(const Golden& g, Checks& checks) {
  const quant::Scheme scheme = scheme_of(g);
  check_eval(g, scheme, checks);
  const Tensor want = g.raw("loss");
  const State start = stored_state(g, "init."), end = stored_state(g, "final.");
  const bool quantized = scheme.activation.has_value();
  const size_t limit = quantized ? kRunsQuantized : kRuns;
  std::vector<Run> runs = {train(g, scheme, 0)};
  const auto settled = [&] {
    return worst(errors(runs.back(), want)) <= kLoss &&
           distance(runs.back().state, end, start) <= kWeights;
  };
  while (!settled() && runs.size() <= limit) runs.push_back(train(g, scheme, runs.size()));
  check_losses(runs, want, quantized, checks);
  check_weights(runs, start, end, checks);
}

}  // namespace pare::golden
