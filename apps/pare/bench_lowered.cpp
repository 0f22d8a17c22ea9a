// pare bench lowered: a model in the runtime, at several precisions, beside the float32 network
// that it was made of.

#include <fmt/format.h>

#include <map>

#include "apps/model.h"
#include "apps/pare/bench.h"
#include "apps/pare/lowered.h"
#include "core/autograd.h"
#include "deploy/runtime/file.h"
#include "quant/calibrate.h"
#include "quant/placement.h"
#include "quant/scheme.h"

namespace pare {

namespace {

using bench::Spread;

/// int8 and w4: the weights of all layers but the first and the last one have so many bits, all
/// else has 8, sums too. The others are schemes whose edges are int8.
const std::map<std::string, std::string> kSchemes = {
    {"fp32", ""},
    {"int8", "uniform:8"},
    {"w4", "uniform:4"},
    {"ternary", "wbab:W3A2,edges=uniform:8"},
    {"binary", "wbab:W2A2,edges=uniform:8"},
};

struct LoweredArgs {
  ModelArgs model;
  std::vector<std::string> precision = {};
  std::string file;
  int64_t batch_size = 1, image_size = 0, classes = 10, steps = 20, warmup = 3, threads = 0;
  bool layers = false, quiet = false, json = false;

  void fields(cli::Fields& f) {
    model.fields(f, /*with_quant=*/false);
    f(classes, "classes", "outputs of the model", {.min = 2});
    f(precision, "precision",
      "fp32, int8, w4 (and 8-bit activations), ternary or binary (both with signs as "
      "activations); several, with commas, are measured in turn; none: fp32 and int8",
      {.placeholder = "NAME"});
    f(file, "file", "a model.pare file in place of a model with random weights",
      {.placeholder = "FILE"});
    f.group("Input");
    f(batch_size, "batch-size", "images at a time", {.min = 1});
    f(image_size, "image-size", "height and width of the images; 0: the model's usual ones",
      {.min = 0});
    f.group("Run");
    f(steps, "steps", "repetitions that are timed", {.min = 1});
    f(warmup, "warmup", "repetitions before, not timed", {.min = 0});
    f(threads, "threads", "threads; 0: one per processor", {.min = 0, .max = 1024});
    f(layers, "layers", "a table of the time in each op, by one thread");
    f(quiet, "quiet", "print nothing but errors and the JSON result");
    f(json, "json", "the last line on stdout is the result as JSON; all else goes to stderr");
  }
};

nn::Layer build(const ModelCard& card, const std::string& scheme) {
  Rng rng(1);
  nn::Layer model = build_float(card);
  nn::init(model, rng, models::init_options(card.args.model));
  if (scheme.empty()) return model;
  const Tensor x = Tensor::normal({4, card.image[0], card.image[1], card.image[2]}, rng);
  if (scheme.starts_with("uniform:")) {
    const auto spec = [&](quant::Role role, const std::string&, const quant::LayerInfo* layer) {
      const bool inner = layer && !layer->first() && !layer->last();
      const bool few = role == quant::Role::weight && inner;
      return std::optional(quant::parse_spec(few ? scheme : "uniform:8", role));
    };
    quant::place(model, quant::plan(model, x, {.spec = spec, .sums = true}).placements());
  } else {
    quant::apply(model, quant::parse_scheme(scheme), x);
  }
  if (quant::wants_calibration(model)) quant::calibrate(model, {x});
  return model;
}

/// One thing that is measured.
struct Entry {
  std::string name;
  std::function<void()> run;
  std::vector<double> seconds = {};
  std::unique_ptr<runtime::Session> session = {};
  int64_t bytes = 0;
};

/// In turn, so that a slow moment of the machine meets them all.
void measure(std::vector<Entry>& entries, const LoweredArgs& args, Console& console) {
  for (int64_t i = 0; i < args.warmup + args.steps; ++i) {
    console.status(fmt::format("{} of {}", i + 1, args.warmup + args.steps));
    for (Entry& e : entries) {
      const double seconds = bench::seconds_of(e.run);
      if (i >= args.warmup) e.seconds.push_back(seconds);
    }
  }
}

std::vector<std::string> layer_row(const runtime::Program& p, const runtime::Op& op, double seconds,
                                   double all) {
  const auto macs = static_cast<double>(runtime::macs(p, op));
  return {op.name,
          op_name(op.kind),
          op.kind == runtime::OpKind::conv ? runtime::coding_name(op.coding) : "",
          macs > 0 ? fmt::format("{:.2f}", macs / 1e6) : "",
          fmt::format("{:.1f}", 1e6 * seconds),
          macs > 0 ? fmt::format("{:.1f}", macs / seconds / 1e9) : "",
          fmt::format("{:.1f}", 100 * seconds / all)};
}

void print_layers(Entry& entry, const std::vector<float>& images, const LoweredArgs& args,
                  Console& console, Json& json) {
  const runtime::Program& p = entry.session->program();
  std::vector<double> best(p.ops.size(), 1e30);
  for (int64_t i = 0; i < args.steps; ++i) {
    const auto profile = entry.session->profile(images.data(), args.batch_size);
    for (size_t k = 0; k < best.size(); ++k) {
      best[k] = std::min(best[k], profile.seconds[k] / static_cast<double>(profile.images));
    }
  }
  double all = 0;
  for (double s : best) all += s;
  std::vector<std::vector<std::string>> rows = {
      {entry.name, "op", "weights", "MMAC", "us", "GMAC/s", "% of time"}};
  json = Json::array();
  for (size_t k = 0; k < best.size(); ++k) {
    rows.push_back(layer_row(p, p.ops[k], best[k], all));
    json.push_back({{"name", p.ops[k].name},
                    {"op", op_name(p.ops[k].kind)},
                    {"seconds", best[k]},
                    {"macs", runtime::macs(p, p.ops[k])}});
  }
  console.print("");
  console.print(align(rows));
}

void add_lowered(std::vector<Entry>& entries, const std::string& name, runtime::Program program,
                 const std::vector<float>& images, const LoweredArgs& args) {
  Entry& e = entries.emplace_back();
  e.name = name;
  e.bytes = static_cast<int64_t>(runtime::to_bytes(program).size());
  e.session =
      std::make_unique<runtime::Session>(std::move(program), static_cast<int>(args.threads));
  const auto outputs = static_cast<size_t>(args.batch_size * e.session->output().numel());
  e.run = [session = e.session.get(), &images, y = std::vector<float>(outputs),
           count = args.batch_size]() mutable { session->run(images.data(), count, y.data()); };
}

Json report(std::vector<Entry>& entries, const LoweredArgs& args, Console& console) {
  std::vector<std::vector<std::string>> rows = {
      {"", "images/s", "min", "max", "times the first", "file"}};
  Json json = Json::array();
  const double first = bench::spread(entries.front().seconds).median;
  for (const Entry& e : entries) {
    std::vector<double> speeds;
    for (double s : e.seconds) speeds.push_back(static_cast<double>(args.batch_size) / s);
    const Spread speed = bench::spread(speeds);
    const double times = first / bench::spread(e.seconds).median;
    rows.push_back({e.name, fmt::format("{:.0f}", speed.median), fmt::format("{:.0f}", speed.min),
                    fmt::format("{:.0f}", speed.max), fmt::format("{:.2f}", times),
                    e.bytes > 0 ? format_bytes(e.bytes) : ""});
    json.push_back({{"name", e.name},
                    {"images_per_second", bench::to_json(speed)},
                    {"times_first", times},
                    {"bytes", e.bytes}});
  }
  console.print("");
  console.print(align(rows));
  return json;
}

int bench_lowered(LoweredArgs& args, const cli::Given& given) {
  PARE_CHECK(args.file.empty() || (!given.has("model") && !given.has("precision")),
             "--file says what is measured: leave out --model and --precision");
  if (args.precision.empty()) args.precision = {"fp32", "int8"};
  set_num_threads(static_cast<int>(args.threads));
  Console console({.json = args.json, .quiet = args.quiet});
  ModelCard card{
      .args = args.model, .classes = args.classes, .image = usual_image(args.model.model)};
  if (args.image_size > 0) card.image = {args.image_size, args.image_size, card.image[2]};
  runtime::Program from_file;
  if (!args.file.empty()) {
    from_file = runtime::load(args.file);
    const runtime::Buffer& in = from_file.buffers[static_cast<size_t>(from_file.input)];
    card.image = {in.h, in.w, in.c};
    card.args.model = from_file.name;
  }
  Rng rng(2);
  const Tensor x =
      Tensor::normal({args.batch_size, card.image[0], card.image[1], card.image[2]}, rng);
  const std::vector<float> images(x.data(), x.data() + x.numel());
  std::vector<Entry> entries;
  nn::Layer network;
  if (args.file.empty()) {
    network = build(card, "");
    nn::set_training(network, false);
    entries.push_back({.name = "network fp32", .run = [&] {
                         const NoGrad guard;
                         (void)network(x).data();  // work may be deferred until somebody looks
                       }});
    for (const std::string& precision : args.precision) {
      const auto scheme = kSchemes.find(precision);
      PARE_CHECK(scheme != kSchemes.end(), "--precision: got '", precision,
                 "', expected fp32, int8, w4, ternary or binary");
      nn::Layer model = build(card, scheme->second);
      const Tensor example = Tensor::zeros({1, card.image[0], card.image[1], card.image[2]});
      add_lowered(entries, precision, deploy::lower(model, example).program, images, args);
    }
  } else {
    add_lowered(entries, args.file, std::move(from_file), images, args);
  }
  console.print(fmt::format("pare bench lowered  {}", describe(*entries.back().session)));
  console.entry("model", fmt::format("{}, {} images of {}x{}x{}", card.args.model, args.batch_size,
                                     card.image[0], card.image[1], card.image[2]));
  measure(entries, args, console);
  Json json{{"bench", "lowered"},
            {"model", card.args.model},
            {"batch", args.batch_size},
            {"threads", entries.back().session->threads()},
            {"isa", runtime::instruction_set()}};
  json["results"] = report(entries, args, console);
  for (size_t i = 0; args.layers && i < entries.size(); ++i) {
    if (entries[i].session) {
      print_layers(entries[i], images, args, console, json["results"][i]["layers"]);
    }
  }
  console.result(json);
  return 0;
}

}  // namespace

int bench_lowered_command(int argc, char** argv) {
  LoweredArgs args;
  const cli::Given given = cli::parse(
      args,
      {.name = "pare bench lowered",
       .summary = "Speed of a lowered model at several precisions, beside the network in float32.",
       .examples = "  pare bench lowered --model nin --precision fp32,int8,w4,ternary,binary\n"
                   "  pare bench lowered --file model.pare --layers\n"},
      argc, argv);
  return given.leave ? 0 : bench_lowered(args, given);
}

}  // namespace pare
