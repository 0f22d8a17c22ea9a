#include "apps/pare/prune.h"

#include <fmt/format.h>

#include "apps/loaded_model.h"
#include "apps/pare/commands.h"
#include "apps/side_by_side.h"
#include "core/files.h"
#include "nn/text.h"
#include "prune/apply.h"
#include "prune/blocks.h"
#include "prune/gates.h"
#include "prune/latency.h"

namespace pare {

namespace {

Json show_methods(Console& console) {
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
  return {{"methods", list}};
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
prune::Plan make_plan(const PruneArgs& a, const cli::Given& given, nn::Layer& model, nn::Layer* of,
                      const Tensor& example) {
  const prune::Structure structure(model, example);
  if (!a.plan.empty()) return prune::completed(prune::load_plan(a.plan), structure);
  prune::PlanOptions options = a.plan_options(given);
  std::optional<prune::Structure> before;
  if (of) options.of = &before.emplace(*of, example);
  std::optional<prune::LatencyModel> times;
  if (options.latency) {
    const Shape& s = example.shape();
    const Tensor batch = Tensor::ones({a.latency_batch, s.dim(1), s.dim(2), s.dim(3)});
    const auto& timed = times.emplace(structure, model, batch);
    options.seconds = [&timed](const prune::Keep& keep) { return timed(keep); };
    options.full_seconds = of ? prune::LatencyModel(*before, *of, batch)(before->keep_all())
                              : timed(structure.keep_all());
  }
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
                     nn::Layer* of, const Tensor& example) {
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
    p.plan = make_plan(a, given, p.model, of, example);
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

/// The network before the first of several steps.
LoadedModel load_reference(const PruneArgs& args, const cli::Given& given) {
  ModelArgs model = args.model;
  DataArgs data = args.data;
  return load_model(model, data, given, args.of);
}

}  // namespace

Json prune_model(PruneArgs& args, const cli::Given& given, Console& console) {
  args.check(given);
  args.compute.apply();
  std::optional<LoadedModel> of;
  if (!args.of.empty()) of = load_reference(args, given);
  LoadedModel loaded = load_model(args.model, args.data, given, args.weights);
  const Shape& image = loaded.card.image;
  const Tensor example = Tensor::zeros({1, image[0], image[1], image[2]});
  print_head("pare prune", loaded, args.weights, args.data, console);
  Pruned pruned = prune_as_told(args, given, loaded.model, of ? &of->model : nullptr, example);
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
  return {{"model", args.model.model},
          {"quant", loaded.card.quantized()},
          {"weights", args.weights},
          {"method", pruned.plan.method},
          {"dataset", args.data.name()},
          {"images", after.score.samples},
          {"channels", pruned.plan.channels()},
          {"kept", pruned.plan.kept()},
          {"expected_seconds",
           {{"before", pruned.plan.before.seconds}, {"after", pruned.plan.after.seconds}}},
          {"before", side_json(before, was)},
          {"after", side_json(after, is)},
          {"layers", plan_json(pruned.plan)},
          {"blocks", blocks_json(pruned)},
          {"out", args.out}};
}

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
  if (given.leave) return 0;
  Console console({.json = args.json, .quiet = args.quiet});
  console.result(args.methods ? show_methods(console) : prune_model(args, given, console));
  return 0;
}

}  // namespace pare
