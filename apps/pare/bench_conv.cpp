// pare bench conv: the three passes of one convolution, or of every convolution of a model.

#include <fmt/format.h>

#include <array>

#include "apps/model.h"
#include "apps/pare/bench.h"
#include "apps/pare/bench_layers.h"

namespace pare {

namespace {

using namespace bench;

struct ConvArgs {
  std::vector<int64_t> shape, kernel{3}, stride{1}, pad, dilation{1};
  int64_t groups = 1, batch_size = 32, image_size = 0;
  ModelArgs model;
  RunArgs run;

  ConvArgs() { run.steps = 10; }
  void fields(cli::Fields& f) {
    f.group("One convolution");
    f(shape, "shape", "height,width,inputs,outputs", {.min = 1});
    f(kernel, "kernel", "height,width of its window; one number means both", {.min = 1});
    f(stride, "stride", "steps of the window, likewise", {.min = 1});
    f(pad, "pad", "zeros around the image, likewise; half the kernel if not given", {.min = 0});
    f(dilation, "dilation", "pixels from tap to tap, likewise", {.min = 1});
    f(groups, "groups", "parts that the channels are cut into", {.min = 1});
    model.fields(f, /*with_quant=*/false);
    f(image_size, "image-size", "height and width of its images; 0: the usual ones", {.min = 0});
    f.group("Input");
    f(batch_size, "batch-size", "images per pass", {.min = 1});
    run.fields(f);
  }

  void check(const cli::Given& given) const {
    run.check(given);
    PARE_CHECK(given.has("shape") != given.has("model"), "exactly one of --shape and --model is ",
               "needed", hint("pare bench conv --help has examples"));
    const bool one = given.has("shape");
    const std::vector<const char*> of_model{"widths",      "order",   "shortcut",  "stem",
                                            "bn-momentum", "dropout", "image-size"};
    const std::vector<const char*> of_shape{"kernel",   "stride", "pad",
                                            "dilation", "groups", "serve"};
    for (const char* flag : one ? of_model : of_shape) {
      PARE_CHECK(!given.has(flag), "--", flag, " is for ", one ? "--model" : "--shape");
    }
    PARE_CHECK(!one || shape.size() == 4, "--shape: got ", shape.size(),
               " sizes, expected height,width,inputs,outputs");
  }

  kernels::ConvShape conv_shape() const {
    const Hw k = pair("kernel", kernel), s = pair("stride", stride), d = pair("dilation", dilation);
    const Hw same{d.h * (k.h - 1) / 2, d.w * (k.w - 1) / 2};
    const Hw p = pad.empty() ? same : pair("pad", pad);
    return {batch_size, shape[0], shape[1], shape[2], shape[3], k.h, k.w,
            s.h,        s.w,      p.h,      p.w,      d.h,      d.w, groups};
  }

 private:
  static Hw pair(const char* flag, const std::vector<int64_t>& sizes) {
    PARE_CHECK(sizes.size() == 1 || sizes.size() == 2, "--", flag, ": got ", sizes.size(),
               " sizes, expected one or height,width");
    return {static_cast<int>(sizes.front()), static_cast<int>(sizes.back())};
  }
};

/// FLOP, the time they took, and the time they would have taken at the peak.
struct Rate {
  double flops = 0, seconds = 0, ideal = 0;

  Rate& operator+=(const Rate& r) {
    flops += r.flops, seconds += r.seconds, ideal += r.ideal;
    return *this;
  }
  double per_second() const { return seconds > 0 ? flops / seconds : 0; }
  double fraction() const { return seconds > 0 ? ideal / seconds : 0; }
  Json json() const {
    if (seconds == 0) return nullptr;
    return {{"flops", flops}, {"flops_per_second", per_second()}, {"peak_fraction", fraction()}};
  }
};

struct Measured {
  ConvLayer layer;
  // of one pass of one convolution; zero if the pass never happens
  std::array<Spread, 3> seconds{};
  std::array<double, 3> peak_fraction{};
  std::vector<double> peaks{};

  const Spread& time(Pass pass) const { return seconds[static_cast<size_t>(pass)]; }
  Rate rate(Pass pass) const {
    if (!layer.has(pass)) return {};
    const double all = time(pass).median * static_cast<double>(layer.count);
    return {layer.flops(), all, all * peak_fraction[static_cast<size_t>(pass)]};
  }
};

Rate total(const std::vector<Measured>& all, Pass pass) {
  Rate sum;
  for (const Measured& m : all) sum += m.rate(pass);
  return sum;
}

/// The same of the fastest repetition of each convolution, beside the fastest run of FMAs: what the
/// code does when nobody disturbs the machine.
Rate fastest(const std::vector<Measured>& all, Pass pass, const Spread& peak) {
  Rate sum;
  for (const Measured& m : all) {
    if (!m.layer.has(pass)) continue;
    const double seconds = m.time(pass).min * static_cast<double>(m.layer.count);
    sum += {m.layer.flops(), seconds, m.layer.flops() / peak.max};
  }
  return sum;
}

Measured measure(const ConvLayer& layer, const RunArgs& run, Console& console) {
  const ConvWork work(layer.shape);
  std::vector<Subject> subjects;
  for (Pass pass : kPasses) {
    if (!layer.has(pass)) continue;
    const std::string in_model = layer.path.empty() ? "" : layer.path + " ";
    subjects.push_back({in_model + name_of(pass), [&work, pass] { return work.run(pass); }});
  }
  repeat(subjects, run, console);
  Measured m{layer};
  size_t next = 0;
  for (Pass pass : kPasses) {
    if (!layer.has(pass)) continue;
    const Subject& s = subjects[next++];
    m.seconds[static_cast<size_t>(pass)] = spread(s.seconds);
    m.peak_fraction[static_cast<size_t>(pass)] =
        s.peak_fraction(2.0 * static_cast<double>(layer.shape.macs()));
    m.peaks.insert(m.peaks.end(), s.peaks.begin(), s.peaks.end());
  }
  return m;
}

std::string gflops(const Rate& r) {
  return r.seconds > 0 ? fmt::format("{:.1f}", r.per_second() / 1e9) : "-";
}

std::string percent(const Rate& r) {
  return r.seconds > 0 ? fmt::format("{:.1f}", 100 * r.fraction()) : "-";
}

std::string one_table(const Measured& m) {
  std::vector<std::vector<std::string>> rows{{"pass", "ms", "min", "max", "GFLOP/s", "% of peak"}};
  const char* names[] = {"forward", "data gradient", "weight gradient"};
  for (Pass pass : kPasses) {
    const Spread& s = m.time(pass);
    const auto ms = [](double seconds) { return fmt::format("{:.3f}", seconds * 1e3); };
    rows.push_back({names[static_cast<size_t>(pass)], ms(s.median), ms(s.min), ms(s.max),
                    gflops(m.rate(pass)), percent(m.rate(pass))});
  }
  return align(rows);
}

/// A row for each kind of convolution; their sums are weighted by what a step spends on them.
std::string model_table(const std::vector<Measured>& all, const Spread& peak) {
  double flops = 0;
  for (const Measured& m : all) flops += m.layer.flops();
  std::vector<std::vector<std::string>> rows{{"convolution", "input", "kernel", "output", "times",
                                              "% of FLOP", "forward", "%", "data grad", "%",
                                              "weight grad", "%"}};
  const auto add_rates = [](std::vector<std::string> row, const auto& rate_of) {
    for (Pass pass : kPasses) {
      row.push_back(gflops(rate_of(pass)));
      row.push_back(percent(rate_of(pass)));
    }
    return row;
  };
  for (const Measured& m : all) {
    const ConvLayer& l = m.layer;
    rows.push_back(add_rates({l.path, l.input(), l.kernel(), l.output(), fmt::format("{}", l.count),
                              fmt::format("{:.1f}", 100 * l.flops() / flops)},
                             [&m](Pass pass) { return m.rate(pass); }));
  }
  rows.push_back(
      add_rates({"all", "", "", "", "", "100.0"}, [&all](Pass pass) { return total(all, pass); }));
  rows.push_back(add_rates({"all, fastest", "", "", "", "", "100.0"},
                           [&](Pass pass) { return fastest(all, pass, peak); }));
  return align(rows);
}

Json layer_json(const Measured& m) {
  const ConvLayer& l = m.layer;
  const kernels::ConvShape& s = l.shape;
  Json json{{"path", l.path},
            {"count", l.count},
            {"shape", {s.height, s.width, s.in, s.out}},
            {"kernel", {s.kernel_h, s.kernel_w}},
            {"stride", {s.stride_h, s.stride_w}},
            {"pad", {s.pad_h, s.pad_w}},
            {"dilation", {s.dilation_h, s.dilation_w}},
            {"groups", s.groups},
            {"macs_per_image", s.macs() / s.images}};
  for (Pass pass : kPasses) {
    json[name_of(pass)] = m.rate(pass).json();
    if (l.has(pass)) json[name_of(pass)]["seconds"] = to_json(m.time(pass));
  }
  return json;
}

Spread peak_of(const std::vector<Measured>& all) {
  std::vector<double> peaks;
  for (const Measured& m : all) peaks.insert(peaks.end(), m.peaks.begin(), m.peaks.end());
  return spread(std::move(peaks));
}

Json result(const ConvArgs& args, const std::string& model, const std::vector<Measured>& all) {
  const Spread peak = peak_of(all);
  Json layers = Json::array(), totals = Json::object(), best = Json::object();
  for (const Measured& m : all) layers.push_back(layer_json(m));
  for (Pass pass : kPasses) {
    totals[name_of(pass)] = total(all, pass).json();
    best[name_of(pass)] = fastest(all, pass, peak).json();
  }
  Json json{{"bench", "conv"},  {"model", model},  {"batch", args.batch_size},
            {"layers", layers}, {"total", totals}, {"fastest", best}};
  json.update(machine_json(args.run, peak));
  return json;
}

std::vector<ConvLayer> layers_of(const ConvArgs& args, bool one) {
  if (one) return {{.path = {}, .shape = args.conv_shape()}};
  ModelCard card{.args = args.model, .image = usual_image(args.model.model)};
  if (args.image_size > 0) card.image = {args.image_size, args.image_size, card.image[2]};
  nn::Layer model = build_float(card);
  Rng rng(1);
  initialize(model, args.model.model, rng);
  return conv_layers(model, card.image, args.batch_size);
}

int bench_conv(const ConvArgs& args, bool one) {
  args.run.compute.apply();
  Console console(args.run.console());
  const std::vector<ConvLayer> layers = layers_of(args, one);
  PARE_CHECK(!layers.empty(), args.model.model, " has no convolution");
  console.print(headline("conv", args.run));
  if (one) {
    console.entry("layer", fmt::format("{}  {}  {}", layers[0].input(), layers[0].kernel(),
                                       layers[0].output()));
  } else {
    console.entry("model", args.model.model);
  }
  console.entry("batch", fmt::format("{} images", args.batch_size));
  console.entry("steps", args.run.describe_steps());
  std::vector<Measured> all;
  for (const ConvLayer& layer : layers) all.push_back(measure(layer, args.run, console));
  console.print("");
  const Spread peak = peak_of(all);
  console.print(one ? one_table(all.front()) : model_table(all, peak));
  if (!one) {
    console.print(
        "\nGFLOP/s and % of the peak. 'all' is all FLOP over all time, of medians;\n"
        "'all, fastest' of the fastest repetition of each pass, beside the fastest run of the "
        "FMAs.");
  }
  console.print("");
  console.entry("peak", describe_peak(peak) + ", measured beside each pass");
  console.result(result(args, one ? "" : args.model.model, all));
  return 0;
}

}  // namespace

int bench_conv_command(int argc, char** argv) {
  ConvArgs args;
  const cli::Given given =
      cli::parse(args,
                 {.name = "pare bench conv",
                  .summary = "Speed of convolutions: forward, data gradient, weight gradient.",
                  .examples = "  pare bench conv --shape 16,16,96,192 --kernel 5\n"
                              "  pare bench conv --model resnet18 --batch-size 16\n"},
                 argc, argv);
  if (given.leave) return 0;
  args.check(given);
  return bench_conv(args, given.has("shape"));
}

}  // namespace pare
