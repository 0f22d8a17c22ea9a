// pare bench infer --precision: a model in the runtime, at several precisions, beside the network
// that it was made of.

#include <fmt/format.h>

#include <map>

#include "apps/pare/bench.h"
#include "apps/pare/lowered.h"
#include "apps/version.h"
#include "core/autograd.h"
#include "deploy/runtime/file.h"
#include "quant/calibrate.h"
#include "quant/scheme.h"

namespace pare::bench {

const char* const kPrecisionHelp =
    "bf16: the network itself, rounded so; fp32, int8, w4 (and 8-bit activations), ternary, binary "
    "(both with signs as activations) or own (as --quant or the checkpoint says): lowered, as pare "
    "export --to pare does it; several, with commas, are measured in turn; none: the network in "
    "fp32";

namespace {

/// int8 and w4: the weights of all layers but the first and the last one have so many bits, all
/// else has 8, sums too. The others are schemes whose edges are int8.
const std::map<std::string, std::string> kSchemes = {
    {"fp32", ""},
    {"own", ""},
    {"int8", "uniform:8"},
    {"w4", "uniform:4"},
    {"ternary", "wbab:W3A2,edges=uniform:8,place=input"},
    {"binary", "wbab:W2A2,edges=uniform:8,place=input"},
};

Tensor noise(const Shape& image, int64_t count) {
  Rng rng(2);
  return Tensor::normal({count, image[0], image[1], image[2]}, rng);
}

void apply_scheme(nn::Layer& model, const std::string& scheme, const Tensor& x) {
  if (!scheme.starts_with("uniform:")) {
    quant::apply(model, quant::parse_scheme(scheme), x);
    return;
  }
  const auto spec = [&](quant::Role role, const std::string&, const quant::LayerInfo* layer) {
    const bool inner = layer && !layer->first() && !layer->last();
    const bool few = role == quant::Role::weight && inner;
    return std::optional(quant::parse_spec(few ? scheme : "uniform:8", role));
  };
  quant::place(model, quant::plan(model, x, {.spec = spec, .sums = true}).placements());
}

nn::Layer build(const LoweredJob& job, const std::string& precision) {
  const auto scheme = kSchemes.find(precision);
  PARE_CHECK(scheme != kSchemes.end(), "--precision: got '", precision,
             "', expected fp32, int8, w4, ternary, binary or own, or bf16 alone");
  const bool own = precision == "own";
  const bool quantized = !job.card.quantized().empty();
  PARE_CHECK(own || !quantized, "--precision says how a model in float32 is lowered, this one is ",
             "quantized already (", job.card.quantized(), ")", hint("--precision own measures it"));
  PARE_CHECK(!own || quantized, "--precision own needs a model that is quantized",
             hint("add --quant, or the --weights of pare quantize"));
  Rng rng(1);
  nn::Layer model = build_float(job.card);
  initialize(model, job.card.args.model, rng);
  if (own) quantize(model, job.card);
  if (!job.weights.empty()) load_weights(model, safetensors::read(job.weights), job.weights);
  const Tensor x = noise(job.card.image, 4);
  if (!scheme->second.empty()) apply_scheme(model, scheme->second, x);
  if (quant::wants_calibration(model)) quant::calibrate(model, {x});
  nn::set_training(model, false);
  return model;
}

/// What is measured in the runtime; the network itself has no session.
struct Entry {
  std::unique_ptr<runtime::Session> session = {};
  int64_t bytes = 0;
};

class Contest {
 public:
  Contest(const LoweredJob& job, const Shape& image)
      : job_(job), x_(noise(image, job.batch)), images_(x_.data(), x_.data() + x_.numel()) {}

  void add_network(nn::Layer model) {
    entries_.emplace_back();
    add_subject("network", [this, model = std::move(model)]() mutable {
      const NoGrad guard;
      return seconds_of([&] { (void)model(x_).data(); });  // work may wait until somebody looks
    });
  }
  void add(const std::string& name, runtime::Program program) {
    Entry& e = entries_.emplace_back();
    e.bytes = static_cast<int64_t>(runtime::to_bytes(program).size());
    const auto threads = static_cast<int>(job_.run.compute.threads);
    e.session = std::make_unique<runtime::Session>(std::move(program), threads);
    const auto outputs = static_cast<size_t>(job_.batch * e.session->output().numel());
    add_subject(name, [this, session = e.session.get(), y = std::vector<float>(outputs)]() mutable {
      return seconds_of([&] { session->run(images_.data(), job_.batch, y.data()); });
    });
  }

  /// In turn, so that a slow moment of the machine meets them all.
  void run(Console& console) {
    if (job_.run.serve) return repeat(subjects_, job_.run, console);
    const int64_t rounds = job_.run.warmup + job_.run.steps;
    for (int64_t i = 0; i < rounds; ++i) {
      console.status(fmt::format("{} of {}", i + 1, rounds));
      for (Subject& s : subjects_) {
        s.settle();
        const double seconds = s.run();
        if (i >= job_.run.warmup) s.seconds.push_back(seconds);
      }
    }
  }

  /// The last one is always in the runtime.
  const runtime::Session& last() const { return *entries_.back().session; }
  Json report(Console& console) const;

 private:
  void add_subject(const std::string& name, std::function<double()> run) {
    subjects_.push_back({.name = name, .run = std::move(run), .own_threads = true});
  }
  Json layers(size_t i, Console& console) const;

  const LoweredJob& job_;
  Tensor x_;
  std::vector<float> images_;
  std::vector<Subject> subjects_;
  std::vector<Entry> entries_;  // by subject
};

Json Contest::report(Console& console) const {
  std::vector<std::vector<std::string>> rows = {
      {"", "images/s", "min", "max", "times the first", "file"}};
  Json json = Json::array();
  const double first = spread(subjects_.front().seconds).median;
  for (size_t i = 0; i < subjects_.size(); ++i) {
    const Subject& s = subjects_[i];
    std::vector<double> speeds;
    for (double t : s.seconds) speeds.push_back(static_cast<double>(job_.batch) / t);
    const Spread speed = spread(speeds);
    const double times = first / spread(s.seconds).median;
    rows.push_back({s.name, fmt::format("{:.0f}", speed.median), fmt::format("{:.0f}", speed.min),
                    fmt::format("{:.0f}", speed.max), fmt::format("{:.2f}", times),
                    entries_[i].bytes > 0 ? format_bytes(entries_[i].bytes) : ""});
    json.push_back({{"name", s.name},
                    {"images_per_second", to_json(speed)},
                    {"times_first", times},
                    {"bytes", entries_[i].bytes}});
  }
  console.print("");
  console.print(align(rows));
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].session) json[i]["layers"] = layers(i, console);
  }
  return json;
}

/// The best time of each op, by one thread.
Json Contest::layers(size_t i, Console& console) const {
  runtime::Session& session = *entries_[i].session;
  const runtime::Program& p = session.program();
  std::vector<double> best(p.ops.size(), 1e30);
  for (int64_t step = 0; step < job_.run.steps; ++step) {
    const auto profile = session.profile(images_.data(), job_.batch);
    for (size_t k = 0; k < best.size(); ++k) {
      best[k] = std::min(best[k], profile.seconds[k] / static_cast<double>(profile.images));
    }
  }
  double all = 0;
  for (double s : best) all += s;
  std::vector<std::vector<std::string>> rows = {
      {subjects_[i].name, "op", "weights", "MMAC", "us", "GMAC/s", "% of time"}};
  Json json = Json::array();
  for (size_t k = 0; k < best.size(); ++k) {
    const runtime::Op& op = p.ops[k];
    const auto macs = static_cast<double>(runtime::macs(p, op));
    rows.push_back({op.name, op_name(op.kind), macs > 0 ? runtime::coding_name(op.coding) : "",
                    macs > 0 ? fmt::format("{:.2f}", macs / 1e6) : "",
                    fmt::format("{:.1f}", 1e6 * best[k]),
                    macs > 0 ? fmt::format("{:.1f}", macs / best[k] / 1e9) : "",
                    fmt::format("{:.1f}", 100 * best[k] / all)});
    json.push_back(
        {{"name", op.name}, {"op", op_name(op.kind)}, {"seconds", best[k]}, {"macs", macs}});
  }
  rows.push_back({"all of an image, by one thread", "", "", "", fmt::format("{:.1f}", 1e6 * all)});
  console.print("");
  console.print(align(rows));
  return json;
}

}  // namespace

int bench_lowered(LoweredJob job) {
  Console console(job.run.console());
  runtime::Program from_file;
  if (job.precision.empty()) {
    from_file = runtime::load(job.weights);
    const runtime::Buffer& in = from_file.buffers[static_cast<size_t>(from_file.input)];
    job.card.image = {in.h, in.w, in.c};
    job.card.args.model = from_file.name;
  }
  const Shape& image = job.card.image;
  Contest contest(job, image);
  if (job.precision.empty()) {
    contest.add(job.weights, std::move(from_file));
  } else {
    const bool own = job.precision[0] == "own";
    contest.add_network(build(job, own ? "own" : "fp32"));
  }
  for (const std::string& precision : job.precision) {
    nn::Layer model = build(job, precision);
    const Tensor example = Tensor::zeros({1, image[0], image[1], image[2]});
    contest.add(precision, deploy::lower(model, example).program);
  }
  console.print(fmt::format("pare bench infer  {}", describe(contest.last())));
  console.entry("model", fmt::format("{}, {} images of {}x{}x{}", job.card.args.model, job.batch,
                                     image[0], image[1], image[2]));
  console.entry("steps", job.run.describe_steps());
  contest.run(console);
  console.result({{"bench", "infer"},
                  {"model", job.card.args.model},
                  {"weights", job.weights},
                  {"batch", job.batch},
                  {"image", std::vector<int64_t>(image.begin(), image.end())},
                  {"threads", contest.last().threads()},
                  {"isa", runtime::instruction_set()},
                  {"commit", kCommit},
                  {"results", contest.report(console)}});
  return 0;
}

}  // namespace pare::bench
