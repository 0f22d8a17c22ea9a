#include "apps/cli.h"
#include "apps/pare/commands.h"

namespace {

using namespace pare;

constexpr Command kCommands[] = {
    {"train", "train a network, quantized or not", train_command},
    {"distill", "train a network with the help of a trained one", distill_command},
    {"eval", "test a checkpoint or a weight file", eval_command},
    {"info", "what is in a model, a checkpoint, or this build", info_command},
    {"fold", "fold batch norm into the layers before it", fold_command},
    {"prune", "remove channels from a trained network", prune_command},
    {"compress", "pack a network into a small file", compress_command},
    {"quantize", "quantize a trained network without training it", quantize_command},
    {"sensitivity", "what each layer loses by few bits", sensitivity_command},
    {"allocate", "bits for each layer under a budget", allocate_command},
    {"recipe", "run these commands one after the other, as a file says", recipe_command},
    {"export", "write a network as a file that other programs run", export_command},
    {"run", "run a lowered model on frames", run_command},
    {"compare", "one table of several runs", compare_command},
    {"data", "prepare a data set of photographs", data_command},
    {"bench", "how fast this machine trains, infers and convolves", bench_command},
};

}  // namespace

int main(int argc, char** argv) {
  return cli::run([&] {
    return dispatch(
        {.program = "pare",
         .title = cli::version_line() + "\nTrain a convolutional network, then pare it down.",
         .footer = "Every command has --help. See also wbab and wqaq.",
         .commands = kCommands},
        argc, argv);
  });
}
