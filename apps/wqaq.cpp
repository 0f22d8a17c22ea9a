// DoReFa networks: `pare train --quant wqaq:W.A.` under the flags of an experiment.
#include <fmt/format.h>

#include "apps/train_run.h"

namespace pare {

namespace {

struct Args {
  int64_t w_bits = 8, a_bits = 8;
  TrainArgs train = experiment_defaults();

  void fields(cli::Fields& f) {
    f.group("Quantization");
    f(w_bits, "Wbits", "bits of a weight: 1 to 16, or 32 (float)", {.min = 1, .max = 32});
    f(a_bits, "Abits", "bits of an activation: 1 to 16, or 32 (float)", {.min = 1, .max = 32});
    train.fields(f, /*with_quant=*/false);
  }

  void complete(cli::Given& given) {
    train.model.quant = fmt::format("wqaq:W{}A{}", w_bits, a_bits);
    given.flags.insert("quant");  // a checkpoint to refine must agree
  }
};

int wqaq(int argc, char** argv) {
  Args args;
  args.train.wd = 1e-5f;
  cli::Fields fields;
  args.fields(fields);
  return train_program(
      args.train, fields,
      {.name = "wqaq",
       .summary = "Trains a network with weights and activations of a few bits (DoReFa).",
       .examples = "  wqaq --Wbits 4 --Abits 4 --model nin --epochs 5\n"
                   "  wqaq --Wbits 8 --Abits 8 --data data --out runs/w8a8\n"},
      argc, argv, [&](cli::Given& given) { args.complete(given); });
}

}  // namespace
}  // namespace pare

int main(int argc, char** argv) {
  return pare::cli::run([&] { return pare::wqaq(argc, argv); });
}
