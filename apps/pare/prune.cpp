#include <fmt/format.h>

#include "apps/compute.h"
#include "apps/console.h"
#include "apps/loaded_model.h"
#include "apps/pare/commands.h"
#include "apps/side_by_side.h"
#include "core/files.h"
#include "core/kernels/isa.h"
#include "nn/text.h"
#include "prune/apply.h"
#include "prune/blocks.h"
#include "prune/gates.h"
#include "prune/select.h"

namespace pare {

namespace {

struct PruneArgs {
  ModelArgs model;
  DataArgs data;
  ComputeArgs compute;
  std::string weights, out, save_plan, plan;
  std::string method = "slimming", spread = "method", layers;
  float percent = 0.5f, macs = 1, params = 1;
  int64_t normal_regular = 1, min_channels = 1, images = 256, blocks = 0, seed = 1;
  bool methods = false, quiet = false, json = false;

  void fields(cli::Fields& f) {
    f.group("Weights");
    f(weights, "weights", "trained checkpoint, or weights under the names PyTorch uses",
      {.placeholder = "FILE"});
    f(out, "out", "where the pruned checkpoint goes; if not given, the plan is only tried",
      {.placeholder = "FILE"});
    plan_fields(f);
    model.fields(f);
    data.fields(f, /*training=*/true);
    f.group("Run");
    f(seed, "seed", "of the images that methods look at, and of random", {.min = 0});
    compute.fields(f);
    f(quiet, "quiet", "print nothing but errors and the JSON result");
    f(json, "json", "the last line on stdout is the result as JSON; all else goes to stderr");
  }

 private:
  void plan_fields(cli::Fields& f) {
    f.group("What goes");
    f(method, "method", fmt::format("{}", fmt::join(prune::criterion_names(), ", ")),
      {.one_of = prune::criterion_names(), .placeholder = "NAME"});
    f(methods, "methods", "say what each method looks at, and leave");
    f(percent, "percent", "share of the channels to remove: below 1, no layer may become empty",
      {.min = 0});
    f(macs, "macs", "instead of --percent: at most this share of the multiply-accumulates is left",
      {.min = 0, .max = 1, .above_min = true});
    f(params, "params", "instead of --percent: at most this share of the parameters is left",
      {.min = 0, .max = 1, .above_min = true});
    f(spread, "spread",
      "global: the lowest scores of all layers go; layer: the same share of each layer; method: "
      "as the method's scores allow",
      {.one_of = {"method", "global", "layer"}, .placeholder = "NAME"});
    f(layers, "layers",
      "shares of single layers, e.g. conv1:0+layer3.*:0.3; 0 leaves a layer whole",
      {.placeholder = "LIST"});
    f(normal_regular, "normal_regular",
      "kept channels are rounded to a multiple of N, where more than N are kept", {.min = 1});
    f(min_channels, "min-channels", "that stay in each layer", {.min = 1});
    f(images, "images", "training images that methods look at, if they look at any", {.min = 1});
    f(blocks, "blocks",
      "instead of channels: take out N whole residual blocks, those without which the loss on "
      "--images is smallest; 0: none",
      {.min = 0});
    f(plan, "plan", "take what goes from this file instead of a method", {.placeholder = "FILE"});
    f(save_plan, "save-plan", "write what goes to this file, as YAML", {.placeholder = "FILE"});
  }
};

/// Another source of plans leaves nothing to choose.
void refuse_choices(const cli::Given& given, const std::string& source, const std::string& why) {
  for (const char* flag : {"method", "percent", "macs", "params", "spread", "layers",
                           "normal_regular", "min-channels"}) {
    PARE_CHECK(!given.has(flag), source, " and --", flag, " exclude each other", hint(why));
  }
}

void check(const PruneArgs& a, const cli::Given& given) {
  PARE_CHECK(!a.weights.empty(), "--weights is needed: the trained model to prune");
  PARE_CHECK(a.percent < 1, "--percent must be below 1, got ", a.percent,
             hint("no layer may become empty; --percent 0.9 is already a lot"));
  for (const char* target : {"macs", "params"}) {
    PARE_CHECK(!given.has("percent") || !given.has(target), "--percent and --", target,
               " exclude each other");
  }
  if (!a.plan.empty()) refuse_choices(given, "--plan", "the plan says which channels stay");
  if (a.blocks == 0) return;
  PARE_CHECK(a.save_plan.empty(), "--save-plan is for channels, --blocks takes out whole blocks");
  PARE_CHECK(a.plan.empty(), "--plan and --blocks exclude each other");
  refuse_choices(given, "--blocks", "prune channels of what is left in a second run");
}

int show_methods(Console& console) {
  Json list = Json::array();
  std::vector<std::vector<std::string>> rows;
  for (const prune::CriterionInfo& c : prune::criteria()) {
    rows.push_back({c.name, c.summary + (c.needs_images ? "; looks at images" : "")});
    list.push_back({{"name", c.name},
                    {"summary", c.summary},
                    {"needs_images", c.needs_images},
                    {"comparable", c.comparable}});
  }
  std::string text = nn::columns(rows);
  text.pop_back();
  console.print(text);
  console.result({{"methods", list}});
  return 0;
}

/// 0.29 as it was typed: the nearest float is a little less, and so would be a share of it.
double decimal(float value) { return std::stod(fmt::format("{}", value)); }

prune::PlanOptions options_of(const PruneArgs& a, const cli::Given& given) {
  prune::PlanOptions o{.percent = decimal(a.percent)};
  if (given.has("macs")) o.macs = decimal(a.macs);
  if (given.has("params")) o.params = decimal(a.params);
  o.spread = a.spread == "global"  ? prune::Spread::global
             : a.spread == "layer" ? prune::Spread::layer
                                   : prune::Spread::method;
  o.layers = prune::parse_shares(a.layers);
  o.min_channels = a.min_channels;
  o.regular = a.normal_regular;
  return o;
}

/// Training images as they are, in random order.
std::unique_ptr<BatchSource> training_images(const PruneArgs& a) {
  constexpr int64_t kBatch = 32;  // all activations of a batch are in memory at once
  auto images = sample_batches(a.data, load_split(a.data, datasets::Split::train), kBatch, a.seed);
  PARE_CHECK(a.images <= images->samples(), "--images: the training set has ", images->samples(),
             ", got ", a.images);
  return images;
}

/// The plan that the flags describe, for this model.
prune::Plan make_plan(const PruneArgs& a, const cli::Given& given, nn::Layer& model,
                      const Tensor& example) {
  const prune::Structure structure(model, example);
  if (!a.plan.empty()) return prune::completed(prune::load_plan(a.plan), structure);
  const prune::PlanOptions options = options_of(a, given);
  prune::check(options, structure);  // before minutes are spent on scores
  const prune::CriterionInfo& criterion = prune::find_criterion(a.method);
  const std::unique_ptr<BatchSource> images = criterion.needs_images ? training_images(a) : nullptr;
  Rng rng(static_cast<uint64_t>(a.seed));
  const prune::Subject subject{model, structure, rng, images.get(), a.images};
  return prune::select(criterion, prune::score(criterion, subject), structure, model, example,
                       options);
}

/// The smaller model, and what was done.
struct Pruned {
  nn::Layer model;
  prune::Plan plan = {};  // empty: blocks were taken out
  std::vector<prune::RemovedBlock> blocks = {};
};

Pruned prune_as_told(const PruneArgs& a, const cli::Given& given, const nn::Layer& original,
                     const Tensor& example) {
  Pruned p{original};
  if (a.blocks > 0) {
    p.blocks = prune::remove_blocks(p.model, example, *training_images(a),
                                    {.count = a.blocks, .images = a.images});
    return p;
  }
  const bool gated = !prune::gates(original).empty();
  if (gated) {
    refuse_choices(given, "a model with gates", "its gates say which channels stay");
    PARE_CHECK(a.plan.empty(), "--plan is not for a model with gates: they say what stays");
    p.plan = prune::merge_gates(p.model, example);
  } else {
    p.plan = make_plan(a, given, p.model, example);
  }
  p.model = prune::apply(p.plan, p.model, example);
  return p;
}

Json plan_json(const prune::Plan& plan) {
  Json layers = Json::array();
  for (const prune::Plan::Layer& l : plan.layers) {
    Json row{{"layer", l.name}, {"channels", l.channels}, {"kept", l.kept()}};
    if (!l.tied.empty()) row["tied"] = l.tied;
    if (!l.note.empty()) row["note"] = l.note;
    layers.push_back(row);
  }
  return layers;
}

void save(const PruneArgs& args, LoadedModel loaded, nn::Layer& pruned) {
  for (const char* old : {"epoch", "test_top1"}) loaded.metadata.erase(old);  // the big model's
  loaded.card.args.gates.clear();
  save_changed(loaded, pruned, args.data, loaded.metadata, args.out);
}

void show(Console& console, const PruneArgs& args, const Pruned& pruned) {
  if (args.blocks == 0) {
    console.entry("plan", args.plan.empty() ? "by " + pruned.plan.method : "from " + args.plan);
    console.print("\n" + str(pruned.plan));
    return;
  }
  for (const prune::RemovedBlock& b : pruned.blocks) {
    console.entry("taken out", fmt::format("{}, loss {:.4f} without it", b.path, b.loss));
  }
  console.print("");
}

Json blocks_json(const Pruned& pruned) {
  Json list = Json::array();
  for (const prune::RemovedBlock& b : pruned.blocks) {
    list.push_back({{"block", b.path}, {"loss", b.loss}});
  }
  return list;
}

int prune_model(PruneArgs& args, const cli::Given& given) {
  Console console({.json = args.json, .quiet = args.quiet});
  if (args.methods) return show_methods(console);
  check(args, given);
  args.compute.apply();
  LoadedModel loaded = load_model(args.model, args.data, given, args.weights);
  const Shape& image = loaded.card.image;
  const Tensor example = Tensor::zeros({1, image[0], image[1], image[2]});
  console.print(fmt::format("pare prune  {}, {} threads", isa_name(active_isa()), num_threads()));
  console.entry("model", fmt::format("{}  from {}", args.model.model, args.weights));
  if (!args.model.quant.empty()) console.entry("quantized", args.model.quant);

  console.entry("test on", fmt::format("{}  {}, normalized as {}", args.data.name(),
                                       describe_images(*loaded.images), args.data.normalization()));
  Pruned pruned = prune_as_told(args, given, loaded.model, example);
  show(console, args, pruned);
  if (!args.save_plan.empty()) {
    write_file_atomically(args.save_plan, {prune::to_yaml(pruned.plan)});
  }

  Side before{loaded.model}, after{pruned.model};
  compare(before, after, *test_batches(args.data, loaded.images), console);
  const nn::Summary was = nn::summarize(loaded.model, image),
                    is = nn::summarize(pruned.model, image);
  console.print(align(comparison(before, after, was, is)));
  console.print("");
  if (!args.save_plan.empty()) console.entry("plan", args.save_plan);
  if (!args.out.empty()) save(args, loaded, pruned.model);
  console.entry("out", args.out.empty() ? "nothing written; --out FILE does" : args.out);
  console.result({{"model", args.model.model},
                  {"quant", args.model.quant},
                  {"weights", args.weights},
                  {"method", pruned.plan.method},
                  {"dataset", args.data.name()},
                  {"images", after.score.samples},
                  {"channels", pruned.plan.channels()},
                  {"kept", pruned.plan.kept()},
                  {"before", side_json(before, was)},
                  {"after", side_json(after, is)},
                  {"layers", plan_json(pruned.plan)},
                  {"blocks", blocks_json(pruned)},
                  {"out", args.out}});
  return 0;
}

}  // namespace

int prune_command(int argc, char** argv) {
  PruneArgs args;
  const cli::Given given = cli::parse(
      args,
      {.name = "pare prune",
       .summary = "Removes channels from a trained network, and compares both.",
       .examples =
           "  pare prune --weights runs/sr/best.safetensors --method slimming --percent 0.5 \\\n"
           "      --normal_regular 8 --out pruned.safetensors\n"
           "  pare prune --weights runs/float/best.safetensors --method fisher --macs 0.5 \\\n"
           "      --save-plan plan.yaml\n"
           "  pare train --refine pruned.safetensors --epochs 20 --lr 0.01\n"},
      argc, argv);
  return given.leave ? 0 : prune_model(args, given);
}

}  // namespace pare
