#include <fmt/format.h>

#include "apps/common_fields.h"
#include "apps/pare/prune.h"
#include "prune/criterion.h"

namespace pare {

void PruneArgs::fields(cli::Fields& f) {
  f.group("Weights");
  cli::weights_field(f, weights);
  f(out, "out", "where the pruned checkpoint goes; if not given, the plan is only tried",
    {.placeholder = "FILE"});
  plan_fields(f);
  model.fields(f);
  data.fields(f, /*training=*/true);
  f.group("Run");
  f(seed, "seed", "of the images that methods look at, and of random", {.min = 0});
  compute.fields(f);
  cli::output_fields(f, quiet, json);
}

void PruneArgs::plan_fields(cli::Fields& f) {
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
  f(bytes, "bytes",
    "instead of --percent: at most this share of the stored bytes is left, quantized weights at "
    "their bits",
    {.min = 0, .max = 1, .above_min = true});
  f(latency, "latency",
    "instead of --percent: at most this share of the time of a forward pass is left, as expected "
    "from times of single layers that are measured here, with --threads",
    {.min = 0, .max = 1, .above_min = true});
  f(latency_batch, "latency-batch", "images of that forward pass", {.min = 1});
  f(of, "of",
    "pruning in steps: the checkpoint before the first one, of which --percent, --macs and the "
    "like are meant; if not given, --weights",
    {.placeholder = "FILE"});
  f(spread, "spread",
    "global: the lowest scores of all layers go; layer: the same share of each layer; method: "
    "as the method's scores allow",
    {.one_of = {"method", "global", "layer"}, .placeholder = "NAME"});
  f(layers, "layers", "shares of single layers, e.g. conv1:0+layer3.*:0.3; 0 leaves a layer whole",
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

void refuse_choices(const cli::Given& given, const std::string& source, const std::string& why) {
  for (const char* flag : {"method", "percent", "macs", "params", "bytes", "latency", "of",
                           "spread", "layers", "normal_regular", "min-channels"}) {
    PARE_CHECK(!given.has(flag), source, " and --", flag, " exclude each other", hint(why));
  }
}

void PruneArgs::check(const cli::Given& given) const {
  PARE_CHECK(!weights.empty(), "--weights is needed: the trained model to prune");
  PARE_CHECK(percent < 1, "--percent must be below 1, got ", percent,
             hint("no layer may become empty; --percent 0.9 is already a lot"));
  for (const char* target : kPruneTargets) {
    PARE_CHECK(!given.has("percent") || !given.has(target), "--percent and --", target,
               " exclude each other");
  }
  PARE_CHECK(given.has("latency") || !given.has("latency-batch"),
             "--latency-batch is for --latency");
  if (!plan.empty()) refuse_choices(given, "--plan", "the plan says which channels stay");
  if (blocks == 0) return;
  PARE_CHECK(save_plan.empty(), "--save-plan is for channels, --blocks takes out whole blocks");
  PARE_CHECK(plan.empty(), "--plan and --blocks exclude each other");
  refuse_choices(given, "--blocks", "prune channels of what is left in a second run");
}

namespace {

/// 0.29 as it was typed: the nearest float is a little less, and so would be a share of it.
double decimal(float value) { return std::stod(fmt::format("{}", value)); }

}  // namespace

prune::PlanOptions PruneArgs::plan_options(const cli::Given& given) const {
  prune::PlanOptions o{.percent = decimal(percent)};
  if (given.has("macs")) o.macs = decimal(macs);
  if (given.has("params")) o.params = decimal(params);
  if (given.has("bytes")) o.bytes = decimal(bytes);
  if (given.has("latency")) o.latency = decimal(latency);
  o.spread = spread == "global"  ? prune::Spread::global
             : spread == "layer" ? prune::Spread::layer
                                 : prune::Spread::method;
  o.layers = prune::parse_shares(layers);
  o.min_channels = min_channels;
  o.regular = normal_regular;
  return o;
}

}  // namespace pare
