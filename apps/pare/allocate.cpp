#include "quant/allocate.h"

#include <fmt/format.h>

#include <cmath>

#include "apps/cli.h"
#include "apps/common_fields.h"
#include "apps/console.h"
#include "apps/pare/commands.h"
#include "apps/pare/sensitivity_file.h"
#include "core/files.h"

namespace pare {

namespace {

struct AllocateArgs {
  std::string sensitivity, loss = "measured", csv;
  float size = 0, mean_bits = 0, bit_ops = 0;
  bool quiet = false, json = false;

  void fields(cli::Fields& f) {
    f.group("Problem");
    f(sensitivity, "sensitivity", "what pare sensitivity --out wrote", {.placeholder = "FILE"});
    f(size, "size", "budget: kilobytes (1000 bytes) of the whole model as stored; 0: none",
      {.min = 0, .max = 1e9});
    f(mean_bits, "mean-bits", "budget: mean bits of the quantized layers' weights; 0: none",
      {.min = 0, .max = 32});
    f(bit_ops, "bit-ops",
      "budget: 1e9 multiply-accumulates times bits of both factors, of one image; 0: none",
      {.min = 0, .max = 1e9});
    f(loss, "loss",
      "of weights: measured, or foretold by the curvature (trace of the Hessian times noise)",
      {.one_of = {"measured", "foretold"}, .placeholder = "NAME"});
    f.group("Run");
    f(csv, "csv", "write the bits of each layer here, for plots", {.placeholder = "FILE"});
    cli::output_fields(f, quiet, json);
  }
};

struct Limit {
  quant::Budget budget;
  int64_t value;
  std::string text;
};

Limit limit_of(const AllocateArgs& a, const quant::Sensitivity& s) {
  const auto whole = [](double value) { return static_cast<int64_t>(std::floor(value)); };
  PARE_CHECK((a.size > 0) + (a.mean_bits > 0) + (a.bit_ops > 0) == 1,
             "one budget is needed: --size, --mean-bits or --bit-ops");
  if (a.size > 0)
    return {quant::Budget::size, whole(8e3 * a.size), fmt::format("{} kB stored", a.size)};
  if (a.bit_ops > 0) {
    return {quant::Budget::bit_ops, whole(1e9 * a.bit_ops),
            fmt::format("{} G bit operations", a.bit_ops)};
  }
  int64_t weights = 0;
  for (const quant::Sensitivity::Layer& l : s.layers) weights += l.weights;
  return {quant::Budget::mean_bits, whole(double{a.mean_bits} * static_cast<double>(weights)),
          fmt::format("{} bits per weight", a.mean_bits)};
}

Json plan_json(const quant::BitPlan& plan) {
  Json layers = Json::array();
  for (const quant::BitPlan::Row& r : plan.rows) {
    layers.push_back({{"path", r.path},
                      {"weight_bits", r.weight_bits},
                      {"input_bits", r.input_bits},
                      {"loss", r.loss},
                      {"bytes", static_cast<double>(r.size) / 8},
                      {"bit_ops", r.bit_ops}});
  }
  return {{"scheme", quant::to_string(plan.scheme)},
          {"loss", plan.loss},
          {"mean_bits", plan.mean_bits},
          {"bytes", static_cast<double>(plan.size) / 8},
          {"bit_ops", plan.bit_ops},
          {"layers", layers}};
}

std::string plan_csv(const quant::BitPlan& plan) {
  std::string text = "layer,weight_bits,input_bits,loss,bytes,bit_ops\n";
  for (const quant::BitPlan::Row& r : plan.rows) {
    text += fmt::format("{},{},{},{},{},{}\n", r.path, r.weight_bits, r.input_bits, r.loss,
                        static_cast<double>(r.size) / 8, r.bit_ops);
  }
  return text;
}

int allocate(const AllocateArgs& args) {
  PARE_CHECK(!args.sensitivity.empty(),
             "--sensitivity is needed: what pare sensitivity --out wrote");
  check_folder_of(args.csv);
  Console console({.json = args.json, .quiet = args.quiet});
  const quant::Sensitivity s = read_sensitivity(args.sensitivity);
  const Limit limit = limit_of(args, s);
  const auto kind = args.loss == "measured" ? quant::LossKind::measured : quant::LossKind::foretold;
  const quant::BitPlan plan = quant::plan_bits(s, limit.budget, limit.value, kind);
  console.print(fmt::format("pare allocate  {}, at most {}\n", args.sensitivity, limit.text));
  console.print(str(plan));
  console.entry("loss",
                fmt::format("{:+.4f} in sum, {}; {:.4f} float", plan.loss, args.loss, s.loss));
  console.entry("scheme", quant::to_string(plan.scheme));
  if (!args.csv.empty()) write_file_atomically(args.csv, {plan_csv(plan)});
  if (!args.csv.empty()) console.entry("out", args.csv);
  console.result(plan_json(plan));
  return 0;
}

}  // namespace

int allocate_command(int argc, char** argv) {
  AllocateArgs args;
  const cli::Given given = cli::parse(
      args,
      {.name = "pare allocate",
       .summary = "Chooses the bits of each layer under a budget, so that the loss grows least.",
       .examples = "  pare sensitivity --weights runs/float/best.safetensors --out s.json\n"
                   "  pare allocate --sensitivity s.json --mean-bits 4\n"
                   "The scheme that it prints is what --quant takes.\n"},
      argc, argv);
  return given.leave ? 0 : allocate(args);
}

}  // namespace pare
