// Binary and ternary networks: `pare train --quant wbab:W.A.` under the flags of an experiment.
#include <fmt/format.h>

#include "apps/train_run.h"

namespace pare {

namespace {

const std::vector<std::string> kValues = {"2", "3", "32"};

struct Args {
  std::string w = "2", a = "2", ste = "clip";
  TrainArgs train = experiment_defaults();

  void fields(cli::Fields& f) {
    f.group("Quantization");
    f(w, "W", "values of a weight: 2 (binary), 3 (ternary), 32 (float)",
      {.one_of = kValues, .placeholder = "N"});
    f(a, "A", "values of an activation: 2, 3 or 32 (float)",
      {.one_of = kValues, .placeholder = "N"});
    f(ste, "ste", "derivative of the sign: identity, clip, triangle, poly",
      {.one_of = {"identity", "clip", "triangle", "poly"}});
    train.fields(f, /*with_quant=*/false);
  }

  void complete(cli::Given& given) {
    PARE_CHECK(!given.has("ste") || a != "32", "--ste is for quantized activations, got --A 32");
    train.model.quant = fmt::format("wbab:W{}A{}", w, a);
    if (a != "32") train.model.quant += ",ste=" + ste;
    given.flags.insert("quant");  // a checkpoint to refine must agree
  }
};

int wbab(int argc, char** argv) {
  Args args;
  cli::Fields fields;
  args.fields(fields);
  return train_program(
      args.train, fields,
      {.name = "wbab",
       .summary = "Trains a network with binary or ternary weights and activations.",
       .examples = "  wbab --W 2 --A 2 --model nin --epochs 5\n"
                   "  wbab --W 3 --A 32 --data data --out runs/w3\n"},
      argc, argv, [&](cli::Given& given) { args.complete(given); });
}

}  // namespace
}  // namespace pare

int main(int argc, char** argv) {
  return pare::cli::run([&] { return pare::wbab(argc, argv); });
}
