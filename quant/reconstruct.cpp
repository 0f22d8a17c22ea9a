#include "quant/reconstruct.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "core/autograd.h"
#include "core/ops.h"
#include "nn/optim.h"
#include "nn/text.h"
#include "nn/trace.h"
#include "quant/adaround.h"
#include "quant/attach.h"
#include "quant/capture.h"

namespace pare::quant {

namespace {

/// A layer whose rounding is learned.
struct Job {
  LayerInfo layer;                       // of the quantized model
  const nn::Module* original = nullptr;  // the same layer of the float model
  AdaRound* rounding = nullptr;
  bool relu = false;

  const nn::Layer& input_fn() const {
    return layer.conv ? layer.conv->input_fn : layer.linear->input_fn;
  }
  /// What the layer computes from an input behind its input_fn; f included.
  Tensor run(const Tensor& x, const Tensor& w) const {
    const Tensor& b = layer.conv ? layer.conv->bias : layer.linear->bias;
    const Tensor bias = b ? b.detach() : Tensor{};
    const Tensor y = layer.conv ? conv(*layer.conv, x, w, bias) : linear(x, w, bias);
    return relu ? pare::relu(y) : y;
  }

 private:
  static Tensor conv(const nn::Conv2d& c, const Tensor& x, const Tensor& w, const Tensor& b) {
    return conv2d(x, w, b, {c.opt.stride, c.opt.pad, c.opt.dilation, c.opt.groups});
  }
};

std::map<std::string, Job> rounded_layers(nn::Layer& model) {
  std::map<std::string, Job> jobs;
  for (const LayerInfo& info : layers(model)) {
    const nn::Layer& socket = info.conv ? info.conv->weight_fn : info.linear->weight_fn;
    auto* rounding = socket.as<AdaRound>();
    if (!rounding) continue;
    PARE_CHECK(rounding->calibrated.item() != 0, "reconstruct: ", info.path, " has no scales yet",
               hint("calibrate the model first"));
    jobs[info.path] = {.layer = info, .rounding = rounding};
  }
  PARE_CHECK(!jobs.empty(), "reconstruct: no layer has weights that learn their rounding",
             hint("quantize them with adaround, such as W=adaround:4"));
  return jobs;
}

/// In the order in which they compute.
std::vector<Job> jobs_of(nn::Layer& model, nn::Layer& original, const Tensor& example, bool relu) {
  std::map<std::string, Job> found = rounded_layers(model);
  const nn::Graph graph = nn::trace(original, example);
  std::vector<Job> jobs;
  for (int i = 0; i < graph.size(); ++i) {
    const nn::Graph::Node& n = graph[i];
    const auto it = found.find(n.path);
    if (it == found.end() || (n.op != "conv2d" && n.op != "linear")) continue;
    Job& job = it->second;
    PARE_CHECK(!job.original, "reconstruct: ", n.path, " is used twice: it has no one output");
    job.original = n.module;
    job.relu = relu && i != graph.output && n.users.size() == 1 && graph[n.users[0]].op == "relu";
    jobs.push_back(job);
  }
  for (const auto& [path, job] : found) {
    PARE_CHECK(job.original, "reconstruct: the float model computes no layer ", path,
               hint("both must be the same model; quantize with bn=apart, batch norms folded"));
  }
  return jobs;
}

/// What is kept of one layer: inputs behind its input_fn, and outputs behind f, image by image.
struct Samples {
  Tensor x, y;
  int64_t count = 0, wanted = 0;

  bool full() const { return x && count == wanted; }
  void add(const Tensor& input, const Tensor& output, int64_t images, int64_t max_bytes) {
    const int64_t n = input.dim(0), each_x = input.numel() / n, each_y = output.numel() / n;
    if (!x) {
      const auto fits = max_bytes / (static_cast<int64_t>(sizeof(float)) * (each_x + each_y));
      wanted = std::clamp<int64_t>(fits, 1, images);
      x = Tensor::uninit(input.shape().with(0, wanted));
      y = Tensor::uninit(output.shape().with(0, wanted));
    }
    PARE_CHECK(each_x * wanted == x.numel(), "reconstruct: images of different sizes, ", x.shape(),
               " and ", input.shape());
    const int64_t take = std::min(n, wanted - count);
    std::copy_n(input.data(), take * each_x, x.data() + count * each_x);
    std::copy_n(output.data(), take * each_y, y.data() + count * each_y);
    count += take;
  }
};

Samples sample(const Job& job, nn::Layer& model, nn::Layer& original,
               const std::vector<Tensor>& batches, const ReconstructOptions& o) {
  int64_t images = 0;
  for (const Tensor& batch : batches) images += batch.dim(0);
  const nn::Module& quantized =
      job.layer.conv ? static_cast<const nn::Module&>(*job.layer.conv) : *job.layer.linear;
  Samples samples;
  for (const Tensor& batch : batches) {
    if (samples.full()) break;
    Tensor x, y;
    run_until(original, *job.original, batch, [&](const Tensor& input, const Tensor& output) {
      x = input;
      y = job.relu ? relu(output) : output;
    });
    if (o.quantized_inputs) {
      run_until(model, quantized, batch,
                [&](const Tensor& input, const Tensor&) { x = job.input_fn()(input); });
    }
    samples.add(x, y, images, o.max_bytes);
  }
  return samples;
}

/// Images `which` of t.
Tensor gather(const Tensor& t, const std::vector<int64_t>& which) {
  const int64_t each = t.numel() / t.dim(0);
  Tensor out = Tensor::uninit(t.shape().with(0, static_cast<int64_t>(which.size())));
  const float* from = t.data();
  float* to = out.data();
  for (const int64_t i : which) {
    std::copy_n(from + i * each, each, to);
    to += each;
  }
  return out;
}

/// Mean over images and pixels of the sum over channels.
Tensor error_of(const Tensor& got, const Tensor& want) {
  return mse_loss(got, want) * static_cast<float>(want.dim(-1));
}

/// The error of weights w over all samples.
double error_over(const Job& job, const Samples& s, const Tensor& w, int64_t batch) {
  const NoGrad guard;
  double sum = 0;
  for (int64_t at = 0; at < s.count; at += batch) {
    const int64_t end = std::min(at + batch, s.count);
    const Tensor y = job.run(slice(s.x, 0, at, end), w);
    sum += double{error_of(y, slice(s.y, 0, at, end)).item()} * static_cast<double>(end - at);
  }
  return sum / static_cast<double>(s.count);
}

/// beta of an iteration; 0: the second term is left out.
float beta_at(int64_t i, const ReconstructOptions& o) {
  const auto warm = static_cast<int64_t>(o.warmup * static_cast<float>(o.iterations));
  if (i < warm) return 0;
  const auto t = static_cast<float>(i - warm) / static_cast<float>(o.iterations - warm);
  return o.beta_first + (o.beta_last - o.beta_first) * t;
}

void learn(const Job& job, const Samples& s, const ReconstructOptions& o, Rng rng,
           const std::function<void(int64_t, double)>& progress) {
  AdaRound& q = *job.rounding;
  const Tensor w = job.layer.weight().detach();
  const bool learned = q.round.requires_grad();
  q.training = true;  // soft
  q.round.requires_grad_();
  const auto adam = nn::adam({{.params = {{"round", q.round}}}}, {.lr = o.lr});
  std::vector<int64_t> which(static_cast<size_t>(std::min(o.batch, s.count)));
  for (int64_t i = 0; i < o.iterations; ++i) {
    for (int64_t& k : which) k = rng.below(s.count);
    const Tensor error = error_of(job.run(gather(s.x, which), q.forward(w)), gather(s.y, which));
    const float beta = beta_at(i, o);
    const Tensor loss = beta > 0 ? error + o.lambda * q.indecision(beta) : error;
    loss.backward();
    adam->step();
    adam->zero_grad();
    if (progress) progress(i + 1, error.item());
  }
  q.round.requires_grad_(learned);
  q.training = false;
}

int64_t moved(const Tensor& before, const Tensor& after) {
  int64_t count = 0;
  for (int64_t i = 0; i < before.numel(); ++i) {
    count += (before.data()[i] >= 0) != (after.data()[i] >= 0);
  }
  return count;
}

void check(const ReconstructOptions& o) {
  PARE_CHECK(o.iterations > 0 && o.batch > 0 && o.max_bytes > 0,
             "reconstruct: iterations, batch and max_bytes must be positive, got ", o.iterations,
             ", ", o.batch, " and ", o.max_bytes);
  PARE_CHECK(o.warmup >= 0 && o.warmup < 1, "reconstruct: warmup must be in [0, 1), got ",
             o.warmup);
  PARE_CHECK(o.lr > 0 && o.lambda >= 0, "reconstruct: lr must be positive and lambda not negative,",
             " got ", o.lr, " and ", o.lambda);
}

}  // namespace

ReconstructReport reconstruct(nn::Layer& model, nn::Layer& original,
                              const std::vector<Tensor>& batches, const ReconstructOptions& options,
                              const ReconstructProgress& progress) {
  check(options);
  PARE_CHECK(!batches.empty() && batches[0].dim(0) > 0, "reconstruct: no images");
  const nn::EvalMode eval(model);
  const auto jobs = jobs_of(model, original, slice(batches[0], 0, 0, 1), options.relu);
  const Rng rng(options.seed);
  ReconstructReport report;
  for (const Job& job : jobs) {
    const auto at = static_cast<int64_t>(report.rows.size());
    ReconstructMoment moment{.path = job.layer.path,
                             .layer = at + 1,
                             .layers = static_cast<int64_t>(jobs.size()),
                             .iterations = options.iterations};
    const Samples samples = sample(job, model, original, batches, options);
    AdaRound& q = *job.rounding;
    const Tensor w = job.layer.weight().detach(), start = q.round.clone();
    const double nearest = error_over(job, samples, q.hard(w), options.batch);
    learn(job, samples, options, rng.split(static_cast<uint64_t>(at)),
          [&](int64_t iteration, double loss) {
            moment.iteration = iteration, moment.loss = loss;
            if (progress) progress(moment);
          });
    double learned = error_over(job, samples, q.hard(w), options.batch);
    if (!(learned < nearest)) {  // too few iterations: rounding to nearest is still the best
      q.round.copy_(start);
      learned = nearest;
    }
    report.rows.push_back({.path = job.layer.path,
                           .nearest = nearest,
                           .learned = learned,
                           .weights = w.numel(),
                           .moved = moved(start, q.round),
                           .images = samples.count,
                           .relu = job.relu});
  }
  return report;
}

std::ostream& operator<<(std::ostream& out, const ReconstructReport& report) {
  std::vector<std::vector<std::string>> lines{
      {"layer", "error, nearest", "learned", "not to nearest", "images", "through"}};
  for (const ReconstructReport::Row& r : report.rows) {
    const double part = 100.0 * static_cast<double>(r.moved) / static_cast<double>(r.weights);
    lines.push_back({r.path, fmt::format("{:.4g}", r.nearest), fmt::format("{:.4g}", r.learned),
                     fmt::format("{:.1f} %", part), std::to_string(r.images),
                     r.relu ? "relu" : "-"});
  }
  return out << nn::columns(lines);
}

}  // namespace pare::quant
