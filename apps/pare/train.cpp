#include "apps/pare/commands.h"
#include "apps/train_run.h"

namespace pare {

int train_command(int argc, char** argv) {
  TrainArgs args;
  cli::Fields fields;
  args.fields(fields);
  return train_program(args, fields,
                       {.name = "pare train",
                        .summary = "Trains a network and writes a run folder.",
                        .examples = "  pare train --model nin --epochs 5\n"
                                    "  pare train --model resnet20 --data data --out runs/float\n"
                                    "  pare train --init runs/float/best.safetensors --quant "
                                    "w=binary,a=binary --data data\n"},
                       argc, argv);
}

}  // namespace pare
